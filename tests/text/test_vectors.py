import gzip
import random
import struct

import numpy as np
import pytest

from core.errors import UserError
from text import vectors
from text.vectors import VectorWords, load_vectors, vector_dim

TABLE = {"the": [1.0, -2.5, 0.125], "Cat": [0.5, 0.0, 3e-5], "é東": [-1.0, 2.0, 4.0], "run": [7.0, 8.0, 9.0]}


def text_of(table, header=False, end="\n"):
    lines = [" ".join([word, *map(repr, numbers)]) for word, numbers in table.items()]
    return "".join(line + end for line in [f"{len(table)} {len(next(iter(table.values())))}"] * header + lines).encode()


def binary_of(table, end=b"\n"):
    packed = (
        word.encode() + b" " + struct.pack(f"<{len(numbers)}f", *numbers) + end for word, numbers in table.items()
    )
    return f"{len(table)} {len(next(iter(table.values())))}\n".encode() + b"".join(packed)


def put(tmp_path, raw, name="x.vec"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


KINDS = {
    "glove": ("glove", False, text_of(TABLE)),
    "glove with CRLF": ("glove", False, text_of(TABLE, end="\r\n")),
    "word2vec text": ("word2vec", False, text_of(TABLE, header=True)),
    "word2vec binary": ("word2vec", True, binary_of(TABLE)),
    "word2vec binary without line feeds": ("word2vec", True, binary_of(TABLE, end=b"")),
    "fasttext": ("fasttext", False, text_of(TABLE, header=True, end=" \n")),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("block", [5, 1 << 22])
def test_every_format_gives_the_vectors_of_wanted_words(tmp_path, monkeypatch, kind, suffix, block):
    name, binary, raw = kind
    if binary:
        monkeypatch.setattr(vectors, "_BLOCK", block)
    path = put(tmp_path, raw, f"x.vec{suffix}")
    words = ["<pad>", "run", "missing", "é東", "Cat"]
    numbers, found = load_vectors(path, name, binary, words, None)
    assert found.tolist() == [False, True, False, True, True]
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, np.array([TABLE.get(word, [0.0] * 3) for word in words], np.float32))
    assert list(VectorWords(path, name, binary)) == list(TABLE)
    assert vector_dim(path, name, binary) == 3


def test_a_cased_word_falls_back_to_its_lower_case_form(tmp_path, kind):
    name, binary, _ = kind
    make = binary_of if binary else lambda table: text_of(table, header=name != "glove")
    for table in ({"us": [1.0, 1.0], "US": [2.0, 2.0]}, {"US": [2.0, 2.0], "us": [1.0, 1.0]}):
        numbers, found = load_vectors(put(tmp_path, make(table)), name, binary, ["US", "Us", "us", "uS2"], None)
        assert numbers.tolist() == [[2.0, 2.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
        assert found.tolist() == [True, True, True, False]
    numbers, found = load_vectors(put(tmp_path, make({"US": [2.0, 2.0]})), name, binary, ["us", "Us"], None)
    assert not found.any() and not numbers.any()  # only downwards


def test_of_a_word_that_stands_twice_the_first_counts(tmp_path):
    path = put(tmp_path, b"a 1 2\na 3 4\nb 5 6\nb 7 8\n")
    assert load_vectors(path, "glove", False, ["a", "B"], None)[0].tolist() == [[1, 2], [5, 6]]


def test_a_word_may_have_spaces_and_the_numbers_any_spelling(tmp_path):
    path = put(tmp_path, b"a 1e-2 -.5 +3\n. . . 1 2 3\nat name@domain.com 4 5 6\n\xc2\xa0 7 8 9\nb\xff 1 1 1\n")
    words = ["a", ". . .", "at name@domain.com", "\u00a0"]
    numbers, found = load_vectors(path, "glove", False, words, None)
    assert found.all()
    np.testing.assert_array_equal(numbers, np.array([[1e-2, -0.5, 3], [1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32))
    assert list(VectorWords(path, "glove", False)) == words  # no text can have the word that is not UTF-8


def test_only_the_numbers_of_wanted_words_are_read(tmp_path):
    path = put(tmp_path, b"a 1 2\nb no numbers\nc 3 4\n")
    assert load_vectors(path, "glove", False, ["a", "c"], None)[0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("binary", [False, True])
def test_random_tables_come_back(tmp_path, binary):
    rng = np.random.default_rng(4)
    numbers = rng.normal(size=(300, 17)).astype(np.float32)
    table = {f"w{i}": row.tolist() for i, row in enumerate(numbers)}
    path = put(tmp_path, binary_of(table) if binary else text_of(table, header=True))
    words = [f"w{i}" for i in random.Random(1).sample(range(400), 100)]
    got, found = load_vectors(path, "word2vec", binary, words, None)
    for word, row, known in zip(words, got, found, strict=True):
        number = int(word[1:])
        assert known == (number < 300)
        np.testing.assert_array_equal(row, numbers[number] if known else np.zeros(17, np.float32))


def test_the_second_time_the_file_is_not_read(tmp_path, monkeypatch):
    path, cache, words = put(tmp_path, text_of(TABLE)), tmp_path / "cache", ["run", "new"]
    plain = load_vectors(path, "glove", False, words, None)
    first = load_vectors(path, "glove", False, words, cache)
    with monkeypatch.context() as patch:
        patch.setattr(vectors, "_load", None)
        second = load_vectors(path, "glove", False, words, cache)
        for other in (["new", "run"], ["run"]):
            with pytest.raises(TypeError):  # other words: not the same entry
                load_vectors(path, "glove", False, other, cache)
    for got in (first, second):
        np.testing.assert_array_equal(got[0], plain[0], strict=True)
        np.testing.assert_array_equal(got[1], plain[1], strict=True)
    assert isinstance(second[0].base, np.memmap)
    put(tmp_path, text_of({**TABLE, "run": [0.0, 0.0, 1.0]}))
    assert load_vectors(path, "glove", False, words, cache)[0].tolist() == [[0, 0, 1], [0, 0, 0]]
    for entry in cache.iterdir():
        (entry / "0.bin").write_bytes(b"damaged")
    assert load_vectors(path, "glove", False, words, cache)[0].tolist() == [[0, 0, 1], [0, 0, 0]]


WANTED = ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "binary", "raw", "message"),
    [
        ("glove", False, b"", ": is empty, or begins with an empty line."),
        ("glove", False, b"\na 1 2\n", ": is empty, or begins with an empty line."),
        ("word2vec", False, b"2 3\n", ":2: a word and its numbers are expected, separated by spaces."),
        ("glove", False, b"word\nb 1\n", ":1: a word and its numbers are expected, separated by spaces."),
        ("glove", False, b"a\t1\t2\nb\t3\t4\n", ":1: a word and its numbers are expected, separated by spaces."),
        ("glove", False, b"a 1 2\nb 1\n", ":2: 1 numbers, but line 1 has 2."),
        ("glove", False, b"a 1 2\nb 1 2 3\n", ":2: 3 numbers, but line 1 has 2."),
        ("word2vec", False, b"2 2\na 1 2\nb 1 2 3\n", ":3: 3 numbers, but line 2 has 2."),
        ("fasttext", False, b"2 3\na 1 2\nb 1 2\n", ":2: 2 numbers, but 3 are expected."),
        ("glove", False, b"a 1 2\nb 1 \n", ":2: 1 numbers, but 2 are expected."),
        ("glove", False, b"a 1 2\nb x 2\n", ":2: not all numbers (could not convert string to float: b'x')."),
        ("glove", False, b"a 1 2\nb nan 2\n", ":2: not all numbers are finite."),
        ("glove", False, b"a 1 2\nb 1e99 2\n", ":2: not all numbers are finite."),
        ("glove", True, b"a 1 2\n", ": glove has no binary format. Set inputs.pretrained_emb_binary_or_text to text."),
        ("word2vec", True, text_of(TABLE), ":1: a word2vec binary begins with two numbers, words and features. Is it a text?"),
        ("word2vec", True, text_of({"a": [0.25] * 9, "b": [0.5] * 9}, header=True), ": is a text. Set inputs.pretrained_emb_binary_or_text to text."),
        ("word2vec", False, binary_of(TABLE), ": is binary. Set inputs.pretrained_emb_binary_or_text to binary."),
        ("word2vec", True, binary_of(TABLE)[:-9], ": ends after 3 of 4 words. It is damaged, or a text."),
        ("word2vec", True, binary_of({"a": [np.inf], "b": [1.0]}), ":1: not all numbers are finite."),
        *(
            ("word2vec", binary, b"5 %d\na 1 2\n" % dim, f":1: vectors of {dim:,} numbers do not fit in memory. Is the file damaged")
            for binary in (True, False) for dim in (10**14, 10**30)
        ),
        ("word2vec", True, b"5 " + b"9" * 5000 + b"\nabc", ":1: a word2vec binary begins with two numbers"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, kind, binary, raw, message):
    path = put(tmp_path, raw)
    with pytest.raises(UserError) as raised:
        load_vectors(path, kind, binary, WANTED, None)
    assert str(raised.value).startswith(f"{path}{message}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("cached", [True, False])
def test_a_missing_file_names_a_close_one_and_gzip_may_be_broken(tmp_path, cached):
    cache = tmp_path / "cache" if cached else None
    put(tmp_path, b"a 1\n", "glove.txt")
    with pytest.raises(UserError, match=r"glvoe\.txt: no such file\. Did you mean 'glove\.txt'\?$"):
        load_vectors(tmp_path / "glvoe.txt", "glove", False, WANTED, cache)
    with pytest.raises(UserError, match="is a folder"):
        load_vectors(tmp_path, "glove", False, WANTED, cache)
    (tmp_path / "x.gz").write_bytes(gzip.compress(text_of(TABLE))[:-10])
    with pytest.raises(UserError, match=r"x\.gz: broken gzip"):
        load_vectors(tmp_path / "x.gz", "glove", False, WANTED, cache)
