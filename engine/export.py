"""A run as a folder of the transformers library, whose logits are compared before it is there."""

import json
import shutil
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from block_zoo import PretrainedEncoder
from core.errors import UserError
from core.pretrained import TOKENIZER, TOKENIZER_CONFIG, be_quiet
from core.types import Features
from engine.predictor import Predictor
from model_zoo.graph import Layer, Model

KINDS = {
    "classification": "SEQUENCE_CLASSIFICATION",
    "multi_label": "SEQUENCE_CLASSIFICATION",
    "regression": "SEQUENCE_CLASSIFICATION",
    "sequence_tagging": "TOKEN_CLASSIFICATION",
    "mrc": "QUESTION_ANSWERING",
}
"""Problem -> the kind of model that transformers has for it."""
PROBLEM_TYPES = {
    "classification": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}
TOLERANCE = 1e-4
"""By how much logits may differ, relative to the largest."""


def refuse_if_there(folder: Path) -> None:
    """UserError where the folder to write is there already."""
    if folder.exists():
        raise UserError(f"{folder}: exists already. Name another folder.")


def export_transformers(predictor: Predictor, folder: Path) -> str:
    """Write a model of transformers with the weights of a run, and its tokenizer; the name of its class.

    UserError where the model of the run is no encoder with a head that transformers knows, or the folder exists.
    """
    refuse_if_there(folder)
    model, problem = predictor.model.cpu().eval(), predictor.problem
    layers = [layer for layer in model.steps if layer.block == PretrainedEncoder.__name__]
    if len(layers) != 1 or model.embedding is not None or problem.name not in KINDS:
        raise UserError("only one PretrainedEncoder with a head for one target can be a model of transformers.")
    encoder = next(block for block in model.blocks.values() if isinstance(block, PretrainedEncoder))
    theirs = _model_of_transformers(encoder, predictor)
    _load(theirs.base_model, encoder.encoder.state_dict())
    head = nn.ModuleList([block for block in model.blocks.values() if block is not encoder])
    linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
    _copy_head(linear, theirs)
    difference = _difference(model, encoder, layers[0].inputs, theirs.eval(), problem.name)
    if difference > TOLERANCE:
        raise UserError(
            f"{type(theirs).__name__} gives other logits (by {difference:.2g} of the largest): its head is another. "
            f"It is made of {_described(theirs)}; train with the same above the encoder ({_pooling_of(layers[0])})."
        )
    if {*head.parameters()} != {weight for module in linear for weight in module.parameters()}:
        raise UserError(
            "a model of transformers has Linear layers only above its encoder; this run learnt more (as a CRF)."
        )
    be_quiet()
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        theirs.save_pretrained(aside)
        (pieces,) = predictor.encoder.pieces.values()
        longest = {"model_max_length": encoder.longest}  # as it was trained, so that it cuts alike
        for name, content in ((TOKENIZER, pieces.tokenizer), (TOKENIZER_CONFIG, {**pieces.settings, **longest})):
            (aside / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        aside.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return type(theirs).__name__


def _model_of_transformers(encoder: PretrainedEncoder, predictor: Predictor) -> Any:
    import transformers

    settings, problem = deepcopy(encoder.encoder.config), predictor.problem
    if problem.labels is not None:
        settings.id2label = dict(enumerate(problem.labels))
        settings.label2id = {label: number for number, label in enumerate(problem.labels)}
    else:
        settings.num_labels = problem.num_targets or 2
    settings.problem_type = PROBLEM_TYPES.get(problem.name)
    known = getattr(transformers, f"MODEL_FOR_{KINDS[problem.name]}_MAPPING")
    if type(settings) not in known:
        raise UserError(f"transformers has no {settings.model_type} for this problem.")
    return known[type(settings)]._from_config(settings, dtype=torch.float32)


def _load(base: nn.Module, weights: dict[str, Tensor]) -> None:
    """The encoder's weights; a pooler may be missing on one side where nobody reads it."""
    found = base.load_state_dict(weights, strict=False)
    left = [name for name in (*found.missing_keys, *found.unexpected_keys) if not name.startswith("pooler.")]
    assert not left, left


def _copy_head(ours: Sequence[nn.Linear], theirs: Any) -> None:
    """The linear layers above the encoder, in their order; two of one number each (start, end) become one of two."""
    wanted = _head_of(theirs)
    if len(wanted) == 1 and [part.out_features for part in ours] == [1, 1]:
        weight, bias = (torch.cat([getattr(part, name) for part in ours]) for name in ("weight", "bias"))
        stacked = nn.Linear(weight.shape[1], weight.shape[0])
        stacked.load_state_dict({"weight": weight, "bias": bias})
        ours = [stacked]
    if [part.weight.shape for part in ours] != [part.weight.shape for part in wanted]:
        raise UserError(
            f"{type(theirs).__name__} has {_described(theirs)} above its encoder, this run has "
            f"{' and '.join(map(_shape, ours)) or 'none'}."
        )
    for mine, its in zip(ours, wanted, strict=True):
        its.load_state_dict(mine.state_dict())


def _head_of(theirs: Any) -> list[nn.Linear]:
    inside = set(theirs.base_model.modules())
    return [module for module in theirs.modules() if isinstance(module, nn.Linear) and module not in inside]


def _described(theirs: Any) -> str:
    pooler = "its pooler (pooling: pretrained), then " if getattr(theirs.base_model, "pooler", None) is not None else ""
    return f"{pooler}Linear {' and '.join(map(_shape, _head_of(theirs)))}"


def _pooling_of(layer: Layer) -> str:
    return f"pooling of layer '{layer.id}' is {json.dumps(layer.conf.pooling)} here"  # type: ignore[attr-defined]


def _shape(linear: nn.Linear) -> str:
    return f"{linear.in_features} to {linear.out_features}"


@torch.inference_mode()
def _difference(model: Model, encoder: PretrainedEncoder, branches: Sequence[str], theirs: Any, problem: str) -> float:
    """The largest difference between logits for random texts, as a share of the largest logit."""
    numbers = torch.Generator().manual_seed(0)
    texts, inputs = [], {}
    for branch, longest in zip(branches, (9, 13), strict=False):
        ids_BT = torch.randint(encoder.conf.settings.vocab_size, (4, longest), generator=numbers)
        mask_BT = torch.arange(longest) < torch.tensor([longest, 2, 5, longest - 1])[:, None]
        ids_BT = ids_BT.masked_fill(~mask_BT, 0)
        ends_BT = mask_BT.cumsum(1)
        words = {"words": torch.stack([ends_BT - mask_BT.long(), ends_BT], 2)} if problem == "sequence_tagging" else {}
        inputs[branch] = Features(ids_BT, mask_BT, mask_BT.sum(1), words)
        texts.append(inputs[branch])
    outputs = model(inputs)
    ours = [outputs[layer].parts.get("logits", outputs[layer].values) for layer in model.outputs]
    framed, places = encoder.framed(texts)
    segments = {"token_type_ids": framed.parts["segments"]} if encoder.has_segments else {}
    answer = theirs(input_ids=framed.values, attention_mask=framed.mask, **segments)
    text, place_BT = places[-1]
    real_BT = text.real_mask()
    rows = torch.arange(len(place_BT))[:, None]
    if problem == "mrc":
        found = [logits[rows, place_BT.clamp(min=0)] * real_BT for logits in (answer.start_logits, answer.end_logits)]
        ours = [logits.squeeze(-1) * real_BT for logits in ours]
    elif problem == "sequence_tagging":
        found = [answer.logits[rows, place_BT.clamp(min=0)] * real_BT.unsqueeze(2)]
        ours = [logits * real_BT.unsqueeze(2) for logits in ours]
    else:
        found = [answer.logits]
    largest = max(logits.abs().max().item() for logits in found)
    return max((a - b).abs().max().item() for a, b in zip(ours, found, strict=True)) / max(largest, 1e-12)
