"""Arrays on disc: a folder that is there whole or not at all, checked when it is opened, memory-mapped.

manifest.jsonl  what each array is (file, dtype, shape, CRC-32), and what else its maker wants to keep; then its CRC-32
0.bin, 1.bin    the arrays
"""

import json
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from filelock import FileLock, Timeout

from core.conf import JSON
from core.errors import UserError

VERSION = 5
"""Of this layout and of what its users write into it: entries of another version are never found."""
_MANIFEST = "manifest.jsonl"
_BLOCK = 1 << 22
_DAY = 24 * 3600.0


@dataclass(frozen=True)
class Stored:
    """What a folder holds: read-only arrays by name, and a JSON value."""

    arrays: Mapping[str, np.ndarray]
    extra: JSON


def key(*parts: JSON) -> str:
    """The name of an entry that depends on all of these JSON values; the order of keys counts, as it does for words.

    What is no JSON value says by its method `key` what it depends on.
    """
    return sha256(json.dumps([VERSION, *parts], default=lambda part: part.key()).encode()).hexdigest()[:32]


def content_key(path: Path) -> str:
    """A key of what is in a file. A large file takes seconds, so one that has not changed is read only once."""
    state = path.stat()
    return _content_key(path.resolve(), state.st_mtime_ns, state.st_size)


@lru_cache
def _content_key(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def open_store(folder: Path) -> Stored | None:
    """What is in a folder; None where there is nothing, or something is damaged."""
    try:
        line, checksum = (folder / _MANIFEST).read_bytes().split(b"\n")
        if zlib.crc32(line) != int(checksum):
            return None
        manifest = json.loads(line)
        entries = manifest["arrays"].items()
        if any(_checksum(folder / entry["file"]) != entry["crc32"] for _, entry in entries):
            return None
        return Stored({name: _mapped(folder, entry, "r") for name, entry in entries}, manifest["extra"])
    except (OSError, ValueError):
        return None


@contextmanager
def locked(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Keep the other processes that lock this folder out; `on_wait` is called where one of them has it now.

    A file that stays beside the folder is what they share. UserError where the disc does not take it.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    with _disc(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            held = lock.acquire()
    with held:
        yield


class StoreWriter:
    """Writes arrays piece by piece beside `folder`; `finish` gives them their place.

    Use as a context manager: what is not finished is removed. UserError where the disc does not take it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
        self._files: dict[str, BinaryIO] = {}
        self._entries: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        with _disc(self.folder):
            self._aside.mkdir(parents=True)
            _sweep(self.folder.parent)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files.values():
            with suppress(OSError):  # what could not be written is gone anyway
                file.close()
        shutil.rmtree(self._aside, ignore_errors=True)

    def append(self, name: str, values: np.ndarray) -> None:
        """Add to an array along its first axis."""
        with _disc(self.folder):
            if name not in self._files:
                file = f"{len(self._files)}.bin"
                self._files[name] = (self._aside / file).open("wb")
                self._entries[name] = {"file": file, "dtype": values.dtype.str, "shape": [0, *values.shape[1:]]}
            entry = self._entries[name]
            assert [values.dtype.str, *values.shape[1:]] == [entry["dtype"], *entry["shape"][1:]], name
            self._files[name].write(np.ascontiguousarray(values).data)
            entry["shape"][0] += len(values)

    def writable(self, name: str) -> np.ndarray:
        """An array so far, to be changed in place."""
        with _disc(self.folder):
            self._files[name].flush()
            return _mapped(self._aside, self._entries[name], "r+")

    def finish(self, extra: JSON) -> Stored:
        """Close the arrays, note `extra`, and put the folder into its place."""
        with _disc(self.folder):
            for name, file in self._files.items():
                file.close()
                self._entries[name]["crc32"] = _checksum(self._aside / self._entries[name]["file"])
            line = json.dumps({"arrays": self._entries, "extra": extra}).encode()
            (self._aside / _MANIFEST).write_bytes(b"%s\n%d" % (line, zlib.crc32(line)))
            stored = Stored({name: _mapped(self._aside, entry, "r") for name, entry in self._entries.items()}, extra)
            shutil.rmtree(self.folder, ignore_errors=True)  # there only if damaged, or made by someone else just now
            try:
                self._aside.rename(self.folder)
            except OSError:
                if not self.folder.is_dir():  # else someone else made the same just now; what is mapped stays readable
                    raise
            return stored


@contextmanager
def _disc(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder.parent}: encoded data cannot be kept there ({error.strerror}). Set BLOCKSMITH_CACHE to another "
            "folder, or inputs.use_cache to false."
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what processes left that were killed a day ago or longer."""
    for left in folder.glob(".*.part"):
        with suppress(FileNotFoundError):  # its maker has just finished it
            if time.time() - left.stat().st_mtime < _DAY:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


def _mapped(folder: Path, entry: Mapping[str, Any], mode: Any) -> np.ndarray:
    shape = tuple(entry["shape"])
    if not shape[0]:
        return np.zeros(shape, entry["dtype"])
    return np.asarray(np.memmap(folder / entry["file"], entry["dtype"], mode, shape=shape))


def _checksum(path: Path) -> int:
    """CRC-32."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.crc32(block, value)
    return value
