"""How right answers in words are: exact match and f1 of SQuAD, from 0 to 1 (its own scripts give percent).

The rules are those of evaluate-v2.0 (Rajpurkar et al. 2018): where there is no right answer, the empty text is right.
evaluate-v1.1 differs only where nothing is left of a right answer without articles and punctuation.
"""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from text.tokens import Tokens

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class AnswerScores:
    """Of N questions: float64 from 0 to 1, and whether they have an answer."""

    exact_match: np.ndarray
    f1: np.ndarray
    has_answer: np.ndarray

    def means(self) -> dict[str, float]:
        """Over all questions, over those with an answer, over those without; NaN where there are none."""
        groups = {"": np.full(len(self.f1), True), "has_answer_": self.has_answer, "no_answer_": ~self.has_answer}
        return {
            f"{group}{measure}": float(values_N[chosen_N].mean()) if chosen_N.any() else float("nan")
            for group, chosen_N in groups.items()
            for measure, values_N in (("exact_match", self.exact_match), ("f1", self.f1))
        }


def normalized(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, one space between words."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def answer_scores(predicted: Sequence[str], right: Sequence[Sequence[str]]) -> AnswerScores:
    """The scores of N answers, each beside the right one that fits it best; `right` may be empty for a question."""
    guesses = [normalized(text) for text in predicted]
    truths = [[text for text in map(normalized, texts) if text] or [""] for texts in right]
    counts_N = np.fromiter(map(len, truths), np.int64, len(truths))
    guess_M = np.repeat(np.arange(len(guesses)), counts_N)  # M pairs of an answer and a right one
    starts_N = np.cumsum(counts_N) - counts_N
    flat = list(chain.from_iterable(truths))
    exact_M = np.array([guesses[at] == text for at, text in zip(guess_M, flat, strict=True)], np.float64)
    return AnswerScores(
        np.maximum.reduceat(exact_M, starts_N),
        np.maximum.reduceat(_f1(guesses, flat, guess_M), starts_N),
        np.array([any(texts) for texts in right], bool),
    )


def _f1(guesses: Sequence[str], truths: Sequence[str], guess_M: np.ndarray) -> np.ndarray:
    """f1 of the words of M right answers and of the answer to each; words count as often as both have them."""
    index = Tokens.of_lists([text.split() for text in [*guesses, *truths]]).index
    size = 1 + int(index.values.max(initial=0))
    texts = np.repeat(np.arange(len(index)), index.lengths)
    keys, counts = np.unique(texts * size + index.values, return_counts=True)
    first = np.searchsorted(keys, len(guesses) * size)
    truth, word = np.divmod(keys[first:], size)
    truth -= len(guesses)
    wanted = guess_M[truth] * size + word
    at = np.searchsorted(keys, wanted)
    common = np.where(keys[at] == wanted, np.minimum(counts[at], counts[first:]), 0)
    common_M = np.bincount(truth, common, len(guess_M))
    total_M = index.lengths[guess_M] + index.lengths[len(guesses) :]
    return np.where(total_M > 0, 2 * common_M / np.maximum(total_M, 1), 1.0)
