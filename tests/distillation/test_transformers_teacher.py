"""Transformers as a teacher against the transformers library, which tokenises, pairs and cuts on its own."""

import json
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import torch
from tiny_encoders import KINDS, SMALL, write_encoder
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertForSequenceClassification,
)

from core.errors import UserError
from core.pretrained import encoder_config
from core.types import Spec
from distillation import Transformers
from distillation.answers import Table
from distillation.base import Classroom
from text.readers import RowFile

FIRST = ["red cat", "the small dog sleeps in a large tree", "bird", "blue blue blue", "it eats the large house"]
SECOND = ["it eats green birds", "runs", "a tree and a house and a river", "cat", "it eats green birds near the river"]
THREE = {"label": Spec("B", ids=True, labels=("b", "a", "c"))}
TWO = {"label": Spec("B", ids=True, labels=("no", "yes"), positive="yes")}
NUMBER = {"score": Spec("B")}
SETS = {"labels": Spec("BC", {"C": 3}, labels=("b", "a", "c"))}
TAGS = {"tags": Spec("BT", ids=True, labels=("b", "a", "c"))}
PLACES = dict.fromkeys(("start_label", "end_label"), Spec("B", ids=True, places=True))
close = partial(torch.allclose, atol=1e-4)  # random weights this large turn roundings, which differ by CPU, into 1e-5


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny checkpoint with random weights and a head, for (kind, head, names of its labels)."""
    made = {}

    def folder(kind="bert", head="Sequence", names=("a", "b", "c")):
        if (kind, head, names) not in made:
            path = write_encoder(tmp_path_factory.mktemp(kind), kind)
            settings = AutoConfig.from_pretrained(
                path,
                id2label=dict(enumerate(names)),
                label2id={name: number for number, name in enumerate(names)},
                initializer_range=0.5,
            )
            torch.manual_seed(1)
            model: Any = {
                "Sequence": AutoModelForSequenceClassification,
                "Token": AutoModelForTokenClassification,
                "Passage": AutoModelForQuestionAnswering,
            }[head]
            model.from_config(settings).save_pretrained(path)
            made[kind, head, names] = str(path)
        return made[kind, head, names]

    return folder


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"{first}\t{second}\n" for first, second in zip(FIRST, SECOND, strict=True)))
    return RowFile(path, {"text": 0, "other": 1})


def teacher(targets, model, columns=("text",), **conf):
    branches = {f"branch of {column}": column for column in columns}
    told = Classroom(targets, cast(Any, None), {}, branches, lambda: torch.device("cpu"))
    return Transformers.Conf(model=model, **conf).build(told)


def reader(model, *begun, columns=("passage", "question"), **conf):
    """A teacher that finds answers in the second column of the file, asked about the first."""
    branches = dict(zip(columns, ("other", "text"), strict=False))
    told = Classroom(PLACES, cast(Any, None), {}, branches, lambda: torch.device("cpu"), begun)
    return Transformers.Conf(model=model, **conf).build(told)


def given(teacher, file, *addresses, cache=None):
    rows = teacher.read(file, cache)
    addresses = addresses or ("",)
    teacher.ask(addresses)
    found = teacher.answer(rows, np.arange(len(rows.keys)), addresses)
    return found if len(addresses) > 1 else found[addresses[0]]


def theirs(model, *texts, **more):
    """The logits that the library gives for texts, one after the other: no padding."""
    split, made = AutoTokenizer.from_pretrained(model), AutoModelForSequenceClassification.from_pretrained(model).eval()
    with torch.no_grad():
        rows = zip(*texts, strict=True)
        return torch.cat([made(**split(*row, return_tensors="pt", truncation=True, **more)).logits for row in rows])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ernie"])
@pytest.mark.parametrize("is_pair", [False, True])
def test_logits_are_those_of_the_library_in_the_order_of_our_labels(checkpoint, file, kind, is_pair):
    model = checkpoint(kind)
    found = given(teacher(THREE, model, ("text", "other") if is_pair else ("text",)), file)
    logits = theirs(model, FIRST, *([SECOND] if is_pair else []), max_length=40)[:, [1, 0, 2]]  # ours are b, a, c
    assert close(found.values, logits)
    assert logits.std(0).min() > 1e-3


def test_texts_that_are_too_long_are_cut_as_the_library_cuts_them(checkpoint, file):
    model = checkpoint()
    found = given(teacher(THREE, model, ("text", "other"), max_length=9), file)
    assert close(found.values, theirs(model, FIRST, SECOND, max_length=9)[:, [1, 0, 2]])


def test_inputs_say_which_texts_in_which_order(checkpoint, file):
    model = checkpoint()
    turned = teacher(THREE, model, ("text", "other"), inputs=["branch of other", "text"])
    expected = theirs(model, SECOND, FIRST, max_length=40)[:, [1, 0, 2]]
    assert close(given(turned, file).values, expected)


@pytest.mark.parametrize("labels", [["a", "b", "c"], {"LABEL_1": "b", "LABEL_0": "a", "LABEL_2": "c"}])
def test_labels_of_other_names_are_translated(checkpoint, file, labels):
    model = checkpoint(names=("LABEL_0", "LABEL_1", "LABEL_2"))
    found = given(teacher(THREE, model, labels=labels), file).values
    assert close(found, theirs(model, FIRST)[:, [1, 0, 2]])


def test_a_single_score_is_a_number_or_speaks_for_the_positive_label(checkpoint, file):
    model = checkpoint(names=("LABEL_0",))
    scores = theirs(model, FIRST).reshape(-1)
    assert close(given(teacher(NUMBER, model), file).values, scores)
    sure = given(teacher(TWO, model), file).values.softmax(1)
    assert close(sure, torch.stack([1 - scores.sigmoid(), scores.sigmoid()], 1))
    assert close(given(teacher(TWO, model, labels=["no"]), file).values.softmax(1), sure.flip(1))


def test_labels_that_stand_together_have_a_score_each(checkpoint, file):
    assert torch.equal(
        given(teacher(SETS, checkpoint()), file).values, given(teacher(THREE, checkpoint()), file).values
    )


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_tags_are_scored_at_the_first_piece_of_each_word(checkpoint, file, kind):
    model = checkpoint(kind, "Token")
    found = given(teacher(TAGS, model), file)
    split = AutoTokenizer.from_pretrained(model)
    made = AutoModelForTokenClassification.from_pretrained(model).eval()
    several = False
    for row, text in enumerate(FIRST):
        words = text.split()
        pieces = [split(f" {w}" if kind == "roberta" else w, add_special_tokens=False)["input_ids"] for w in words]
        flat = [piece for word in pieces for piece in word]
        several |= len(flat) > len(words)
        framed = torch.tensor([[split.cls_token_id, *flat, split.sep_token_id]])
        first = 1 + np.cumsum([0, *map(len, pieces)])[:-1]
        with torch.no_grad():
            logits = made(input_ids=framed).logits[0, first][:, [1, 0, 2]]
        assert found.real_mask()[row].sum() == len(words)
        assert close(found.values[row, : len(words)], logits)
    assert several


def test_words_that_are_cut_off_have_no_answer(checkpoint, file):
    model = checkpoint("bert", "Token")
    whole, short = given(teacher(TAGS, model), file), given(teacher(TAGS, model, max_length=6), file)
    assert (short.host_lengths() <= whole.host_lengths()).all()
    assert short.host_lengths().min() >= 1
    assert (short.real_mask().sum(1) < whole.real_mask().sum(1)).any()


def test_inner_states_are_those_of_the_library(checkpoint, file):
    model = checkpoint()
    found = given(teacher(THREE, model), file, "hidden.0", "hidden.3", "attention.2", "pooled")
    made = AutoModelForSequenceClassification.from_pretrained(model, attn_implementation="eager").eval()
    split = AutoTokenizer.from_pretrained(model)
    known = teacher(THREE, model).specs
    for row, text in enumerate(FIRST):
        with torch.no_grad():
            output = made(**split(text, return_tensors="pt"), output_hidden_states=True, output_attentions=True)
        length = output.hidden_states[0].shape[1]
        for address, whole in {"hidden.0": output.hidden_states[0], "hidden.3": output.hidden_states[3]}.items():
            assert close(found[address].values[row, :length], whole[0])
            assert found[address].real_mask()[row].sum() == length
        maps = found["attention.2"].values[row, :, :length, :length]
        assert close(maps, output.attentions[1][0])
        assert close(found["pooled"].values[row], output.hidden_states[-1][0, 0])
    for address, features in found.items():
        assert len(Table.of(known[address].axes, features)) == len(FIRST)
        assert known[address].sizes.get("D", 16) == 16
    assert "hidden.5" not in known


def test_what_nobody_asks_for_is_not_computed(checkpoint, file, monkeypatch):
    asked, plain = [], BertForSequenceClassification.forward

    def forward(self, **told):
        asked.append((told["output_hidden_states"], told["output_attentions"]))
        return plain(self, **told)

    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)
    for addresses in ([""], ["", "hidden.1"], ["attention.1"]):
        given(teacher(THREE, checkpoint()), file, *addresses)
    assert asked == [(False, False), (True, False), (False, True)]


def test_other_weights_and_settings_have_another_key(checkpoint, file):
    keys = [
        json.dumps(teacher(THREE, model, **conf).key())
        for model, conf in (
            (checkpoint(), {}),
            (checkpoint("roberta"), {}),
            (checkpoint(), {"max_length": 8}),
            (checkpoint(), {"labels": ["c", "b", "a"]}),
            (checkpoint(), {"inputs": ["other"]}),
        )
    ]
    assert len(set(keys)) == len(keys)
    assert json.dumps(teacher(THREE, checkpoint()).key()) == keys[0]


@pytest.mark.parametrize(
    ("targets", "names", "conf", "sentence"),
    [
        (THREE, ("x", "y", "z"), {}, "knows the labels x, y, z, but those here are b, a, c. Say in labels"),
        (THREE, ("x", "y", "z"), {"labels": {"w": "a"}}, "the checkpoint has no 'w'. Known: x, y, z"),
        (THREE, ("x", "y", "z"), {"labels": ["a", "b"]}, "labels names 2, but the checkpoint has 3 scores"),
        (THREE, ("x", "y", "z"), {"labels": ["a", "b", "b"]}, "names one of them twice"),
        (THREE, ("x",), {}, "knows the labels x, but"),
        (TWO, ("x",), {"labels": ["maybe"]}, "no label here is called 'maybe'"),
        (NUMBER, ("x", "y"), {}, "has 2 scores, but the target here is a number"),
        (PLACES, ("x", "y"), {}, "to answer here it must be a BertForQuestionAnswering"),
        (THREE, ("a", "b", "c"), {"window_size": 5}, "window_size has no place where answers are no parts"),
        (TAGS, ("a", "b", "c"), {}, "is a BertForSequenceClassification, but to answer here it must be a BertForTokenC"),
        (THREE, ("a", "b", "c"), {"inputs": ["a", "b", "c"]}, "reads one text or two, but inputs are a, b, c"),
        (THREE, ("a", "b", "c"), {"inputs": ["text", "text"]}, "reads one text or two"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_any_row_is_read(checkpoint, targets, names, conf, sentence):
    with pytest.raises(ValueError, match=sentence):
        teacher(targets, checkpoint(names=names), **conf)


def test_what_is_no_checkpoint_is_refused_in_one_sentence(checkpoint, file, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        teacher(THREE, "./nowhere")
    (tmp_path / "config.json").write_text('{"model_type": "bart2"}')
    with pytest.raises(ValueError, match="is refused by transformers"):
        teacher(THREE, str(tmp_path))
    headless = write_encoder(tmp_path / "headless")
    config = json.loads((headless / "config.json").read_text())
    with pytest.raises(ValueError, match="is a BertModel, but to answer here it must be a BertForSequenceClass"):
        teacher(THREE, str(headless))
    del config["architectures"]
    (headless / "config.json").write_text(json.dumps(config | {"id2label": {"0": "a", "1": "b", "2": "c"}}))
    encoder_config.cache_clear()
    with pytest.raises(UserError, match=r"the checkpoint lacks classifier.bias, classifier.weight"):
        given(teacher(THREE, str(headless)), file)
    (headless / "model.safetensors").unlink()
    torch.save({}, headless / "pytorch_model.bin")
    with pytest.raises(UserError, match="has no"):
        given(teacher(THREE, str(headless)), file)


def test_room_for_no_text_is_refused(checkpoint, file):
    with pytest.raises(UserError, match="max_length 2 leaves no room"):
        given(teacher(THREE, checkpoint(), max_length=2), file)


def test_code_of_a_checkpoint_is_not_run(checkpoint, tmp_path):
    config = SMALL | {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text("raise SystemExit('run')")
    with pytest.raises(ValueError, match="is refused by transformers"):
        teacher(THREE, str(tmp_path))


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("has_null", [False, True])
def test_answers_in_a_passage_are_those_of_the_library_at_its_pieces(checkpoint, file, kind, has_null):
    model = checkpoint(kind, "Passage", ("start", "end"))
    found = given(reader(model, *(["passage"] if has_null else [])), file, "start", "end")
    split, made = AutoTokenizer.from_pretrained(model), AutoModelForQuestionAnswering.from_pretrained(model).eval()
    for row, (question, passage) in enumerate(zip(FIRST, SECOND, strict=True)):
        framed: Any = split(question, passage, return_tensors="pt")
        with torch.no_grad():
            output = made(**framed)
        at = [0] * has_null + [place for place, text in enumerate(framed.sequence_ids(0)) if text == 1]
        for address, logits in (("start", output.start_logits), ("end", output.end_logits)):
            mask = found[address].real_mask()[row]
            assert close(found[address].values[row][mask], logits[0, at])


def test_windows_of_a_passage_are_texts_of_their_own_and_cut_the_question_only(checkpoint, file):
    model = checkpoint("bert", "Passage", ("start", "end"))
    teacher = reader(model, window_size=3, window_stride=2, max_length=8)
    rows = teacher.read(file, None)
    read = teacher.reading(rows)
    found = teacher.answer(rows, np.arange(len(rows.keys)), ["start"])["start"]
    split, made = AutoTokenizer.from_pretrained(model), AutoModelForQuestionAnswering.from_pretrained(model).eval()
    first, last = split.cls_token_id, split.sep_token_id
    assert len(read.rows) > len(FIRST)
    for window, (row, begin, length) in enumerate(zip(read.rows, read.firsts, read.lengths, strict=True)):
        question, passage = (split(texts[row], add_special_tokens=False)["input_ids"] for texts in (FIRST, SECOND))
        kept = question[: 8 - 3 - length]
        ids = torch.tensor([[first, *kept, last, *passage[begin : begin + length], last]])
        kinds = torch.tensor([[0] * (len(kept) + 2) + [1] * (length + 1)])
        with torch.no_grad():
            logits = made(input_ids=ids, token_type_ids=kinds).start_logits[0, -1 - length : -1]
        assert close(found.values[window][found.real_mask()[window]], logits)


def test_of_a_passage_that_is_too_long_the_beginning_is_read(checkpoint, file):
    whole, cut = (
        given(reader(checkpoint("bert", "Passage", ("start", "end")), max_length=size), file, "start", "end")
        for size in (40, 14)
    )
    lengths = [features["end"].real_mask().sum(1) for features in (whole, cut)]
    questions = torch.tensor(
        [len(AutoTokenizer.from_pretrained(checkpoint("bert", "Passage", ("start", "end"))).tokenize(t)) for t in FIRST]
    )
    assert torch.equal(lengths[1], torch.minimum(lengths[0], (14 - 3 - questions).clamp(min=0)))


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({"labels": ["a", "b"]}, "labels has no place where answers are parts of a passage"),
        ({"inputs": ["question"]}, "inputs must name the passage, column 'other', got text"),
        ({"window_size": 40}, "window_size is 40, but of all pieces it reads 40 at once"),
        ({"window_stride": 2}, "window_stride must be window_size at most"),
    ],
)
def test_a_reader_of_passages_that_does_not_fit_is_refused_before_any_row_is_read(checkpoint, conf, sentence):
    with pytest.raises(ValueError, match=sentence):
        reader(checkpoint("bert", "Passage", ("start", "end")), **conf)


def test_a_window_without_room_is_refused(checkpoint, file):
    with pytest.raises(UserError, match="window_size is 39, but there is room for 37 pieces"):
        given(reader(checkpoint("bert", "Passage", ("start", "end")), window_size=39), file, "start", "end")
