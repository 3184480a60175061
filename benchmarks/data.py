"""Where benchmark data lies: a config's data paths, pointed at a folder that holds the published sets."""

import argparse
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from core.conf import JSON
from core.document import composed, read_document
from core.errors import UserError

DEFAULT = Path("dataset")


class AbsentFilesError(UserError):
    """Files that are not where data lies."""

    def __init__(self, data: Path, files: Iterable[Path]) -> None:
        self.files = list(dict.fromkeys(files))
        names = ", ".join(f"{file.parent.name}/{file.name}" for file in self.files)
        command = f"python dataset/download.py glue wikiqa glove.6B{'' if data == DEFAULT else f' --to {data}'}"
        fetched = f"`{command}` fetches these sets; others lie as configs name them"
        super().__init__(f"--data {data}: {f'has no {names}. {fetched}' if data.is_dir() else 'no such folder'}.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--data and --set, as every benchmark has them."""
    folder = Path(os.environ.get("BLOCKSMITH_DATA", DEFAULT))
    parser.add_argument("--data", type=Path, default=folder, help="folder of the data sets ($BLOCKSMITH_DATA)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides", help="as for train.py"
    )


@cache
def config(path: Path, overrides: Sequence[str] = ()) -> dict[str, JSON]:
    """The config before its architecture file is filled in, read once: not to be changed. Overrides are a tuple."""
    return composed(path, overrides)


@cache
def whole_config(path: Path, overrides: Sequence[str] = ()) -> dict[str, JSON]:
    """The config with all its layers, read once: not to be changed. Overrides are a tuple."""
    return read_document(path, overrides)


def data_overrides(conf_path: Path, data: Path, overrides: Sequence[str] = ()) -> list[str]:
    """`--set` overrides that point the data paths of a config to their files, see `look_for`.

    overrides  what else is changed: it may name other files, or none
    UserError where a file is missing.
    """
    named = config(conf_path, tuple(overrides))["inputs"]["data_paths"]
    given = [change.split("=", 1)[0] for change in overrides]
    found, absent = [], []
    for key, value in named.items():
        place = f"inputs.data_paths.{key}"
        if value and place not in given:
            path = look_for(data, Path(value), is_part=key == "pre_trained_emb")
            if path is None:
                absent.append(Path(value))
            found.append(f"{place}={path}")
    if absent:
        raise AbsentFilesError(data, absent)
    return found


def encoder_overrides(conf_path: Path, model: str, overrides: Sequence[str] = ()) -> list[str]:
    """`--set` overrides that put `model` in the place of the encoder of a config, wherever it is named."""
    architecture = config(conf_path, tuple(overrides))["architecture"]
    is_file = isinstance(architecture, dict) and architecture["file"].startswith("encoder/")
    places = ["architecture.params.model"] if is_file else _encoders(architecture)
    return [f"{place}={model}" for place in places]


def _encoders(architecture: JSON) -> list[str]:
    """Where it names an encoder."""
    return [place for place, _ in named_texts(architecture, "architecture") if is_encoder(place)]


def is_encoder(place: str) -> bool:
    """Whether this is where a layer names its encoder."""
    return place.endswith((".encoder", ".model"))


def named_texts(part: JSON, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a part of a config with its place, as `--set` names it."""
    if isinstance(part, str):
        yield path, part
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in items:
        place = f"{path}[{key}]" if isinstance(part, list) else f"{path}.{key}".removeprefix(".")
        yield from named_texts(value, place)


def find(data: Path, wanted: Path) -> Path:
    """The file that `look_for` finds. UserError where there is none."""
    if found := look_for(data, wanted):
        return found
    raise AbsentFilesError(data, [wanted])


def look_for(data: Path, wanted: Path, is_part: bool = False) -> Path | None:
    """The file below `data` with the name and folder of `wanted`, if there is one: that in `data` itself, or else the
    only one; `wanted` itself where `data` has no such folder, so that the files of a set are of one place. UserError
    for more than one.

    is_part  whether another file whose name begins like that stands for it, too: a part of word vectors
    """
    beginning = f"{wanted.stem}*{wanted.suffix}"
    for pattern in (f"{wanted.parent.name}/{wanted.name}", *([beginning] if is_part else [])):
        for suffix in ("", ".gz"):
            if (direct := data / f"{pattern}{suffix}").is_file():
                return direct
            below = f"{glob.escape(str(data))}/**/{pattern}{suffix}"
            found = sorted(glob.glob(below, recursive=True))  # noqa: PTH207 Path.glob follows no links
            if len(found) > 1 and not is_part:
                raise UserError(f"--data {data}: has more than one {pattern}: {', '.join(found)}.")
            if found:
                return Path(found[0])
    elsewhere = not _has_folder(data, wanted.parent.name) and wanted.is_file()
    return wanted if elsewhere else None


@cache
def _has_folder(data: Path, name: str) -> bool:
    pattern = f"{glob.escape(str(data))}/**/{glob.escape(name)}/"
    return bool(glob.glob(pattern, recursive=True))  # noqa: PTH207 Path.glob follows no links
