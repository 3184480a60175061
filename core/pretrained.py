"""Where pretrained encoders lie: a folder, or a name on the Hugging Face hub whose files are in its cache.

Imports transformers late, so that a config can be checked fast.
"""

import functools
import json
from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from core.conf import JSON
from core.errors import UserError

CONFIG = "config.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
WEIGHTS, WEIGHTS_INDEX = "*.safetensors", "*.safetensors.index.json"
POSITIONS_BEHIND_PADDING = (
    "roberta", "xlm-roberta", "camembert", "mpnet", "roberta-prelayernorm", "xlm-roberta-xl", "xmod", "data2vec-text",
    "longformer", "ibert", "luke",
)  # fmt: skip
"""Encoders whose first position has the number behind the id of padding."""
ANY = 1 << 30
"""As many pieces as one likes."""

_CONVERT = (
    " Its .bin is a pickle, which may hold any code, so it is not read. Of a file that you trust make safetensors: "
    "python -c \"from transformers import AutoModel as M; M.from_pretrained('{name}').save_pretrained('{name}')\""
)

KNOWN: dict[str, JSON] = {
    "sentence-transformers/all-MiniLM-L6-v2": {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    }
}
"""Settings of the encoders that shipped configs name: these check without a network."""


@functools.cache
def encoder_config(name: str) -> JSON:
    """The config.json of an encoder as transformers writes it. UserError where it cannot be had."""
    if name in KNOWN:
        return KNOWN[name]
    path = pretrained_folder(name, CONFIG) / CONFIG
    config = read_foreign_json(path)
    if isinstance(config.get("architecture"), list):
        raise UserError(f"{name}: is a run folder, no model of transformers.")
    if "model_type" not in config:
        raise UserError(f"{path}: is not the config of a transformers model, it has no model_type.")
    return config


def read_foreign_json(path: Path) -> JSON:
    """The JSON object of a file that transformers wrote. UserError where it is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}).") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: damaged, it holds no JSON object.")
    return {key: item for key, item in value.items() if not _is_endless(item)}


def _is_endless(value: JSON) -> bool:
    """Whether this is the number that stands for no limit there; no float or id is as large."""
    return isinstance(value, int) and value >= 1 << 63


def pretrained_folder(name: str, needed: str, also: Sequence[str] = ()) -> Path:
    """The folder that holds the files of a pretrained model; those that fit the patterns are fetched where need be.

    UserError where the needed ones are missing, or the hub cannot be reached or does not know the name.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not any(folder.glob(needed)):
            hint = _CONVERT.format(name=name) if needed == WEIGHTS and any(folder.glob("*.bin")) else ""
            raise UserError(f"{name}: the folder has no {needed}.{hint}")
        return folder
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UserError(f"{name}: no such folder.")
    from huggingface_hub import snapshot_download  # late: only who names a model of the hub pays

    patterns = [needed, *also]
    with suppress(Exception):  # not there yet
        folder = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
        if any(folder.glob(needed)):
            return folder
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the library tells of a missing network, name, file or licence in many ways
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise UserError(
            f"{name}: is no folder and no run here, is not in the cache of the Hugging Face hub, and cannot be fetched "
            f"({reason}). Three ways out: run `hf download {name}` where there is a network and bring its cache here "
            "(HF_HOME names it); name a local folder that holds the model, or a run that has trained one; or train one "
            'from random weights, with its settings in "config".'
        ) from error
    if not any(folder.glob(needed)):
        raise UserError(f"{name}: has no {needed} on the Hugging Face hub.")
    return folder


def transformers_config(config: JSON) -> Any:
    """The config as transformers reads it. Its checks raise all kinds of errors."""
    from transformers import AutoConfig  # late: costs seconds

    # How attention is computed is not the config's to say: it may name code on the hub for it.
    return AutoConfig.for_model(**{key: value for key, value in config.items() if "attn_implementation" not in key})


def positions(settings: Any) -> int:
    """How many pieces an encoder with these settings can take."""
    count: int = getattr(settings, "max_position_embeddings", None) or ANY
    return count - settings.pad_token_id - 1 if settings.model_type in POSITIONS_BEHIND_PADDING else count


def knows_segments(settings: Any) -> bool:
    """Whether an encoder with these settings is told which text a piece belongs to."""
    return (getattr(settings, "type_vocab_size", 0) or 0) > 1


def loaded(kind: Any, name: str, settings: Any, **more: Any) -> Any:
    """A model of this class of transformers with the weights of a folder or hub name.

    UserError where the weights are missing, damaged or do not fit the settings.
    """
    import torch

    be_quiet()
    folder = pretrained_folder(name, WEIGHTS, [WEIGHTS_INDEX, CONFIG])
    try:
        model, found = kind.from_pretrained(
            folder,
            config=deepcopy(settings),
            dtype=torch.float32,
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            **more,
        )
    except Exception as error:  # a damaged file fails in many ways inside the library
        raise UserError(f"{name}: its weights cannot be read ({first_line(error)}).") from error
    shapes = [f"{key} ({list(there)} there, {list(here)} wanted)" for key, there, here in found["mismatched_keys"]]
    for what, keys in (("lacks", found["missing_keys"]), ("has other shapes:", shapes)):
        if keys:
            rest = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise UserError(f"{name}: the checkpoint {what} {', '.join(sorted(keys)[:3])}{rest}.")
    return model


def be_quiet() -> None:
    """No progress bars and no advice of transformers from here on."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def first_line(error: Exception) -> str:
    """What a library says of an error, in one line; the next where the first one only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]).rstrip(".")
