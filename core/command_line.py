"""What the doors share: arguments, and how a command ends."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import UserError

SHORTHANDS = {
    "model_save_dir": "outputs.save_base_dir",
    "cache_dir": "outputs.cache_dir",
    "learning_rate": "training_params.optimizer.params.lr",
    "pretrained_emb_path": "inputs.data_paths.pre_trained_emb",
    "pretrained_emb_type": "inputs.pretrained_emb_type",
    "pretrained_emb_binary_or_text": "inputs.pretrained_emb_binary_or_text",
    **{
        name: f"inputs.data_paths.{name}"
        for name in (
            "train_data_path", "valid_data_path", "test_data_path", "predict_data_path", "pretrained_model_path",
        )
    },
}  # fmt: skip
"""Option of NeuronBlocks -> the value of the config that it overrides."""


class _Shorthand(argparse.Action):
    """An option that overrides the value at `const`, as --set does."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        namespace.overrides = [*namespace.overrides, f"{self.const}={json.dumps(values)}"]


def set_argument(parser: argparse.ArgumentParser, meaning: str) -> None:
    """--set, any number of times, and its shorthands."""
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides", help=meaning)
    group = parser.add_argument_group("shorthands, as in NeuronBlocks")
    for name, path in SHORTHANDS.items():
        kind: Any = float if name == "learning_rate" else str
        group.add_argument(
            f"--{name}", action=_Shorthand, const=path, type=kind, default=argparse.SUPPRESS, dest="overrides",
            metavar="VALUE", help=f"--set {path}=VALUE",
        )  # fmt: skip


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run to load, and how it computes."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", type=Path, help="the run folder")
    which.add_argument("--conf_path", type=Path, help="or the config that it was trained with")
    set_argument(parser, "override a value of the run's config, as for train.py")
    plugins = "modules that the run may import; with --conf_path also those that this config names"
    parser.add_argument("--plugins", nargs="+", default=[], metavar="MODULE", help=plugins)
    parser.add_argument("--batch_size", type=positive_int, help="rows per batch; changes the speed only")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="where to compute")


def positive_int(text: str) -> int:
    """A number of a command line that must be at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got '{text}'.")
    return int(text)


def run_door(main: Callable[[], None]) -> int:
    """Run a command; its exit code: 0, 2 for a user's mistake (one message, no stack trace), 130 for Ctrl-C."""
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        return _refused(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _refused(f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}.")
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _refused("There is not enough memory for this. Make batch_size, the layers or the vocabulary smaller.")
    return 0


def _refused(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 2


def _is_out_of_memory(error: Exception) -> bool:
    """MemoryError of Python and numpy; torch has words instead of a class for host memory."""
    words = ("out of memory", "can't allocate memory", "not enough memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)
