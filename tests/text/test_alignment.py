"""Spans of tokens, against the spans that the libraries of the tokenizers give, and by their properties."""

import random
import re
import sys
import unicodedata

import numpy as np
import pytest
from nltk.tokenize.destructive import NLTKWordTokenizer

from text.alignment import character_spans
from text.readers import RowFile
from text.tokenizers import preprocessor, stop_words, tokenizer

STEPS = [[], ["lowercase"], ["DBC2SBC", "unicode_fix", "lowercase"]]


def aligned(text, name="nltk", steps=()):
    """(token, its span) of each token."""
    prepared = preprocessor(steps)(text)
    tokens = tokenizer(name)(prepared)
    starts, ends = character_spans(text, prepared, tokens)
    assert starts.dtype == ends.dtype == np.int32
    return list(zip(tokens, zip(starts.tolist(), ends.tolist(), strict=True), strict=True))


def pieces(text, name="nltk", steps=()):
    """What the spans cover."""
    return [text[start:end] for _, (start, end) in aligned(text, name, steps)]


@pytest.fixture
def passages(real_data):
    rows = RowFile(real_data / "SQuAD" / "dev-v1.1.json.gz", {})
    return list(dict.fromkeys(row.cells["passage"] for row in rows))[::16]


def library_spans(name, text):
    if name == "nltk":
        return list(NLTKWordTokenizer().span_tokenize(text))
    return [match.span() for match in re.finditer(r"\S+" if name == "whitespace" else r"\w+|[^\w\s]", text)]


@pytest.mark.parametrize("name", ["nltk", "whitespace", "regex"])
def test_spans_are_those_of_the_library(passages, name):
    for text in passages:
        assert [span for _, span in aligned(text, name)] == library_spans(name, text)


@pytest.mark.parametrize("name", ["nltk", "whitespace", "regex"])
@pytest.mark.parametrize("steps", STEPS)
def test_spans_of_real_passages_hold_their_tokens_and_cover_the_text(passages, name, steps):
    for text in passages:
        found = aligned(text, name, steps)
        starts, ends = np.array([span for _, span in found]).T
        assert (starts < ends).all() and (starts[1:] >= starts[:-1]).all() and (ends[1:] >= ends[:-1]).all()
        assert not "".join(text[end:start] for end, start in zip([0, *ends], [*starts, None], strict=True)).strip()
        for token, (start, end) in found:
            assert token in ("``", "''") or token == preprocessor(steps)(text[start:end])


def test_jieba_spans_are_those_of_jieba():
    jieba = pytest.importorskip("jieba")
    text = "我来到 北京清华大学，“你好”  Blocksmith 3.5！"
    assert aligned(text, "jieba") == [(word, (a, b)) for word, a, b in jieba.tokenize(text) if word.strip()]


def test_quotes_that_nltk_rewrites():
    text = 'He said "no\'\'; ``yes" (\'"x"\') "\'tis".'
    assert [token for token, _ in aligned(text)].count("``") >= 2
    assert "".join(pieces(text)) == "".join(text.split())
    assert [piece for piece in pieces(text) if piece not in ('"', "''", "``")] == [
        token for token, _ in aligned(text) if token not in ("''", "``")
    ]


@pytest.mark.parametrize(
    ("steps", "text", "wanted"),
    [
        (["lowercase"], "an İstanbul ΣΑΣ ẞ", ["an", "İstanbul", "ΣΑΣ", "ẞ"]),
        (["DBC2SBC"], "Ａｂ１\u3000（x）", ["Ａｂ１", "（", "x", "）"]),
        (["unicode_fix"], "a &amp;  “sÃ©” e\u0301 \x07ﬁsh &lt; b", ["a", "&", "“", "sÃ©", "”", "e\u0301", "ﬁsh", "&lt;", "b"]),
        (["unicode_fix", "DBC2SBC", "lowercase"], "Ã‰ âœ” ＩT", ["Ã‰", "âœ”", "ＩT"]),
    ],
)  # fmt: skip
def test_spans_are_those_of_the_text_before_the_steps(steps, text, wanted):
    assert pieces(text, "nltk", steps) == wanted


DAMAGE = {character: character.encode().decode("cp1252") for character in "é–ü"} | {"&": "&amp;"}


def test_what_unicode_fix_mends_does_not_shift_the_rest(passages):
    fix, mended = preprocessor(["unicode_fix"]), 0
    for text in map(fix, passages):
        parts = [DAMAGE.get(character, character) for character in text]
        damaged = "".join(parts)
        if damaged == text or fix(damaged) != text:
            continue
        mended += 1
        new = np.cumsum([0, *map(len, parts)])
        for (token, span), (_, found) in zip(aligned(text), aligned(damaged, steps=["unicode_fix"]), strict=True):
            start, end = new[list(span)]
            assert start <= found[0] < found[1] <= end
            assert damaged[start:end] != token or found == (start, end)
    assert mended > 10


@pytest.mark.parametrize("step", ["lowercase", "DBC2SBC"])
def test_every_character_is_found_again(step):
    characters = [
        character for character in map(chr, range(sys.maxunicode)) if unicodedata.category(character)[0] != "C"
    ]
    characters = [character for character in characters if not character.isspace()]
    found = aligned(" ".join(characters), "whitespace", [step])
    assert [start for _, (start, _) in found] == list(range(0, 2 * len(characters), 2))


def test_two_tokens_of_one_character_have_its_span():
    assert aligned("aİ", "regex", ["lowercase"]) == [("ai", (0, 2)), ("\u0307", (1, 2))]


def test_random_texts_with_quotes_and_dots():
    rng = random.Random(7)
    for _ in range(2_000):
        text = "".join(rng.choices("ab'\"`. “”’…-(,İ", k=rng.randint(0, 20)))
        for name in ("nltk", "regex"):
            assert "".join(pieces(text, name)) == "".join(text.split())


def test_a_token_that_is_not_in_the_text_is_refused():
    text = "the house of the cat"
    kept = [token for token in text.split() if token not in stop_words()]
    with pytest.raises(
        ValueError, match=r"^token 'house' cannot be placed, the text goes on with 'the house of the cat'"
    ):
        character_spans(text, text, kept)
    for tokens in (
        ["the", "house"],
        [*text.split(), "sat"],
        ["a"],
        ["the", " ", *text.split()[1:]],
        [*text.split(), " "],
        [""],
        [],
    ):
        with pytest.raises(ValueError, match="cannot be placed"):
            character_spans(text, text, tokens)
    assert [len(part) for part in character_spans(" ", " ", [])] == [0, 0]
