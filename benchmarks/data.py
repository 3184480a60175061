"""Where benchmark data lies: a config's data paths, pointed at a folder that holds the published sets."""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.conf import JSON
from core.document import composed
from core.errors import UserError

DEFAULT = Path("../shared/data")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--data and --set, as every benchmark has them."""
    folder = Path(os.environ.get("BLOCKSMITH_DATA", DEFAULT))
    parser.add_argument("--data", type=Path, default=folder, help="folder of the data sets ($BLOCKSMITH_DATA)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides", help="as for train.py"
    )


def data_overrides(conf_path: Path, data: Path, overrides: Sequence[str] = ()) -> list[str]:
    """`--set` overrides that point the data paths of a config into `data`; files that exist stay as they are.

    overrides  what else is changed: it may name other files, or none
    """
    named = composed(conf_path, overrides)["inputs"]["data_paths"]
    wanted = {key: Path(value) for key, value in named.items() if value and not Path(value).is_file()}
    return [f"inputs.data_paths.{key}={find(data, path)}" for key, path in wanted.items()]


def encoder_overrides(conf_path: Path, model: str, overrides: Sequence[str] = ()) -> list[str]:
    """`--set` overrides that put `model` in the place of the encoder of a config, wherever it is named."""
    architecture = composed(conf_path, overrides)["architecture"]
    is_encoder = isinstance(architecture, dict) and architecture["file"].startswith("encoder/")
    places = ["architecture.params.model"] if is_encoder else list(_encoders(architecture, "architecture"))
    return [f"{place}={model}" for place in places]


def _encoders(part: JSON, path: str) -> Iterator[str]:
    """Where a part of a config names an encoder."""
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in items:
        place = f"{path}[{key}]" if isinstance(part, list) else f"{path}.{key}"
        if key in ("encoder", "model") and isinstance(value, str):
            yield place
        yield from _encoders(value, place)


def find(data: Path, wanted: Path) -> Path:
    """The file below `data` that stands for `wanted`: same name and folder, else same stem (a part of word vectors).

    UserError where there is none.
    """
    for pattern in (f"{wanted.parent.name}/{wanted.name}", f"{wanted.stem}*{wanted.suffix}"):
        for suffix in ("", ".gz"):
            if found := sorted(data.rglob(pattern + suffix)):
                return found[0]
    raise UserError(f"{data}: has no file that stands for {wanted}. Use --data or --set inputs.data_paths...=...")
