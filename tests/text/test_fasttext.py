import struct

import numpy as np
import pytest

from core.errors import UserError
from text.fasttext import FastTextModel, ngram_hashes
from text.vectors import VectorWords, load_vectors, vector_dim

WORDS, BUCKETS, DIM = ["</s>", "red", "東京", "naïve"], 50, 3
ROWS = np.random.default_rng(0).normal(size=(len(WORDS) + BUCKETS, DIM)).astype("<f4")


def packed(shortest=3, longest=6, magic=793712314, quantised=False, rows=ROWS):
    """A model as fastText saves it: settings, dictionary (two words, then a label), rows."""
    settings = [DIM, 5, 1, 1, 5, 1, 2, 1, BUCKETS, shortest, longest, 100]
    head = struct.pack("<ii12id", magic, 12, *settings, 1e-4)
    dictionary = struct.pack("<iiiqq", len(WORDS) + 1, len(WORDS), 1, 99, -1)
    entries = [(word, 0) for word in WORDS] + [("__label__x", 1)]
    dictionary += b"".join(word.encode() + b"\0" + struct.pack("<qb", 7, kind) for word, kind in entries)
    return head + dictionary + struct.pack("<?qq", quantised, *rows.shape) + rows.tobytes()


def put(tmp_path, raw):
    path = tmp_path / "model.bin"
    path.write_bytes(raw)
    return path


def hashed(text):
    """FNV-1a over bytes with their sign, as a loop."""
    number = 2166136261
    for byte in text.encode():
        number = ((number ^ ((byte - 256 if byte > 127 else byte) & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
    return number


def ngrams(word, shortest, longest):
    """As a loop over characters."""
    text = f"<{word}>"
    spans = [text[at : at + n] for n in range(shortest, longest + 1) for at in range(len(text) - n + 1)]
    return [span for span in spans if not (len(span) == 1 and span in "<>")]


def test_hashes_of_ascii_are_those_of_fnv():
    # From the test vectors of its authors (Fowler, Noll, Vo).
    known = {0xE30C2799, 0x6222E842, 0xA9F37ED7, 0x3F5076EF, 0x39AAA18A, 0xBF9CF968}
    assert known <= set(ngram_hashes(["foobar"], 1, 6)[1].tolist())


@pytest.mark.parametrize(("shortest", "longest"), [(1, 3), (3, 6), (2, 2), (0, 0), (6, 9)])
def test_ngrams_are_those_of_a_loop_over_characters(shortest, longest):
    words = ["red", "東京", "x", "naïve", "", "</s>", "a😀b"]
    word_N, hash_N = ngram_hashes(words, shortest, longest)
    for place, word in enumerate(words):
        expected = [] if word == "</s>" else [hashed(span) for span in ngrams(word, max(shortest, 1), longest)]
        assert sorted(hash_N[word_N == place].tolist()) == sorted(expected), word


def test_a_vector_is_the_mean_of_the_rows_of_a_word_and_its_ngrams(tmp_path):
    path = put(tmp_path, packed())
    words = ["<pad>", "naïve", "unseen", "</s>", "東京", "x"]
    for model in (FastTextModel(path).vectors(words), load_vectors(path, "fasttext", True, words, tmp_path / "cache")):
        vectors, found = model
        for word, vector in list(zip(words, vectors, strict=True))[1:]:
            places = [WORDS.index(word)] if word in WORDS else []
            places += [] if word == "</s>" else [len(WORDS) + hashed(span) % BUCKETS for span in ngrams(word, 3, 6)]
            np.testing.assert_allclose(vector, ROWS[places].mean(0), rtol=1e-5, atol=1e-6)
    assert found.tolist() == [False, True, True, True, True, True] and not vectors[0].any()
    assert list(VectorWords(path, "fasttext", True)) == WORDS and vector_dim(path, "fasttext", True) == DIM


def test_without_ngrams_unknown_words_have_no_vector(tmp_path):
    vectors, found = FastTextModel(put(tmp_path, packed(longest=0))).vectors(["red", "unseen"])
    assert found.tolist() == [True, False]
    assert vectors.tolist() == [ROWS[1].tolist(), [0.0] * DIM]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"4 3\nred 1 2 3\n", "is no binary model of fastText"),
        (b"", "is no binary model of fastText"),
        (packed(magic=1), "its first bytes say so"),
        (packed(quantised=True), "is quantised. Take the model as it was before"),
        (packed(rows=ROWS[1:]), "53 x 3 numbers, but 54 x 3 are expected"),
        (packed()[:100], "it ends after 1 of 5 words"),
        (packed()[:-1], "is no binary model of fastText, or damaged"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, raw, sentence):
    with pytest.raises(UserError, match=f"model.bin: .*{sentence}"):
        FastTextModel(put(tmp_path, raw))


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_vectors(tmp_path / "none.bin", "fasttext", True, ["red"], None)
