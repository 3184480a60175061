import numpy as np
import pytest

from distillation.untargeted import Untargeted
from text.encoded import encode_file, encode_training_file
from text.encoder import InputPlan
from text.folds import folds
from text.readers import RowFile

WORDS = "red green blue cat dog bird runs sleeps eats house tree river small large".split()
PLANS = {
    "words": InputPlan(branches={"a": ["x"], "b": ["y"]}, kinds={"x": "word", "y": "word"}),
    "characters": InputPlan(
        branches={"a": ["x", "x_char"], "b": ["y"]},
        kinds={"x": "word", "x_char": "char", "y": "word"},
        sources={"x_char": "x"},
    ),
}


def written(path, texts):
    path.write_text("".join(f"{x}\t{y}\tg{number % 7}\n" for number, (x, y) in enumerate(texts)))
    return RowFile(path, {"x": 0, "y": 1, "g": 2})


@pytest.fixture
def texts():
    random = np.random.default_rng(1)
    return [tuple(" ".join(random.choice(WORDS, random.integers(1, 6))) for _ in "xy") for _ in range(400)]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_fold_of_a_row_is_that_of_its_texts_in_whatever_file_it_stands(tmp_path, texts, plan):
    train, encoder = encode_training_file(written(tmp_path / "a.tsv", texts), plan, Untargeted(), None)
    order = np.random.default_rng(2).permutation(400)
    other = [("dog", "new words here"), *(texts[at] for at in order)]
    again = encode_file(written(tmp_path / "b.tsv", other), encoder, Untargeted(), None)
    first, second = folds(train, None, 5), folds(again, None, 5)
    assert np.array_equal(first[order], second[1:])
    counts = np.bincount(first, minlength=6)
    assert counts[0] == 0
    assert counts[1:].min() > 50  # of 80 expected, with a standard deviation of 8


def test_a_text_in_the_other_place_or_order_is_another_text(tmp_path):
    pairs = [(f"{a} {b}", c) for a in WORDS for b in WORDS for c in WORDS if len({a, b, c}) == 3]
    rows, encoder = encode_training_file(written(tmp_path / "a.tsv", pairs), PLANS["words"], Untargeted(), None)
    turned = [(" ".join(reversed(x.split())), y) for x, y in pairs]
    moved = [(y, x) for x, y in pairs]
    found = folds(rows, None, 1000)
    for changed in (turned, moved):
        theirs = folds(encode_file(written(tmp_path / "b.tsv", changed), encoder, Untargeted(), None), None, 1000)
        assert (found == theirs).mean() < 0.02


def test_where_rows_have_groups_these_decide(tmp_path, texts):
    rows, _ = encode_training_file(written(tmp_path / "a.tsv", texts), PLANS["words"], Untargeted("g"), None)
    found = folds(rows, "g", 3)
    assert all(len(set(found[group::7])) == 1 for group in range(7))
    assert len(set(found)) > 1
