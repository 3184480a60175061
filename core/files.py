"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import UserError, did_you_mean


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`: write there; it is renamed to `path` at the end, removed on any exception.

    A link stays a link: what it points to is replaced. What is no file (a device, a pipe) is written as it is.
    UserError where the disc does not take it.
    """
    target = path.resolve()
    if target.is_dir():
        raise UserError(f"{path}: is a folder, not a file.")
    is_special = target.exists() and not target.is_file()
    aside = target if is_special else target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        if not is_special:
            aside.replace(target)
    except OSError as error:
        own = error.filename is None or Path(error.filename) in (aside, *aside.parents)
        if own and not isinstance(error, BrokenPipeError):
            raise UserError(f"{path}: cannot be written ({error.strerror or error}).") from error
        raise
    finally:
        if not is_special and aside.exists():
            aside.unlink()


def similar_file(path: Path) -> str:
    """` Did you mean 'train.tsv'?` where a file beside it is called nearly so, even without its suffixes."""
    names = [file.name for file in path.parent.iterdir() if file.is_file()] if path.parent.is_dir() else []
    return did_you_mean(path.name, [name for name in names if did_you_mean(_stem(path.name), [_stem(name)])])


def _stem(name: str) -> str:
    return name.partition(".")[0]
