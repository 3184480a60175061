"""The teacher store with a teacher that counts what it is asked."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.types import Features, Spec
from distillation import store as teacher_store
from distillation.base import RowTeacher
from distillation.store import answered
from text.encoded_rows import row_keys
from text.readers import RowFile

SIZES = {"": Spec("BD", {"D": 3}), "states": Spec("BTD", {"D": 2})}


class Rows:
    def __init__(self, count):
        self.keys = row_keys(np.arange(1, count + 1))
        self.lengths = np.arange(count) % 7 + 1


class Known(RowTeacher):
    """Says of row n the numbers n, n + 1/3, n + 2/3, and of its tokens n, -n."""

    def __init__(self, version="a", scale=1.0):
        self.specs, self.version, self.scale, self.asked = SIZES, version, scale, []

    def key(self):
        return self.version

    def read(self, file, cache_dir, is_training=False):
        return Rows(sum(1 for _ in file))

    def answer(self, rows, places, addresses):
        self.asked += places.tolist()
        row_B = torch.from_numpy(places).float() * self.scale
        mask_BT = torch.arange(7) < torch.from_numpy(rows.lengths[places])[:, None]
        found = {"": Features(row_B[:, None] + torch.arange(3) / 3)}
        found["states"] = Features(torch.stack([row_B, -row_B], 1)[:, None].expand(-1, 7, -1), mask_BT)
        return {address: found[address] for address in addresses}


class Alone:
    number, count = 0, 1

    def wait(self):
        pass

    def agreed(self, said):
        return said


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"{number}\n" for number in range(50)))
    return RowFile(path, {"text": 0})


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(teacher_store, "SHARD", 16)


def ask(teacher, file, folder, said=None, addresses=("", "states"), crew=Alone):
    return answered("big", teacher, file, addresses, folder, crew(), (said if said is not None else []).append)


def test_every_row_is_answered_once_and_found_again(tmp_path, file):
    teacher = Known()
    first = ask(teacher, file, tmp_path / "cache")
    assert sorted(teacher.asked) == list(range(50))
    again = ask(teacher, file, tmp_path / "cache")
    assert len(teacher.asked) == 50
    assert (first.seconds > 0, again.seconds) == (True, 0.0)
    for kept in (first, again):
        expected = np.arange(50)[:, None] + np.arange(3) / 3
        assert kept.tables[""].values.dtype == np.float16
        assert np.allclose(kept.tables[""].values, expected, atol=0.02)
        assert kept.error == pytest.approx(np.abs(expected.astype(np.float16) - expected).max(), rel=1e-3)
        tokens = kept.tables["states"]
        assert np.diff(tokens.offsets).tolist() == (np.arange(50) % 7 + 1).tolist()
        assert tokens.values[tokens.offsets[30]].tolist() == [30, -30]


def test_without_a_cache_the_answers_are_the_same(tmp_path, file):
    kept, held = ask(Known(), file, tmp_path / "cache"), ask(Known(), file, None)
    for address in SIZES:
        assert np.array_equal(kept.tables[address].values, held.tables[address].values)


@pytest.mark.parametrize("change", ["teacher", "rows", "addresses"])
def test_what_was_made_for_another_teacher_file_or_address_is_not_taken(tmp_path, file, change):
    ask(Known(), file, tmp_path / "cache", addresses=[""])
    teacher, addresses = Known("b" if change == "teacher" else "a"), [""]
    if change == "rows":
        file.path.write_text("another\n" * 50)
    if change == "addresses":
        addresses = ["", "states"]
    ask(teacher, file, tmp_path / "cache", addresses=addresses)
    assert len(teacher.asked) == 50


class Killed(BaseException):
    """As a kill."""


def test_after_a_kill_the_shards_that_are_there_are_not_made_again(tmp_path, file, monkeypatch):
    dying, answer = Known(), Known.answer

    def until_row_40(self, rows, places, addresses):
        if 40 in places:
            raise Killed
        return answer(self, rows, places, addresses)

    monkeypatch.setattr(Known, "answer", until_row_40)
    with pytest.raises(Killed):
        ask(dying, file, tmp_path / "cache")
    monkeypatch.setattr(Known, "answer", answer)
    fresh = Known()
    said: list[str] = []
    kept = ask(fresh, file, tmp_path / "cache", said)
    assert 0 < len(fresh.asked) < 50
    assert set(fresh.asked).isdisjoint(dying.asked)
    assert np.array_equal(kept.tables[""].values, ask(Known(), file, None).tables[""].values)
    assert not said
    assert not list((tmp_path / "cache").glob("*.shards"))


def test_a_damaged_store_is_noticed_and_made_again(tmp_path, file):
    ask(Known(), file, tmp_path / "cache")
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    damaged = bytearray((folder / "0.bin").read_bytes())
    damaged[5] ^= 1
    (folder / "0.bin").write_bytes(damaged)
    fresh = Known()
    said: list[str] = []
    kept = ask(fresh, file, tmp_path / "cache", said)
    assert len(fresh.asked) == 50
    assert said == ["teacher 'big': parts of the store are damaged and made again: 1"]
    assert np.array_equal(kept.tables[""].values, ask(Known(), file, None).tables[""].values)


def test_a_damaged_shard_is_noticed_and_made_again(tmp_path, file, monkeypatch):
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # shards stay
    ask(Known(), file, tmp_path / "cache")
    monkeypatch.undo()
    monkeypatch.setattr(teacher_store, "SHARD", 16)
    (beside,) = (tmp_path / "cache").glob("*.shards")
    whole = beside.with_suffix("")
    for left in whole.iterdir():
        left.unlink()
    (beside / "1" / "0.bin").write_bytes(b"nothing")
    fresh = Known()
    said: list[str] = []
    ask(fresh, file, tmp_path / "cache", said)
    assert sorted(fresh.asked) == list(range(13, 26))  # 50 rows in four shards: 13, 13, 12, 12
    assert "damaged" in said[0]


def test_a_second_training_waits_for_what_the_first_makes(tmp_path, file, monkeypatch):
    first, second, answer, waits = Known(), Known(), Known.answer, threading.Event()
    said: list[str] = []
    kept: list[Any] = []

    def on_say(text):
        said.append(text)
        waits.set()

    def ask_too():
        kept.append(answered("big", second, file, ("", "states"), tmp_path / "cache", Alone(), on_say))

    other = threading.Thread(target=ask_too)

    def slow(self, rows, places, addresses):
        if not other.ident:
            other.start()
            assert waits.wait(10)
        return answer(self, rows, places, addresses)

    monkeypatch.setattr(Known, "answer", slow)
    own = ask(first, file, tmp_path / "cache")
    other.join()
    assert said == ["teacher 'big': another training fills this part of the store; waiting for it"]
    assert sorted(first.asked) == list(range(50)) and not second.asked
    assert np.array_equal(kept[0].tables[""].values, own.tables[""].values)
    assert kept[0].seconds == 0


def test_two_processes_share_the_work(tmp_path, file):
    barrier, teachers = threading.Barrier(2), [Known(), Known()]
    kept: dict[int, Any] = {}

    def work(number):
        class One(Alone):
            count = 2

            def wait(self):
                barrier.wait()

        One.number = number
        kept[number] = ask(teachers[number], file, tmp_path / "cache", crew=One)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(teachers[0].asked + teachers[1].asked) == list(range(50))
    assert teachers[0].asked and teachers[1].asked
    assert np.array_equal(kept[0].tables[""].values, kept[1].tables[""].values)


def test_numbers_too_large_for_half_precision_stay_in_single(tmp_path, file):
    kept = ask(Known(scale=5000.0), file, tmp_path / "cache", addresses=[""])
    assert kept.tables[""].values.dtype == np.float32
    assert kept.tables[""].values[49, 0] == 245000


def test_an_answer_that_is_no_number_is_refused(tmp_path, file):
    with pytest.raises(UserError, match="teacher 'big' gives numbers that are not finite"):
        ask(Known(scale=float("nan")), file, tmp_path / "cache")
