"""Weights to start from: those of an earlier run, where names and shapes agree."""

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from block_zoo import PretrainedEncoder
from block_zoo.embedding import Embedding
from core.errors import UserError
from core.run_encoder import RunEncoder
from core.run_folder import PROBLEM, RunFolder, json_text
from engine.draft import Draft, word_init
from model_zoo.graph import Model, owner_of
from problems.base import Problem
from text.encoder import InputEncoder
from text.vocabulary import SPECIALS, UNK, Vocabulary

BASIS = "embedding.basis"
"""What makes vectors of words of the states of an encoder."""


def basis_of(path: Path, embedding: Embedding) -> Tensor | None:
    """That of the run that `path` names, so that all words have vectors of one kind; None where its encoder is another.

    UserError where it names no sound run.
    """
    run, own = RunFolder.named(path), embedding.conf.word
    found = run.read_weights()[0].get(BASIS)
    is_same = own is not None and word_init(Draft.read(run.read_config(), [])) == own.init
    return found if is_same and found is not None and found.shape == embedding.basis.shape else None


def start_from(path: Path, model: Model, encoder: InputEncoder, problem: Problem) -> list[str]:
    """Copy the weights of the run that `path` names into a model; sentences that say what was taken over and what not.

    A layer is taken whole or not at all, an output layer only where the labels are the same. Vectors of words and
    characters are taken word by word: the vocabulary is that of the new training rows. Those that an encoder gives are
    taken where the earlier run has them from it too (`basis_of`). An encoder of which other layers are kept stays as it
    is.
    UserError where it names no sound run.
    """
    run = RunFolder.named(path)
    earlier, _ = run.read_weights()
    state = run.read_problem()
    try:
        vocabularies = InputEncoder.from_state(state["inputs"]).vocabularies
        has_same_labels = state["target"] == json.loads(json_text(problem.state()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{run / PROBLEM}: damaged ({error!r}).") from error
    refused = {} if has_same_labels else dict.fromkeys(model.outputs, "other labels")
    for name, cluster in model.rows_by_hash().items():
        if cluster not in vocabularies or vocabularies[cluster].words != encoder.vocabularies[cluster].words:
            refused[owner_of(name)] = "other words"
    refused |= dict.fromkeys(_with_other_layers(run, model), "other layers")
    fresh, counted = model.state_dict(), {}
    if BASIS in fresh and not (BASIS in earlier and torch.equal(fresh[BASIS], earlier[BASIS])):
        words_of = [owner_of(name) for name, cluster in model.rows_by_id().items() if cluster == "word"]
        refused |= dict.fromkeys([owner_of(BASIS), *words_of], "other vectors")
    for name, cluster in model.rows_by_id().items():
        if name in earlier and cluster in vocabularies and earlier[name].shape[1:] == fresh[name].shape[1:]:
            words = encoder.vocabularies[cluster].words
            earlier[name], known = _by_word(fresh[name], words, earlier[name], vocabularies[cluster])
            counted[owner_of(name)] = f" ({known:,} of {len(words):,} entries)"
    taken, left = [], []
    for owner, names in ((owner, list(names)) for owner, names in groupby(fresh, owner_of)):
        complaints = (_complaint(fresh[name], earlier.get(name)) for name in names)
        if reason := refused.get(owner) or next(filter(None, complaints), ""):
            left.append(f"{owner} ({reason})")
        else:
            taken.append(owner + counted.get(owner, ""))
            model.load_state_dict({name: earlier[name] for name in names}, strict=False)
    said = {"taken over": taken, "not taken over": left}
    return [f"weights of {run.path} {what}: {', '.join(owners)}" for what, owners in said.items() if owners]


def _with_other_layers(run: RunFolder, model: Model) -> Iterator[str]:
    """The encoders that have kept other layers than those of their names in the run."""
    for name, block in model.blocks.items():
        if isinstance(block, PretrainedEncoder):
            owner = owner_of(f"blocks.{name}")
            with suppress(UserError):  # it is not there
                earlier = RunEncoder.named(str(run / owner))
                if earlier is not None and not block.has_places_of(earlier):
                    yield owner


def _by_word(fresh_VD: Tensor, words: list[str], earlier_VD: Tensor, vocabulary: Vocabulary) -> tuple[Tensor, int]:
    """Earlier rows in the order of `words`, fresh ones for words without; how many are earlier ones."""
    ids = torch.from_numpy(vocabulary.lookup(words))
    ids[: len(SPECIALS)] = torch.arange(len(SPECIALS))
    known = ids != UNK
    known[UNK] = True
    moved_VD = fresh_VD.clone()
    moved_VD[known] = earlier_VD[ids[known]].to(fresh_VD)
    return moved_VD, int(known.sum())


def _complaint(fresh: Tensor, earlier: Tensor | None) -> str:
    """Why earlier weights cannot take the place of fresh ones; "" if they can."""
    if earlier is None:
        return "not there"
    here, there = (" x ".join(map(str, tensor.shape)) for tensor in (fresh, earlier))
    return "" if here == there else f"{there} there, {here} here"
