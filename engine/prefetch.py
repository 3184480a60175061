"""Batches made ahead of time, in memory that a GPU can read while it computes."""

import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import torch

from core.types import Batch

AHEAD = 2
"""Batches that wait."""
_END = object()


def prefetched(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches on `device`; for CUDA a thread makes and pins the next ones while it computes.

    What fails in the thread is raised where the batch is asked for. Left early, the thread ends with its batch.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    waiting: Queue[Any] = Queue(AHEAD)
    stopped = threading.Event()

    def work() -> None:
        try:
            for batch in batches:
                waiting.put(batch.pinned())
                if stopped.is_set():
                    return
            waiting.put(_END)
        except BaseException as error:  # raised again by the reader
            waiting.put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item.to(device)
    finally:
        stopped.set()
        while thread.is_alive():
            if not waiting.empty():
                waiting.get_nowait()
            thread.join(0.01)
