"""Which tokens an answer rests on: the attention of the model, or the gradient of the answer times its input."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import UserError
from core.types import Batch, Features, Row, lookup
from engine.predictor import Predictor
from text.vocabulary import EOS, SPECIALS, START


@dataclass(frozen=True)
class Weighted:
    """The tokens of a text, each with its share in the answer: from 0 to 1 by attention, by gradient from -1 to 1.

    branch  whose text it is, or what an encoder reads together
    layer   whose attention it is, where several layers have some
    """

    branch: str
    tokens: list[str]
    weights: list[float]
    layer: str = ""


def attention_addresses(predictor: Predictor) -> dict[str, str]:
    """Where layers say how much each token of a branch counts: address -> branch."""
    found = {}
    for layer in predictor.model.steps:
        part = layer.output_spec.parts.get("attention")
        if part is not None and part.axes == "BT" and len(part.texts) == 1:
            found[f"{layer.id}.attention"] = next(iter(part.texts))
    return found


def explain(predictor: Predictor, row: Row, how: str = "auto") -> list[Weighted]:
    """The texts of a row, their tokens weighted by `attention` or `gradient`; auto = by attention where there is some.

    UserError for a row that cannot be read, and for attention that the model does not have.

    Gradient times input is that of Shrikumar et al. 2016, Not Just a Black Box, of the highest scores.
    """
    addresses = attention_addresses(predictor)
    if how == "attention" and not addresses:
        raise UserError("--explain attention: no layer of this model says how much a token counts. Take gradient.")
    rows, (error,) = predictor.encoder.encode_rows([row], predictor.problem.kept)
    if error:
        raise UserError(error)
    batch = rows.batch(np.array([0])).to(predictor.device)
    if addresses and how != "gradient":
        return list(_by_attention(predictor, row, batch, addresses))
    return list(_by_gradient(predictor, row, batch))


def _by_attention(predictor: Predictor, row: Row, batch: Batch, addresses: Mapping[str, str]) -> Iterator[Weighted]:
    model = predictor.model
    model.restrict({*model.outputs, *addresses})
    with torch.inference_mode():
        outputs = predictor.outputs(batch)
    for address, branch in addresses.items():
        weights = lookup(outputs, address).values[0].float().tolist()
        tokens = _tokens(predictor, row, branch)
        if tokens is not None and len(tokens) == len(weights):
            yield Weighted(branch, tokens, weights, address.partition(".")[0])


def _by_gradient(predictor: Predictor, row: Row, batch: Batch) -> Iterator[Weighted]:
    model = predictor.model.eval()
    looked_up: list[tuple[nn.Module, Tensor, Tensor]] = []
    vectors = {id(weight) for weight in model.vectors()}

    def note(module: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> Tensor:
        traced = found.detach().requires_grad_()
        looked_up.append((module, given[0], traced))
        return traced

    tables = [part for part in model.modules() if isinstance(part, nn.Embedding) and id(part.weight) in vectors]
    hooks = [table.register_forward_hook(note) for table in tables]
    try:
        outputs = predictor.outputs(batch)
        score = torch.stack([_best(outputs[layer]) for layer in model.outputs]).sum()
        gradients = torch.autograd.grad(score, [found for _, _, found in looked_up], allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    shares = [
        torch.zeros(found.shape[1]) if gradient is None else (gradient * found)[0].sum(-1).detach().float().cpu()
        for (_, _, found), gradient in zip(looked_up, gradients, strict=True)
    ]
    yield from _weighed(predictor, row, batch, [(module, ids) for module, ids, _ in looked_up], shares)


def _best(output: Features) -> Tensor:
    """The sum of the highest scores: of a row, or of each of its tokens."""
    values = output.parts.get("logits", output.values).float()
    return values.max(-1).values.sum() if values.dim() > 1 and values.shape[-1] > 1 else values.abs().sum()


def _weighed(
    predictor: Predictor, row: Row, batch: Batch, looked_up: list[tuple[nn.Module, Tensor]], shares: list[Tensor]
) -> Iterator[Weighted]:
    """The branches whose words were looked up, one after the other, then what encoders read."""
    model, found = predictor.model, list(zip(looked_up, shares, strict=True))
    own = {id(part) for part in model.embedding.modules()} if model.embedding is not None else set()
    words = iter([share for (module, _), share in found if id(module) in own])
    for branch in model.embedded:
        columns = [column for column in batch.inputs[branch].parts if predictor.encoder.plan.kinds[column] != "char"]
        share = torch.stack([next(words) for _ in columns]).sum(0)
        tokens = _tokens(predictor, row, branch)
        if tokens is not None and len(tokens) == len(share):
            yield Weighted(branch, tokens, _scaled(share))
    plan = predictor.encoder.plan
    read = [(ids, share) for (module, ids), share in found if id(module) not in own]
    for layer, (ids, share) in zip([step for step in model.steps if step.conf.reads_pieces], read, strict=True):
        pieces = predictor.encoder.pieces[plan.cluster(plan.branches[layer.inputs[0]][0])]
        yield Weighted(" and ".join(layer.inputs), pieces.names(ids[0].tolist()), _scaled(share))


def _scaled(share: Tensor) -> list[float]:
    """The largest is 1 or -1."""
    scaled: list[float] = (share / share.abs().max().clamp(min=1e-12)).tolist()
    return scaled


def _tokens(predictor: Predictor, row: Row, branch: str) -> list[str] | None:
    """The words of a branch as the model reads them; None where it reads pieces of words."""
    encoder = predictor.encoder
    plan = encoder.plan
    column = next((name for name in plan.branches[branch] if plan.kinds[name] == "word"), None)
    if column is None:
        return None
    tokens, _ = encoder.splitter.split([row])
    words = [tokens[column].words[at] for at in tokens[column].index.values.tolist()]
    return [SPECIALS[START], *words, SPECIALS[EOS]] if plan.add_start_end else words
