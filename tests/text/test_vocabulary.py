import json
import random
from collections import Counter

import numpy as np
import pytest

from text.tokens import Tokens
from text.vocabulary import EOS, PAD, SPECIALS, START, UNK, Vocabulary, VocabularyBuilder


def fitted(*chunks, min_frequency=1, max_words=10**6, extra_words=()):
    """A vocabulary of chunks of columns of texts, and the builder's provisional ids with what they become."""
    builder = VocabularyBuilder()
    provisional = []
    for columns in chunks:
        tokens = [Tokens.of_lists([text.split() for text in column]) for column in columns]
        builder.add(tokens)
        provisional += [
            (word, id) for part in tokens for word, id in zip(part.words, builder.lookup(part.words), strict=True)
        ]
    vocabulary, remap = builder.finish(min_frequency, max_words, extra_words)
    for word, id in provisional:
        assert remap[id] == vocabulary.lookup([word])[0]
    return vocabulary


def own(vocabulary):
    return vocabulary.words[len(SPECIALS) :]


def test_the_special_words_come_first():
    assert (PAD, START, EOS, UNK) == (0, 1, 2, 3)
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary.words == ["<pad>", "<start>", "<eos>", "<unk>", "a", "b"]
    ids = vocabulary.lookup(["b", "a", "new", "", "b"])
    assert ids.tolist() == [5, 4, UNK, UNK, 5] and ids.dtype == np.int32
    assert len(vocabulary) == 6


@pytest.mark.parametrize("special", SPECIALS)
def test_no_text_can_bring_a_special_word_in(special):
    assert Vocabulary(["a"]).lookup([special]).tolist() == [UNK]
    vocabulary = fitted([[f"{special} a", f"{special} b", special]], extra_words=[special])
    assert own(vocabulary) == ["a", "b"]
    assert vocabulary.lookup([special]).tolist() == [UNK]
    assert own(fitted([[f"{special} a", f"{special} b", special]], max_words=1)) == ["a"]


def test_a_word_counts_once_for_each_document():
    texts = ["a a a a", "b", "b c", "c b"]
    assert own(fitted([texts])) == ["b", "c", "a"]
    assert own(fitted([texts], min_frequency=2)) == ["b", "c"]
    assert own(fitted([texts], min_frequency=3)) == ["b"]
    assert own(fitted([texts], min_frequency=4)) == []


def test_the_columns_of_a_row_are_one_document():
    assert own(fitted([["a", "b"], ["a", "c b"]], min_frequency=2)) == []
    assert own(fitted([["x", "a"], ["a", "x"]])) == ["x", "a"]  # two documents each: the first come is the first
    assert own(fitted([["a", "b"], ["b", "c"]], min_frequency=2)) == ["b"]


def test_the_most_frequent_words_stay_and_ties_go_by_first_occurrence():
    texts = ["z y x", "x y", "w"]
    assert own(fitted([texts])) == ["y", "x", "z", "w"]
    assert own(fitted([texts], max_words=3)) == ["y", "x", "z"]
    assert own(fitted([texts], max_words=0)) == []


def test_extra_words_come_after_the_frequent_ones_and_do_not_count():
    vocabulary = fitted([["a b", "a"]], min_frequency=2, max_words=1, extra_words=["b", "new", "a", "new"])
    assert own(vocabulary) == ["a", "b", "new"]


@pytest.mark.parametrize("seed", range(20))
def test_random_texts_against_a_plain_count(seed):
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(30)]
    rows = [[" ".join(rng.choices(words, k=rng.randint(0, 6))) for _ in range(2)] for _ in range(40)]
    minimum, most = rng.randint(1, 6), rng.randint(1, 30)
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(list(dict.fromkeys(" ".join(row).split())))
    wanted = [word for word, count in counts.most_common() if count >= minimum][:most]
    for size in (1, 7, 40):  # however the rows are cut into chunks
        chunks = [list(zip(*rows[start : start + size], strict=True)) for start in range(0, 40, size)]
        assert own(fitted(*chunks, min_frequency=minimum, max_words=most)) == wanted


def test_more_words_than_were_made_room_for():
    texts = [" ".join(f"w{i}" for i in range(start, start + 900)) for start in range(0, 3600, 900)]
    assert own(fitted(*([[text]] for text in texts))) == [f"w{i}" for i in range(3600)]


def test_a_vocabulary_survives_its_state():
    vocabulary = Vocabulary(["é", "\u2028", "a"])
    again = Vocabulary.from_state(json.loads(json.dumps(vocabulary.state())))
    assert again.words == vocabulary.words
    assert again.lookup(["a", "é", "\u2028", "?", "<pad>"]).tolist() == [6, 4, 5, UNK, UNK]
    odd = Vocabulary(["x"], specials=["<pad>", "<none>", "<a>", "<unk>"])
    assert Vocabulary.from_state(odd.state()).words == odd.words
