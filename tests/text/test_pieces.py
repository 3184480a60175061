"""Pieces against the tokenizers they come from, on texts that are awkward."""

import json
from itertools import chain

import pytest
from tiny_encoders import write_encoder
from transformers import AutoTokenizer

from core.errors import UserError
from text.encoder import InputEncoder
from text.input_plan import InputPlan
from text.pieces import Pieces


@pytest.fixture(scope="module", params=["bert", "roberta"])
def folder(request, tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp(request.param), request.param)


def test_half_of_a_surrogate_pair_is_a_sign_like_any_unknown_one(folder):
    broken, sound = ["red \ud800 cat", "\udfff"], ["red \ufffd cat", "\ufffd"]
    pieces = Pieces.load(str(folder))
    split = AutoTokenizer.from_pretrained(folder)(sound, add_special_tokens=False)["input_ids"]
    expected = [*chain.from_iterable(split)]
    assert pieces.of_texts(broken).values.tolist() == expected
    ids, spans = pieces.with_spans(broken)
    assert ids.values.tolist() == expected and len(spans) == len(ids.values)
    assert pieces.of_words(["\ud800"]).values.tolist() == pieces.of_words(["\ufffd"]).values.tolist()


def test_spans_are_the_signs_of_their_pieces_without_the_space_before(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None  # that of RoBERTa would leave spaces out by itself
    text = "red cat  runs\u00a0home"
    pieces = Pieces(tokenizer, {})
    _, spans = pieces.with_spans([text])
    assert pieces.with_spans(["", text, " ", text])[1][-len(spans) :].tolist() == spans.tolist()
    shown = [text[start:end] for start, end in spans]
    assert "".join("".join(shown).split()) == "".join(text.split())
    assert not any(part[:1].isspace() and part.strip() for part in shown)


def test_a_tokenizer_without_a_first_piece_cannot_say_that_there_is_no_answer(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None
    plan = InputPlan(
        branches={"passage": ["text"]}, kinds={"text": "piece"}, clusters={"text": "encoder"}, begun=["passage"]
    )
    with pytest.raises(UserError, match="passage: its tokenizer puts nothing before a text"):
        InputEncoder(plan, {"encoder": Pieces(tokenizer, {})})
