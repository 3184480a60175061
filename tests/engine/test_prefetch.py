"""Batches made by a thread, as for CUDA, with a device that is none."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from engine.prefetch import AHEAD, prefetched

CUDA: Any = SimpleNamespace(type="cuda")


class Numbered:
    """A batch that is its number."""

    def __init__(self, number):
        self.number = number

    def pinned(self):
        return self

    def to(self, _):
        return self.number


def test_all_batches_come_in_order_a_few_ahead():
    made = []

    def batches() -> Any:
        for number in range(50):
            made.append(number)
            yield Numbered(number)

    reader: Any = prefetched(batches(), CUDA)
    assert next(reader) == 0
    time.sleep(0.2)
    assert 1 < len(made) <= AHEAD + 3
    assert list(reader) == list(range(1, 50))


def test_what_fails_in_the_thread_is_raised_where_it_is_read():
    def batches() -> Any:
        yield Numbered(0)
        raise ValueError("broken")

    reader: Any = prefetched(batches(), CUDA)
    assert next(reader) == 0
    with pytest.raises(ValueError, match="broken"):
        next(reader)


def test_the_thread_ends_where_nobody_reads_on():
    before = threading.active_count()
    reader: Any = prefetched(map(Numbered, range(1000)), CUDA)  # type: ignore[arg-type]
    assert next(reader) == 0
    reader.close()
    assert threading.active_count() == before
