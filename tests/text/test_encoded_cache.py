import errno
import gc
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from core.errors import UserError
from text import encoded, store
from text.encoded import encode_file, encode_training_file
from text.encoder import InputPlan
from text.readers import RowFile
from text.token_splitter import TokenSplitter
from text.vectors import VectorWords
from text.vocabulary import UNK

PLAN = InputPlan(branches={"s": ["text", "signs"]}, kinds={"text": "word", "signs": "char"}, sources={"signs": "text"})
COLUMNS = {"text": 0, "label": 1}


class Labels:
    """A target whose ids are known only at the end: labels in alphabetical order."""

    def __init__(self, column="label", group_by=None):
        self.target_columns = [column]
        self.group_by = group_by
        self.labels = []

    def encode(self, rows, growing, tokens):
        errors, ids = [row.error for row in rows], np.zeros(len(rows), np.int64)
        for at, row in enumerate(rows):
            label = row.cells.get(self.target_columns[0], "")
            if not errors[at] and growing and label and label not in self.labels:
                self.labels.append(label)
            if not errors[at] and label not in self.labels:
                errors[at] = f"unknown label '{label}'."
            ids[at] = 0 if errors[at] else self.labels.index(label)
        return {self.target_columns[0]: ids}, errors

    def finish(self):
        order = sorted(self.labels)
        remap = np.array([order.index(label) for label in self.labels])
        self.labels = order
        return {self.target_columns[0]: remap}

    def target_specs(self):
        return {}

    def state(self):
        return {"labels": list(self.labels)}

    def restore(self, state):
        self.labels = list(state["labels"])


class OtherLabels(Labels):
    pass


def random_rows(count, seed):
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdé東", k=rng.randint(1, 4))) for _ in range(40)]
    return [(" ".join(rng.choices(words, k=rng.randint(1, 7))), rng.choice("zyx")) for _ in range(count)]


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "train.tsv", random_rows(50, 1))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def write(path, rows):
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def train(path, cache, plan=PLAN, target=None, on_bad_row="error", **options):
    return encode_training_file(RowFile(path, COLUMNS, **options), plan, target or Labels(), cache, on_bad_row)


def content(rows, encoder):
    """Everything of encoded rows in plain Python: line, words, characters of each word, label id."""
    words, signs = encoder.vocabularies["word"].words, encoder.vocabularies["char"].words
    texts, spelled = rows.columns["text"], rows.columns["signs"]
    inner = spelled.inner
    kept = []
    for at, (line, label) in enumerate(zip(rows.lines, rows.targets["label"], strict=True)):
        span = slice(texts.offsets[at], texts.offsets[at + 1])
        letters = [inner.values[inner.offsets[word] : inner.offsets[word + 1]] for word in spelled.values[span]]
        spelling = ["".join(signs[sign] for sign in word) for word in letters]
        kept.append((int(line), [words[word] for word in texts.values[span]], spelling, int(label)))
    return kept


def entries(cache):
    return {entry.name for entry in cache.iterdir()}


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
@pytest.mark.parametrize("kept", [True, False])
def test_encoded_rows_are_the_rows_of_the_file(path, cache, monkeypatch, chunk, kept):
    monkeypatch.setattr(encoded, "CHUNK", chunk)
    rows, encoder = train(path, cache if kept else None)
    wanted = [(n, t.split(), t.split(), "xyz".index(label)) for n, (t, label) in enumerate(random_rows(50, 1), start=1)]
    assert content(rows, encoder) == wanted
    assert rows.lengths.tolist() == [len(words) for _, words, _, _ in wanted]
    assert (len(rows), rows.skipped) == (50, 0)


def test_another_file_is_encoded_by_what_was_fitted(tmp_path, path, cache):
    target = Labels()
    _, encoder = train(path, cache, replace(PLAN, min_word_frequency=9), target)
    other = write(tmp_path / "valid.tsv", [("new é word", "z"), *random_rows(20, 1)])
    known = set(encoder.vocabularies["word"].words)
    rows = encode_file(RowFile(other, COLUMNS), encoder, target, cache)
    ids = rows.columns["text"].values
    wanted = [word for text, _ in [("new é word", "z"), *random_rows(20, 1)] for word in text.split()]
    assert [encoder.vocabularies["word"].words[i] for i in ids] == [w if w in known else "<unk>" for w in wanted]
    assert 0 < np.count_nonzero(ids == UNK) < len(ids)
    assert not (set("new") - set("abcdé東")) & set(encoder.vocabularies["char"].words)


def test_the_second_time_nothing_is_split(tmp_path, path, cache, monkeypatch):
    target = Labels()
    rows, encoder = train(path, cache, target=target)
    valid = encode_file(RowFile(path, COLUMNS), encoder, target, cache)

    def fail(*_):
        raise AssertionError("split again")

    monkeypatch.setattr(TokenSplitter, "split", fail)
    again = Labels()
    rows_again, encoder_again = train(path, cache, target=again)
    valid_again = encode_file(RowFile(path, COLUMNS), encoder_again, again, cache)
    assert content(rows_again, encoder_again) == content(rows, encoder)
    assert content(valid_again, encoder_again) == content(valid, encoder)
    assert json.dumps(encoder_again.state()) == json.dumps(encoder.state())
    assert again.labels == target.labels == ["x", "y", "z"]
    assert isinstance(rows_again.columns["text"].values.base, np.memmap)
    path.rename(tmp_path / "moved.tsv")
    assert len(train(tmp_path / "moved.tsv", cache)[0]) == 50  # what counts is the content


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer": "regex"}, {"preprocessing": ["lowercase"]}, {"max_lengths": {"s": 3}},
        {"fixed_lengths": {"text": 3}}, {"add_start_end": True}, {"min_word_frequency": 2}, {"max_vocabulary": 5},
        {"extra_words": ["more"]}, {"clusters": {"text": "shared", "signs": "shared"}},
        {"branches": {"s": ["text"]}, "kinds": {"text": "word"}, "sources": {}},
    ],
)  # fmt: skip
def test_another_plan_does_not_meet_the_old_entry(path, cache, change):
    train(path, cache)
    train(path, cache, replace(PLAN, **change))
    assert len(entries(cache)) == 2


def test_the_words_of_a_vector_file_are_read_once_as_long_as_it_stays_the_same(tmp_path, path, cache, monkeypatch):
    file = tmp_path / "vectors.txt"

    def extended(numbers):
        file.write_text(f"one {numbers}\nmore {numbers}\n")
        return train(path, cache, replace(PLAN, extra_words=VectorWords(file, "glove", False)))[1]

    wanted = train(path, cache, replace(PLAN, extra_words=("one", "more")))[1].vocabularies["word"].words
    assert extended("1 2").vocabularies["word"].words == wanted
    with monkeypatch.context() as patch:
        patch.setattr(VectorWords, "__iter__", None)
        assert extended("1 2").vocabularies["word"].words == wanted
        with pytest.raises(TypeError):
            extended("1 2 3")
    assert extended("1 2 3").vocabularies["word"].words == wanted
    assert len(entries(cache)) == 3


def test_a_vector_file_that_cannot_be_used_is_refused_before_rows_are_read(tmp_path, path, cache, monkeypatch):
    monkeypatch.setattr(TokenSplitter, "split", None)
    with pytest.raises(UserError, match="no such file"):
        train(path, cache, replace(PLAN, extra_words=VectorWords(tmp_path / "none.txt", "glove", False)))


def test_swapped_branches_do_not_meet_the_old_entry_because_they_number_words_in_another_order(path, cache):
    write(path, [("u v", "x")])
    words = {"text": "word", "label": "word"}
    vocabularies = []
    for columns in (["text", "label"], ["label", "text"]):
        plan = InputPlan(branches={column: [column] for column in columns}, kinds=words)
        vocabularies += [train(path, folder, plan)[1].vocabularies["word"].words for folder in (cache, None)]
    assert vocabularies[0] == vocabularies[1] != vocabularies[3] == vocabularies[2]


def test_other_rows_or_targets_do_not_meet_the_old_entry(path, cache):
    seen = 1
    train(path, cache)
    for options in (
        {"on_bad_row": "skip"}, {"has_header": True}, {"target": Labels("text")}, {"target": OtherLabels()},
        {"target": Labels(group_by="text")}, {"needed": ["text"]}, {"format": "csv", "on_bad_row": "skip"},
    ):  # fmt: skip
        try:
            train(path, cache, **options)
        except UserError:  # as CSV no row is good
            assert "csv" in options.values()
            continue
        seen += 1
        assert len(entries(cache)) == seen, options
    write(path, [*random_rows(49, 1), ("one more", "x")])
    train(path, cache)
    assert len(entries(cache)) == seen + 1


def test_another_vocabulary_or_other_labels_do_not_meet_the_old_entry(path, cache):
    target, labels = Labels(), Labels()
    _, encoder = train(path, cache, target=target)
    _, smaller = train(path, cache, replace(PLAN, max_vocabulary=5), labels)
    labels.labels = ["z", "y", "x"]
    before = entries(cache)
    for encoder_, target_ in ((encoder, target), (smaller, target), (encoder, labels)):
        rows = encode_file(RowFile(path, COLUMNS), encoder_, target_, cache)
        assert [target_.labels[label] for label in rows.targets["label"]] == [label for _, label in random_rows(50, 1)]
    assert len(entries(cache) - before) == 3


def flip(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1], lambda raw: raw + b"\0", lambda raw: b"", lambda raw: b"[]", lambda raw: b"{}",
        lambda raw: b"\xff garbage {", lambda raw: None,
        *(lambda raw, share=share: flip(raw, int(share * len(raw))) for share in (0, 0.2, 0.4, 0.6, 0.8, 0.99)),
    ],
)  # fmt: skip
def test_a_damaged_entry_is_made_again(path, cache, damage):
    rows, encoder = train(path, cache)
    wanted = content(rows, encoder)
    del rows
    (name,) = entries(cache)
    for file in sorted((cache / name).iterdir()):
        raw = file.read_bytes()
        damaged = damage(raw)
        if damaged is None:
            file.unlink()
        else:
            file.write_bytes(damaged)
        target = Labels()
        rows, encoder = train(path, cache, target=target)
        assert content(rows, encoder) == wanted, file.name
        assert target.labels == ["x", "y", "z"]
        assert file.read_bytes() == raw
    assert entries(cache) == {name}


def test_an_entry_that_is_not_finished_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), store.StoreWriter(tmp_path / "cache" / "x") as writer:
        writer.append("a", np.arange(3))
        raise RuntimeError
    assert not entries(tmp_path / "cache")
    assert store.open_store(tmp_path / "cache" / "x") is None


def test_a_store_gives_back_what_was_appended(tmp_path):
    arrays: dict[str, np.ndarray] = {
        "a": np.arange(5, dtype=np.int32),
        "b": np.ones((2, 3), np.float32),
        "none": np.zeros(0, np.int64),
    }
    with store.StoreWriter(tmp_path / "x") as writer:
        for name, values in arrays.items():
            for part in np.array_split(values, 2):
                writer.append(name, part)
        writer.writable("a")[1] = 7
        made = writer.finish({"é": [1, None]})
    opened = store.open_store(tmp_path / "x")
    assert opened is not None
    arrays["a"][1] = 7
    for stored in (made, opened):
        assert stored.extra == {"é": [1, None]}
        assert list(stored.arrays) == list(arrays)
        for name, values in arrays.items():
            np.testing.assert_array_equal(stored.arrays[name], values, strict=True)


def test_two_writers_of_one_entry_do_not_disturb_each_other(tmp_path, monkeypatch):
    def make(writer):
        writer.append("a", np.arange(4))
        return writer

    folder = tmp_path / "x"
    with store.StoreWriter(folder) as first, store.StoreWriter(folder) as second, store.StoreWriter(folder) as third:
        stored = [make(first).finish(1), make(second).finish(1)]
        monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if the second came just after it
        stored.append(make(third).finish(1))
        monkeypatch.undo()
    stored.append(store.open_store(folder))
    assert [part.arrays["a"].tolist() for part in stored] == [[0, 1, 2, 3]] * 4
    assert entries(tmp_path) == {"x"}


RACE = """
import sys, time, numpy as np
from pathlib import Path
from text import store
end = time.monotonic() + 20
base = Path(sys.argv[1])
for round in range(100):
    folder = base / "cache" / str(round)
    (base / f"{round}-{sys.argv[2]}").touch()
    while sum((base / f"{round}-{worker}").exists() for worker in range(3)) < 3 and time.monotonic() < end:
        pass  # all begin at once
    with store.StoreWriter(folder) as writer:
        writer.append("a", np.full(1000, round))
        made = writer.finish(round)
    found = store.open_store(folder) or made
    assert (made.arrays["a"] == round).all() and (found.arrays["a"] == round).all()
"""


def test_processes_that_make_the_same_entries_at_once_all_succeed(tmp_path):
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    workers = [subprocess.Popen([*command, str(n)], cwd=ROOT, stderr=subprocess.PIPE, text=True) for n in range(3)]
    assert [worker.communicate()[1] for worker in workers] == [""] * 3
    assert entries(tmp_path / "cache") == set(map(str, range(100)))


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path, path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as raised:
        train(path, tmp_path / "file" / "cache")
    assert str(raised.value) == (
        f"{tmp_path / 'file' / 'cache'}: encoded data cannot be kept there ({os.strerror(errno.ENOTDIR)}). "
        "Set BLOCKSMITH_CACHE to another folder, or inputs.use_cache to false."
    )


def test_a_disc_that_takes_no_more_is_a_sentence_and_leaves_nothing(path, cache):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot be kept there \\(File too large\\)"):
            train(path, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not entries(cache)


BAD = [("a b", "x"), ("", "x"), ("c", "y"), ("lonely",), ("d", ""), ("e", "x")]


@pytest.mark.parametrize("chunk", [1, 2, 10_000])
def test_bad_rows_are_an_error_by_default_and_can_be_skipped(tmp_path, cache, monkeypatch, chunk):
    monkeypatch.setattr(encoded, "CHUNK", chunk)
    path = write(tmp_path / "train.tsv", BAD)
    with pytest.raises(UserError) as raised:
        train(path, cache)
    assert str(raised.value).split("\n  ") == [
        f"{path}: 3 rows cannot be used",
        f"{path}:2: text is empty.",
        f"{path}:4: 1 column, but the config names 2 (text, label).",
        f"{path}:5: unknown label ''.",
        'inputs.on_bad_row "skip" leaves such rows out and counts them.',
    ]
    assert not entries(cache)
    good = [(1, ["a", "b"], ["a", "b"], 0), (3, ["c"], ["c"], 1), (6, ["e"], ["e"], 0)]
    for _ in range(2):  # made, and read again
        rows, encoder = train(path, cache, on_bad_row="skip")
        assert (content(rows, encoder), rows.skipped) == (good, 3)
        assert encoder.vocabularies["word"].words[4:] == ["a", "b", "c", "e"]


@pytest.mark.parametrize("chunk", [1, 10_000])
def test_blank_lines_at_the_end_of_a_file_are_no_rows(tmp_path, cache, monkeypatch, chunk):
    monkeypatch.setattr(encoded, "CHUNK", chunk)
    path = tmp_path / "train.tsv"
    path.write_text("a\tx\nb\ty\n\n\n")
    assert train(path, cache)[0].lines.tolist() == [1, 2]
    path.write_text("a\tx\n\nb\ty\n\n")
    with pytest.raises(UserError, match="1 row cannot be used\n.*:2: blank line"):
        train(path, cache)
    path.write_text("\n\n")
    with pytest.raises(UserError, match="has no rows"):
        train(path, cache)


def test_many_bad_rows_show_ten_and_a_file_without_good_rows_cannot_be_skipped(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(encoded, "CHUNK", 4)
    path = write(tmp_path / "train.tsv", [("", "x")] * 25)
    for on_bad_row in ("error", "skip"):
        with pytest.raises(UserError) as raised:
            train(path, cache, on_bad_row=on_bad_row)
        lines = str(raised.value).split("\n  ")
        assert lines[0] == f"{path}: 25 rows cannot be used"
        assert lines[1:] == [*(f"{path}:{n}: text is empty." for n in range(1, 11)), "... and 15 more"]


def test_a_column_that_the_file_does_not_have_is_named(path, cache):
    with pytest.raises(UserError, match="has no column 'labels'\\. Did you mean 'label'\\?"):
        train(path, cache, target=Labels("labels"))


def test_without_a_cache_nothing_stays_on_disc(tmp_path, path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    rows, _ = train(path, None)
    assert len(entries(folder)) == 1
    del rows
    gc.collect()
    assert not entries(folder)
    with pytest.raises(UserError):
        train(write(tmp_path / "bad.tsv", BAD), None)
    assert not entries(folder)


MEMORY = """
import resource, sys
from pathlib import Path
sys.path += ["tests/text", "tests"]
from test_encoded_cache import COLUMNS, PLAN, Labels, encode_training_file, RowFile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows, _ = encode_training_file(RowFile(Path(sys.argv[1]), COLUMNS), PLAN, Labels(), None)
print(len(rows), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_ten_times_the_rows_do_not_take_ten_times_the_memory(tmp_path):
    texts = random_rows(30_000, 3)
    used = {}
    for times in (1, 10):
        path = write(tmp_path / "train.tsv", [(" ".join([text] * 4), label) for text, label in texts] * times)
        printed = subprocess.check_output([sys.executable, "-c", MEMORY, str(path)], cwd=ROOT, text=True)
        count, used[times] = map(int, printed.split())
        assert count == 30_000 * times
    bytes_on_disc = 300_000 * 16 * 4 * 2  # two int32 for each token, some of them mapped while they are replaced
    assert (used[10] - used[1]) * 1024 < 1.5 * bytes_on_disc


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path):
    old, young = tmp_path / ".entry.1234abcd.part", tmp_path / ".entry.5678abcd.part"
    file = tmp_path / ".rows.jsonl.1234.part"
    for folder in (old, young):
        folder.mkdir()
    file.touch()
    for left in (old, file):
        os.utime(left, (0, 0))
    with store.StoreWriter(tmp_path / "entry") as writer:
        writer.append("a", np.zeros(3))
        writer.finish(None)
    assert not old.exists() and not file.exists() and young.exists()


def test_a_missing_group_column_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n')
    target = Labels(group_by="question")
    plan = InputPlan(branches={"sentence": ["text"]}, kinds={"text": "word"})
    with pytest.raises(UserError, match=r"rows.jsonl: has no column 'question'"):
        encode_training_file(RowFile(path, {}), plan, target, None)
