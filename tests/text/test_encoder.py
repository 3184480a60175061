import json
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.types import Row
from text.encoder import InputEncoder, InputPlan
from text.vocabulary import EOS, START, UNK

WORDS = InputPlan(branches={"s": ["text"]}, kinds={"text": "word"})
SIGNS = InputPlan(branches={"s": ["text", "signs"]}, kinds={"text": "word", "signs": "char"}, sources={"signs": "text"})
TAGGED = InputPlan(branches={"s": ["text", "postag"]}, kinds={"text": "word", "postag": "feature"})
PAIR = InputPlan(branches={"q": ["question"], "a": ["answer"]}, kinds={"question": "word", "answer": "word"})


def rows_of(*cells, first=1):
    return [
        Row(number, given if isinstance(given, dict) else {"text": given}) for number, given in enumerate(cells, first)
    ]


def fitted(plan, rows):
    encoder = InputEncoder(plan)
    encoder.encode(rows)
    encoder.finish()
    return encoder


def words_of(encoder, column, ragged):
    """The lists of ids as lists of words."""
    words = encoder.vocabularies[encoder.plan.cluster(column)].words
    values = ragged.values.tolist()
    return [[words[id] for id in values[a:b]] for a, b in pairwise(ragged.offsets)]


def letters(ids):
    """The ids of the characters of all different words."""
    return ids["signs"].inner.values


def test_texts_become_the_ids_of_their_words_and_unknown_words_unk():
    encoder = fitted(WORDS, rows_of("b a b", "b c"))
    assert encoder.vocabularies["word"].words[4:] == ["b", "a", "c"]  # b stands in two texts
    ids, errors = encoder.encode(rows_of("a b", "c new a <pad>"))
    assert ids["text"].values.tolist() == [5, 4, 6, UNK, 5, UNK]
    assert (ids["text"].offsets.tolist(), errors) == ([0, 2, 6], ["", ""])


def test_a_vocabulary_of_rare_words_alone_is_refused():
    with pytest.raises(UserError, match=r"min_word_frequency: nothing of cluster 'word' occurs in 3 training"):
        fitted(replace(WORDS, min_word_frequency=3), rows_of("a b", "a b"))
    assert (
        len(fitted(replace(WORDS, min_word_frequency=3, extra_words=["c"]), rows_of("a b")).vocabularies["word"]) == 5
    )


def test_the_ids_while_growing_become_the_final_ones():
    encoder = InputEncoder(SIGNS)
    chunks = [rows_of("b a", "c a"), rows_of("a d", "é c a")]
    grown = [encoder.encode(chunk)[0] for chunk in chunks]
    remaps = encoder.finish()
    for chunk, early in zip(chunks, grown, strict=True):
        late, _ = encoder.encode(chunk)
        assert remaps["text"][early["text"].values].tolist() == late["text"].values.tolist()
        assert remaps["signs"][letters(early)].tolist() == letters(late).tolist()


def test_branches_share_the_vocabulary_of_their_cluster():
    row = {"question": "a b", "answer": "c a"}
    encoder = fitted(PAIR, rows_of(row))
    assert encoder.vocabularies["word"].words[4:] == ["a", "b", "c"]
    own = fitted(replace(PAIR, clusters={"question": "q", "answer": "a"}), rows_of(row))
    assert {name: v.words[4:] for name, v in own.vocabularies.items()} == {"q": ["a", "b"], "a": ["c", "a"]}


@pytest.mark.parametrize("start_end", [False, True])
def test_the_characters_of_each_word_stand_where_the_word_stands(start_end):
    rng = random.Random(7)
    texts = [
        " ".join("".join(rng.choices("abé東", k=rng.randint(1, 4))) for _ in range(rng.randint(1, 6))) for _ in range(9)
    ]
    encoder = fitted(replace(SIGNS, add_start_end=start_end), rows_of(*texts))
    rows, errors = encoder.encode_rows(rows_of(*texts, first=11))
    assert errors == [""] * 9
    features = rows.batch(np.arange(9)).inputs["s"]
    words, signs = encoder.vocabularies["word"].words, encoder.vocabularies["char"].words
    for text, ids_T, signs_TK, mask_T in zip(
        texts, features.values, features.parts["signs"], features.mask, strict=True
    ):
        wanted = ["<start>", *text.split(), "<eos>"] if start_end else text.split()
        spelled = [[word] if word in ("<start>", "<eos>") else list(word) for word in wanted]
        assert [words[id] for id in ids_T[mask_T]] == wanted
        assert [[signs[id] for id in sign_K if id] for sign_K in signs_TK[: len(wanted)]] == spelled
        assert not signs_TK[len(wanted) :].any() and not ids_T[~mask_T].any()


def test_start_and_end_enclose_each_text():
    ids, _ = fitted(replace(WORDS, add_start_end=True), rows_of("a b")).encode(rows_of("b", "a a"))
    assert ids["text"].values.tolist() == [START, 5, EOS, START, 4, 4, EOS]
    assert ids["text"].lengths.tolist() == [3, 4]


def test_features_belong_to_the_words_between_spaces():
    rows = rows_of({"text": "Don't  go , Mr. X", "postag": "V V P N N"}, {"text": "a", "postag": "D"})
    for tokenizer in ("nltk", "regex", "whitespace"):  # none may split otherwise than the tags
        encoder = fitted(replace(TAGGED, tokenizer=tokenizer, preprocessing=["lowercase", "remove_stopwords"]), rows)
        ids, errors = encoder.encode(rows)
        assert errors == ["", ""]
        assert words_of(encoder, "text", ids["text"]) == [["don't", "go", ",", "mr.", "x"], ["a"]]
        assert words_of(encoder, "postag", ids["postag"]) == [["V", "V", "P", "N", "N"], ["D"]]


def test_a_row_without_one_feature_for_each_word_is_bad_and_counts_nowhere():
    rows = rows_of(
        {"text": "a b", "postag": "X Y"}, {"text": "c d e", "postag": "Z Z"}, {"text": "f", "postag": ""},
        {"text": "", "postag": "X"}, {"text": "g"}, {"text": "b", "postag": "Y"},
    )  # fmt: skip
    rows.append(Row(7, {"text": "h", "postag": "X"}, "broken before."))
    encoder = fitted(TAGGED, rows)
    encoded, errors = encoder.encode_rows(rows)
    assert errors == [
        "", "postag has 2 features, but text has 3 tokens.", "postag is empty.", "text is empty.",
        "column postag is missing.", "", "broken before.",
    ]  # fmt: skip
    assert encoded.lines.tolist() == [1, 6]
    assert words_of(encoder, "text", encoded.columns["text"]) == [["a", "b"], ["b"]]
    assert encoder.vocabularies["word"].words[4:] == ["b", "a"]
    assert encoder.vocabularies["feature"].words[4:] == ["Y", "X"]


@pytest.mark.parametrize("name", ["s", "text"])
def test_max_length_cuts_and_fixed_length_cuts_and_pads(name):
    rows = rows_of("a b c d", "a b", first=5)
    for start_end in (False, True):
        wrap = 2 * start_end
        plan = replace(WORDS, add_start_end=start_end)
        cut = fitted(replace(plan, max_lengths={name: 3}), rows).encode_rows(rows)[0]
        assert cut.lengths.tolist() == [3 + wrap, 2 + wrap]
        fixed = fitted(replace(plan, fixed_lengths={name: 3}), rows).encode_rows(rows)[0]
        features = fixed.batch(np.array([1])).inputs["s"]
        assert features.values.shape == features.mask.shape == (1, 3 + wrap)
        assert features.lengths.tolist() == [2 + wrap]
        assert features.mask[0].tolist() == [True] * (2 + wrap) + [False]


def test_cut_words_cut_their_features_and_the_shorter_limit_counts():
    plan = replace(TAGGED, max_lengths={"s": 2}, fixed_lengths={"text": 3})
    rows = rows_of({"text": "a b c d", "postag": "X Y Z Z"})
    encoder = fitted(plan, rows)
    features = encoder.encode_rows(rows)[0].batch(np.array([0])).inputs["s"]
    assert features.values.tolist() == [[4, 5, 0]]
    assert features.parts["postag"].tolist() == [[4, 5, 0]]
    assert encoder.vocabularies["word"].words[4:] == ["a", "b"]  # what is cut was never seen


def test_the_characters_of_a_word_can_have_a_fixed_number():
    rows = rows_of("abc d")
    encoder = fitted(replace(SIGNS, fixed_lengths={"word": 2}), rows)
    parts = encoder.encode_rows(rows)[0].batch(np.array([0])).inputs["s"].parts
    assert parts["signs"].tolist() == [[[4, 5], [7, 0]]]
    assert encoder.specs()["s"].parts["signs"].sizes == {"V": 8, "K": 2}


def test_a_batch_has_each_branch_by_itself_and_the_lines_of_its_rows():
    rows = rows_of({"question": "a", "answer": "b c d"}, {"question": "a b", "answer": "c"}, first=10)
    encoded = fitted(PAIR, rows).encode_rows(rows)[0]
    assert encoded.lengths.tolist() == [3, 2]
    batch = encoded.batch(np.array([1, 0]))
    assert batch.lines.tolist() == [11, 10]
    assert batch.inputs["q"].values.tolist() == [[4, 5], [4, 0]]
    assert batch.inputs["a"].values.tolist() == [[6, 0, 0], [5, 6, 7]]
    assert batch.inputs["a"].mask.tolist() == [[True, False, False], [True, True, True]]
    assert batch.inputs["a"].values.dtype == torch.int64


def test_the_specs_say_what_a_batch_is():
    plan = InputPlan(
        branches={"q": ["q_tag", "question", "q_char"], "a": ["answer"]},
        kinds={"question": "word", "answer": "word", "q_tag": "feature", "q_char": "char"},
        sources={"q_char": "question"}, fixed_lengths={"q": 4, "word": 3}, add_start_end=True,
    )  # fmt: skip
    rows = rows_of({"question": "ab c", "q_tag": "X Y", "answer": "d"})
    encoder = fitted(plan, rows)
    batch = encoder.encode_rows(rows)[0].batch(np.array([0, 0]))
    for branch, spec in encoder.specs().items():
        features = batch.inputs[branch]
        assert list(spec.parts) == list(features.parts) == plan.branches[branch]
        for name, part in spec.parts.items():
            shape = dict(zip(part.axes, features.parts[name].shape, strict=True))
            assert all(shape[axis] == size for axis, size in part.sizes.items() if axis != "V")
            assert features.parts[name].max() < part.size("V") == len(encoder.vocabularies[plan.cluster(name)])
    assert encoder.specs()["q"].sizes == {"T": 6}
    assert batch.inputs["q"].values.tolist() == batch.inputs["q"].parts["question"].tolist()


def test_an_encoder_from_its_state_encodes_the_same():
    plan = replace(
        SIGNS, tokenizer="regex", preprocessing=["lowercase"], max_lengths={"s": 3}, add_start_end=True,
        min_word_frequency=2, max_vocabulary=3, extra_words=["more"], clusters={"text": "words"},
    )  # fmt: skip
    encoder = fitted(plan, rows_of("A, b c", "a b, d", "b e a"))
    again = InputEncoder.from_state(json.loads(json.dumps(encoder.state())))
    rows = rows_of("A b c, more", "new E", "")
    (ids, errors), (ids_again, errors_again) = encoder.encode(rows), again.encode(rows)
    assert errors == errors_again
    assert ids["text"].values.tolist() == ids_again["text"].values.tolist()
    assert letters(ids).tolist() == letters(ids_again).tolist()
    assert str(again.specs()) == str(encoder.specs())


def test_extra_words_belong_to_the_word_cluster():
    encoder = fitted(replace(SIGNS, extra_words=["more"]), rows_of("a"))
    assert encoder.vocabularies["word"].words[4:] == ["a", "more"]
    assert encoder.vocabularies["char"].words[4:] == ["a"]


@pytest.mark.parametrize(
    ("branches", "more", "said"),
    [
        ({"s": ["tag"]}, {}, {"s": "a branch needs one column of words, but this one has none."}),
        ({"s": ["w", "v"]}, {}, {"s": "a branch needs one column of words, but this one has 2 (w, v)."}),
        ({"s": ["w", "c"]}, {"sources": {"c": "v"}}, {"s": "column 'c' must hold the characters of 'w', the words here."}),
        ({"s": ["w"], "t": ["w"]}, {"max_lengths": {"s": 3}}, {"t": "column 'w' stands in two branches of different length."}),
        ({"s": ["w", "tag"], "t": ["v", "tag"]}, {}, {"t": "column 'tag' belongs to the words 'w' of another branch."}),
        ({"s": ["w", "tag"], "t": ["w"]}, {}, {}),
    ],
)  # fmt: skip
def test_a_plan_says_what_is_wrong_with_its_branches(branches, more, said):
    plan = InputPlan(branches=branches, kinds={"w": "word", "v": "word", "c": "char", "tag": "feature"}, **more)
    assert plan.complaints() == said
    if said:
        with pytest.raises(ValueError, match="model_inputs\\."):
            InputEncoder(plan)
