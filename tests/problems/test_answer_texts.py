"""Scores of answers in words: by hand, and against a plain rewrite of SQuAD's rules."""

import json
import math
import random
import re
import string
from collections import Counter

import numpy as np
import pytest

from problems import metrics
from problems.answer_texts import answer_scores, normalized
from text.readers import RowFile


def test_texts_are_compared_without_case_articles_punctuation_and_spaces():
    assert normalized(" The  U.S.A.'s \t(an) apple, another THEME!") == "usas apple another theme"
    assert normalized("a") == normalized("the, an.") == normalized("") == ""
    assert normalized("“Éa–b”") == "“éa–b”"  # only ASCII punctuation
    assert normalized("pre-a-post x.a y") == "preapost xa y"  # punctuation goes before articles do


@pytest.mark.parametrize(
    ("predicted", "right", "exact", "f1"),
    [
        ("the Denver Broncos!", ["Denver Broncos"], 1, 1),
        ("Denver", ["Denver Broncos"], 0, 2 / 3),  # precision 1, recall 1/2
        ("Denver", ["Carolina", "Denver Broncos", "Broncos of Denver"], 0, 2 / 3),
        ("to be or not", ["to be to be"], 0, 1 / 2),  # 2 words in common of 4 and 4
        ("x x x", ["x x"], 0, 4 / 5),  # 2 in common of 3 and 2
        ("Oslo", ["Bergen"], 0, 0),
        ("", [], 1, 1),
        ("the", [], 1, 1),
        ("Oslo", [], 0, 0),
        ("", ["Oslo"], 0, 0),
        ("", ["the", "!"], 1, 1),  # right answers of which nothing is left do not count
        ("", ["the", "Oslo"], 0, 0),
    ],
)
def test_scores_by_hand(predicted, right, exact, f1):
    scores = answer_scores([predicted], [right])
    assert (scores.exact_match.tolist(), scores.f1.tolist()) == ([exact], [pytest.approx(f1)])
    assert scores.has_answer.tolist() == [bool(right)]


def plain_words(text):
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def plain_scores(predicted, right):
    """One question, written down as the rules are told."""
    golds = [words for words in map(plain_words, right) if words] or [[]]
    guess, f1 = plain_words(predicted), 0.0
    for gold in golds:
        common = sum((Counter(guess) & Counter(gold)).values())
        if not guess or not gold:
            f1 = max(f1, float(guess == gold))
        elif common:
            precision, recall = common / len(guess), common / len(gold)
            f1 = max(f1, 2 * precision * recall / (precision + recall))
    return float(guess in golds), f1


def same_as_plain(predicted, right):
    scores = answer_scores(predicted, right)
    exact, f1 = np.array([plain_scores(*pair) for pair in zip(predicted, right, strict=True)]).T
    assert np.array_equal(scores.exact_match, exact) and scores.f1 == pytest.approx(f1)
    return scores


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_the_plain_rules(seed):
    rng = random.Random(seed)

    def text():
        return " ".join(rng.choices(["the", "A", "x", "X.", "y", "y-y", "!", "z", "\t"], k=rng.randint(0, 4)))

    predicted = [text() for _ in range(2_000)]
    scores = same_as_plain(predicted, [[text() for _ in range(rng.randint(0, 4))] for _ in predicted])
    assert 0 < scores.exact_match.mean() < scores.f1.mean() < 1


def test_people_agree_on_squad_as_the_plain_rules_say(real_data):
    cells = [row.cells for row in RowFile(real_data / "SQuAD" / "dev-v1.1.json.gz", {})]
    texts = [json.loads(row["answers"]) for row in cells]
    several = [answers for answers in texts if len(answers) > 1]
    same_as_plain([answers[0] for answers in several], [answers[1:] for answers in several])
    own = answer_scores([max(answers, key=len) for answers in texts], texts)
    assert own.exact_match.all() and own.f1.all()


def test_means_with_and_without_answer():
    """Three questions with an answer (f1 1, 2/3, 0), two without (one answered all the same)."""
    answers = metrics.ReadingAnswers(["x", "x", "y", "", "x"], [["x"], ["x y"], ["x"], [], []])
    assert answers.is_sound and not metrics.ReadingAnswers([], []).is_sound
    got = {name: metric.function(answers, -1) for name, metric in metrics.READING.items()}
    assert got == {
        "exact_match": pytest.approx(2 / 5),
        "f1": pytest.approx((1 + 2 / 3 + 1) / 5),
        "has_answer_exact_match": pytest.approx(1 / 3),
        "has_answer_f1": pytest.approx(5 / 9),
        "no_answer_exact_match": 1 / 2,
        "no_answer_f1": 1 / 2,
    }
    only = metrics.ReadingAnswers(["x"], [["x"]])
    assert math.isnan(metrics.READING["no_answer_f1"].function(only, -1))
