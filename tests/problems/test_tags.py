"""Spans of tags against seqeval, and schemes into each other."""

import random

import numpy as np
import pytest
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from problems.measures import span_scores
from problems.tags import Tags, parse, retagged, spans, types_of

LABELS = ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC"))]


def random_texts(seed, count=200):
    """Tags of texts, most of them broken in any scheme."""
    rng = random.Random(seed)
    return [[rng.choice(LABELS) for _ in range(rng.randint(1, 9))] for _ in range(count)]


def tags_of(texts, labels=LABELS):
    firsts = np.concatenate([np.arange(len(text)) == 0 for text in texts])
    ids = np.array([labels.index(tag) for text in texts for tag in text])
    return Tags.of(ids, labels, types_of(labels), firsts)


def as_set(found, types):
    return {
        (start, end - 1, types[kind]) for start, end, kind in zip(found.starts, found.ends, found.types, strict=True)
    }


@pytest.mark.parametrize("seed", range(3))
def test_spans_are_those_of_seqeval_also_where_tags_break_their_scheme(seed):
    texts = random_texts(seed)
    expected, offset = set(), 0
    for text in texts:
        expected |= {(start + offset, end + offset, kind) for kind, start, end in get_entities(text)}
        offset += len(text)
    assert as_set(spans(tags_of(texts)), types_of(LABELS)) == expected


@pytest.mark.parametrize("seed", range(3))
def test_span_scores_are_those_of_seqeval(seed):
    right, guessed = random_texts(seed), random_texts(seed)
    rng = random.Random(seed)
    for text in guessed:
        for at in range(len(text)):
            text[at] = rng.choice(LABELS) if rng.random() < 0.3 else text[at]
    scores = span_scores(spans(tags_of(right)), spans(tags_of(guessed)))
    assert scores["f1"] == pytest.approx(f1_score(right, guessed))
    assert scores["precision"] == pytest.approx(precision_score(right, guessed))
    assert scores["recall"] == pytest.approx(recall_score(right, guessed))


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("IOB", "I-PER I-PER B-PER O I-LOC I-PER B-PER"),
        ("BIO", "B-PER I-PER B-PER O B-LOC B-PER B-PER"),
        ("BIOES", "B-PER E-PER S-PER O S-LOC S-PER S-PER"),
    ],
)
def test_the_same_spans_in_every_scheme(scheme, expected):
    texts = ["B-PER I-PER B-PER O B-LOC B-PER B-PER".split()]
    for other in ("IOB", "BIO", "BIOES"):
        written = retagged(tags_of(texts), other)
        assert " ".join(retagged(written, scheme).texts(types_of(LABELS))) == expected


@pytest.mark.parametrize("scheme", ["IOB", "BIO", "BIOES"])
def test_retagging_keeps_the_spans_and_is_done_once(scheme):
    tags = tags_of(random_texts(5))
    once = retagged(tags, scheme)
    assert as_set(spans(once), types_of(LABELS)) == as_set(spans(tags), types_of(LABELS))
    assert np.array_equal(retagged(once, scheme).prefixes, once.prefixes)


def test_tags_parse():
    assert [parse(tag) for tag in ("B-PER", "U-LOC", "O", "NN", "I-a-b", "B")] == [
        (1, "PER"), (4, "LOC"), (0, ""), (0, ""), (2, "a-b"), (1, ""),
    ]  # fmt: skip


def test_no_span_is_no_score():
    empty = spans(tags_of([["O", "O"]]))
    assert all(np.isnan(score) for score in span_scores(empty, empty).values())
    found = spans(tags_of([["B-PER", "O"]]))
    assert span_scores(empty, found) == pytest.approx(
        {"precision": 0.0, "recall": float("nan"), "f1": 0.0}, nan_ok=True
    )
