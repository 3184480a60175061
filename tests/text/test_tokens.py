import random
from itertools import pairwise

import numpy as np
import pytest

from text.tokens import Tokens


def random_texts(seed):
    rng = random.Random(seed)
    words = ["a", "bb", "é東", "👍x", "ab", "b", "longer", "\ud83d"]
    return [rng.choices(words, k=rng.choice([0, 1, 2, 7])) for _ in range(rng.randint(0, 9))]


def texts_of(tokens):
    return [[tokens.words[at] for at in tokens.index.values[a:b]] for a, b in pairwise(tokens.index.offsets)]


@pytest.fixture(params=range(25))
def texts(request):
    return random_texts(request.param)


def by_first_occurrence(items):
    return list(dict.fromkeys(items))


def test_tokens_are_the_texts_with_each_word_once(texts):
    tokens = Tokens.of_lists(texts)
    assert texts_of(tokens) == texts
    assert tokens.words == by_first_occurrence(word for text in texts for word in text)
    assert tokens.index.values.dtype == np.int32 and tokens.index.offsets.dtype == np.int64


def test_taken_texts_are_as_if_the_others_had_never_been(texts):
    rng = random.Random(len(texts))
    for indices in (
        [],
        sorted(rng.sample(range(len(texts)), len(texts) // 2)),
        rng.choices(range(len(texts) or 1), k=4),
    ):
        if not texts:
            continue
        taken, fresh = (
            Tokens.of_lists(texts).taken(np.array(indices, np.int64)),
            Tokens.of_lists([texts[i] for i in indices]),
        )
        assert taken.words == fresh.words
        np.testing.assert_array_equal(taken.index.values, fresh.index.values, strict=True)
        np.testing.assert_array_equal(taken.index.offsets, fresh.index.offsets, strict=True)


def test_the_characters_of_words_and_of_texts(texts):
    tokens = Tokens.of_lists(texts)
    characters = tokens.characters()
    assert texts_of(characters) == [list(word) for word in tokens.words]
    assert characters.words == by_first_occurrence("".join(tokens.words))
    assert texts_of(tokens.with_characters(characters)) == [list("".join(text)) for text in texts]


def test_first_texts_says_where_each_word_came_first(texts):
    tokens = Tokens.of_lists(texts)
    wanted = [next(at for at, text in enumerate(texts) if word in text) for word in tokens.words]
    assert tokens.first_texts().tolist() == wanted
