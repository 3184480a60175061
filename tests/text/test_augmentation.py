"""Rows made of others: what may be done to a text, and which rows are never made."""

import random
import sys
from collections import Counter

import numpy as np
import pytest

from core.config import AugmentationConf
from core.errors import UserError
from text.augmentation import augmented_file
from text.readers import RowFile

STILL = {"mask": 0.0, "replace": 0.0, "ngram": 0.0}
WORDS = [f"word{number}" for number in range(40)]


class Maker:
    """Makes rows of others in a folder: lists of texts."""

    def __init__(self, folder):
        self.folder = folder
        self.file: RowFile | None = None

    def __call__(self, rows, held_out=(), split="whitespace", is_cached=True, **settings):
        columns = ["a", "b"][: len(rows[0])]
        places = {column: place for place, column in enumerate(columns)}
        files = []
        for name, part in (("train", rows), ("valid", held_out)):
            path = self.folder / f"{name}.tsv"
            path.write_text("".join("\t".join(row) + "\n" for row in part))
            files += [RowFile(path, places)] if part else []
        source, *others = files
        lines = np.array([row.number for row in source])
        conf, cache = AugmentationConf(**STILL | settings), self.folder / "cache" if is_cached else None
        self.file = augmented_file(conf, [(source, lines)], others, columns, split, cache)
        return [tuple(row.cells[column] for column in columns) for row in self.file]


@pytest.fixture
def made(tmp_path):
    return Maker(tmp_path)


def different(count, length, seed=0):
    """Rows of one text, no two alike."""
    rng = random.Random(seed)
    return [(" ".join(rng.choices(WORDS, k=length)),) for _ in range(count)]


def test_words_are_masked_as_often_as_asked(made):
    rows = different(500, 20)
    found = made(rows, mask=0.3, copies=1)
    assert len(found) > 490  # 0.7 ** 20 of them stay as they are
    sources = {tuple(text.split()) for (text,) in rows}
    for (text,) in found:
        words = text.split()
        assert any(all(word in ("_", own) for word, own in zip(words, source, strict=True)) for source in sources)
    masks = [text.split().count("_") / 20 for (text,) in found]
    assert np.mean(masks) == pytest.approx(0.3, abs=0.02)  # four standard deviations


def test_words_are_replaced_by_others_of_their_part_of_speech_as_often_as_these_stand_there(made):
    parser = pytest.importorskip("textblob.en").parser
    nouns, verbs = ["dog", "house", "cats", "tree"], ["sleeps", "eats"]
    rng = random.Random(0)
    rows = [(" ".join(rng.choice(rng.choices([nouns, verbs], [3, 1])[0]) for _ in range(30)),) for _ in range(300)]
    counts = Counter(word for (text,) in rows for word in text.split())
    found = Counter(word for (text,) in made(rows, replace=1.0, copies=1) for word in text.split())

    def tag(word):
        return parser.find_tags([word])[0][1]

    assert {tag(word) for word in verbs} == {"VBZ"}
    assert tag("dog") == tag("house") != tag("cats")
    for word, count in counts.items():
        of_kind = sum(counts[other] for other in counts if tag(other) == tag(word))
        assert sum(found[other] for other in counts if tag(other) == tag(word)) == of_kind
        assert found[word] / of_kind == pytest.approx(count / of_kind, abs=0.07)


def test_of_a_text_one_to_so_many_words_in_a_row_are_kept(made):
    text = " ".join(WORDS[:12])
    found = {made_text for (made_text,) in made([(text,)], ngram=1.0, copies=2000, longest_ngram=3)}
    assert found == {" ".join(WORDS[first : first + n]) for n in (1, 2, 3) for first in range(13 - n)}


def test_of_two_texts_each_alone_and_then_both_are_changed(made):
    row = ("a b c d e f g h", "i j k l m n o p")
    found = made([row], ngram=1.0, copies=300)
    kinds = Counter((first == row[0], second == row[1]) for first, second in found)
    assert set(kinds) == {(False, True), (True, False), (False, False)}


def test_pairs_are_put_together_anew(made):
    rows = [(f"question {number}", f"answer {number}") for number in range(50)]
    found = made(rows, recombine=1.0, copies=10)
    assert {first for first, _ in found} == {first for first, _ in rows}
    assert {second for _, second in found} == {second for _, second in rows}
    assert not set(found) & set(rows)


def test_no_row_stands_twice_or_in_a_file_that_nobody_learns_from(made):
    rows = different(30, 4)
    first = made(rows, mask=0.5, copies=20)
    assert len(set(first)) == len(first)
    assert not set(first) & set(rows)
    valid = [(f"  {text.upper()} ",) for (text,) in first[::2]]
    second = made(rows, valid, mask=0.5, copies=20)
    assert set(second) == set(first[1::2])


def test_nothing_is_made_of_a_row_that_is_held_out(made):
    rows = [("one two three four",), ("five six seven eight",)]
    found = " ".join(text for (text,) in made(rows, [rows[0]], mask=0.5))
    assert {"five", "eight"} <= set(found.split())
    assert not {"one", "two", "three", "four"} & set(found.split())


def test_equal_settings_find_what_was_made(made):
    rows = different(20, 6)
    first = made(rows, mask=0.2)
    before = made.file.path.stat().st_mtime_ns
    assert made(rows, mask=0.2) == first
    assert made.file.path.stat().st_mtime_ns == before
    assert made(rows, mask=0.2, seed=2) != first


def test_without_a_cache_the_same_rows_are_made_and_removed(made):
    rows = different(20, 6)
    first = made(rows, mask=0.2)
    assert made(rows, mask=0.2, is_cached=False) == first
    path = made.file.path
    assert path.exists()
    made.file = None
    assert not path.parent.exists()


def test_text_around_what_is_changed_stays_as_it_was_written(made):
    text = 'He said: "we can\'t stop, now!"'
    found = {made_text for (made_text,) in made([(text,)], split="nltk", mask=0.1, copies=300)}
    assert 'He said: "we can\'t stop, _ !"' in found
    assert 'He said: "we ca _ stop, now!"' in found
    assert "He said: _ we can't stop, now!\"" in found


def test_a_copy_of_a_column_stays_a_copy(made):
    rows = [(text, text) for (text,) in different(20, 6)]
    found = made(rows, mask=0.3)
    assert len(found) > 20
    assert all(first == second for first, second in found)


def test_rows_that_cannot_be_changed_are_told(made):
    with pytest.raises(UserError, match=r"inputs.augmentation: makes no row that is not there already"):
        made([("one",), ("two",)], ngram=1.0)


def test_a_missing_tagger_is_told(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "textblob.en", None)
    with pytest.raises(UserError, match=r"inputs.augmentation.replace: .*pip install 'textblob>=0.19,<1', or set it"):
        made([("one two",)], replace=0.5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"mask": 0.6, "replace": 0.6}, "mask and replace are 1.2 together"),
        ({"mask": 0.1, "mask_word": "[ MASK ]"}, "must be one word"),
        ({}, "changes nothing"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        AugmentationConf(**STILL | settings)
