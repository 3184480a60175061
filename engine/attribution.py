"""How much each token counts in an answer: by the attention of the model, or by the gradient times the input."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import UserError
from core.types import Batch, Features, Row, lookup
from engine.predictor import Predictor
from text.vocabulary import EOS, SPECIALS, START


@dataclass(frozen=True)
class Attribution:
    """The tokens of a text, each with its share in the answer: from 0 to 1 by attention, by gradient from -1 to 1.

    branch  whose text it is, or what an encoder reads together; of a text that is read in windows, the first of them
    layer   whose attention it is
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
    return {address: branch for address, branch in found.items() if branch in predictor.encoder.plan.branches}


def method_of(predictor: Predictor, asked: str) -> str:
    """`attention` or `gradient`; auto = attention where the model has some. UserError for one that it does not have."""
    has_attention = bool(attention_addresses(predictor))
    if asked == "attention" and not has_attention:
        raise UserError("--explain attention: no layer of this model says how much a token counts. Take gradient.")
    return asked if asked != "auto" else "attention" if has_attention else "gradient"


def attributions(predictor: Predictor, row: Row, method: str = "auto") -> list[Attribution]:
    """The texts of a row, their tokens weighted by a method. UserError for a row that cannot be read, and as above.

    Gradient times input is that of Shrikumar et al. 2016, Not Just a Black Box, of the highest scores.
    """
    weigh = {"attention": _by_attention, "gradient": _by_gradient}[method_of(predictor, method)]
    rows, (error,) = predictor.encoder.encode_rows([row], predictor.problem.kept)
    if error:
        raise UserError(error)
    batch = rows.batch(np.array([0])).to(predictor.device)
    return [
        Attribution(text.branch, text.tokens[: len(text.weights)], text.weights[: len(text.tokens)], text.layer)
        for text in weigh(predictor, row, batch)
    ]


def _by_attention(predictor: Predictor, row: Row, batch: Batch) -> Iterator[Attribution]:
    model, addresses = predictor.model, attention_addresses(predictor)
    model.restrict({*model.outputs, *addresses})
    with torch.inference_mode():
        outputs = predictor.outputs(batch)
    for address, branch in addresses.items():
        weights = lookup(outputs, address).values[0].float().tolist()
        yield Attribution(branch, _tokens(predictor, row, batch, branch), weights, address.partition(".")[0])


def _by_gradient(predictor: Predictor, row: Row, batch: Batch) -> Iterator[Attribution]:
    """Of the branches whose words are looked up, one after the other, then of what encoders read."""
    model, plan = predictor.model, predictor.encoder.plan
    of_words, of_pieces = _gradients_times_inputs(predictor, batch)
    for branch in model.embedded:
        columns = [column for column in batch.inputs[branch].parts if plan.kinds[column] != "char"]
        share = torch.stack([next(of_words)[1] for _ in columns]).sum(0)
        yield Attribution(branch, _tokens(predictor, row, batch, branch), _scaled(share))
    encoders = [layer for layer in model.steps if layer.conf.reads_pieces]
    for layer, (ids, share) in zip(encoders, of_pieces, strict=True):
        pieces = predictor.encoder.pieces[plan.cluster(plan.branches[layer.inputs[0]][0])]
        yield Attribution(" and ".join(layer.inputs), pieces.names(ids.tolist()), _scaled(share))


def _gradients_times_inputs(
    predictor: Predictor, batch: Batch
) -> tuple[Iterator[tuple[Tensor, Tensor]], Iterator[tuple[Tensor, Tensor]]]:
    """For each look-up of a text's vectors, in their order, the ids and their shares: in the Embedding, in encoders."""
    model = predictor.model.eval()
    looked_up: list[tuple[nn.Module, Tensor, Tensor]] = []
    vectors = {id(weight) for weight in model.vectors()}

    def note(module: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> Tensor:
        traced = found.detach().requires_grad_()
        looked_up.append((module, given[0][0], traced))
        return traced

    tables = [part for part in model.modules() if isinstance(part, nn.Embedding) and id(part.weight) in vectors]
    hooks = [table.register_forward_hook(note) for table in tables]
    try:
        with torch.backends.cudnn.flags(enabled=False):  # its LSTM has no gradient outside of training
            outputs = predictor.outputs(batch)
            score = torch.stack([_best(outputs[layer]) for layer in model.outputs]).sum()
            gradients = torch.autograd.grad(score, [found for _, _, found in looked_up], materialize_grads=True)
    finally:
        for hook in hooks:
            hook.remove()
    own = {id(part) for part in model.embedding.modules()} if model.embedding is not None else set()
    shares = [
        (id(module) in own, (ids, (gradient * found)[0].sum(-1).detach().float().cpu()))
        for (module, ids, found), gradient in zip(looked_up, gradients, strict=True)
    ]
    return iter([share for is_own, share in shares if is_own]), iter([share for is_own, share in shares if not is_own])


def _best(output: Features) -> Tensor:
    """The sum of the highest scores: of a row, or of each of its tokens."""
    values = output.parts.get("logits", output.values).float()
    return values.max(-1).values.sum() if values.dim() > 1 and values.shape[-1] > 1 else values.abs().sum()


def _scaled(share: Tensor) -> list[float]:
    """The largest is 1 or -1."""
    scaled: list[float] = (share / share.abs().max().clamp(min=1e-12)).tolist()
    return scaled


def _tokens(predictor: Predictor, row: Row, batch: Batch, branch: str) -> list[str]:
    """The words of a branch as the model reads them, or the pieces, where no words are told apart."""
    encoder = predictor.encoder
    plan = encoder.plan
    column = plan.words_of[plan.branches[branch][0]]
    if plan.kinds[column] == "piece" and column not in plan.aligned:
        return encoder.pieces[plan.cluster(column)].names(batch.inputs[branch].values[0].tolist())
    tokens, _ = encoder.splitter.split([row])
    words = [tokens[column].words[at] for at in tokens[column].index.values.tolist()]
    if plan.add_start_end:
        words = [SPECIALS[START], *words, SPECIALS[EOS]]
    return [SPECIALS[START], *words] if branch in plan.begun else words
