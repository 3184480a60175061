"""Vectors of words from a pretrained encoder: what its states are, where they are kept, how an Embedding gets them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from block_zoo import PretrainedEncoder
from block_zoo.embedding import Embedding, EncoderInit
from block_zoo.masking import masked_mean
from core.errors import UserError
from core.run_encoder import settings_of, weight_files
from core.types import Features, Spec
from text import store
from text.encoder import InputEncoder
from text.padding import pad
from text.pieces import Pieces

BATCH = 256
FREQUENT = 1e-3
"""Share of the running words at which frequency weighting halves a vector (Arora et al. 2017, equation 3)."""


class EncoderVectors:
    """What words are to an encoder: the mean over their pieces of its last states, or of its table."""

    def __init__(self, conf: EncoderInit, cache: Path | None) -> None:
        """cache  where the states of vocabularies are kept; None = nowhere. UserError where there is no encoder."""
        self.conf = conf
        self.cache = cache
        self.pieces = Pieces.load(conf.encoder)
        self.weights = weight_files(conf.encoder)
        self.block: PretrainedEncoder | None = None

    def states(self, words: Sequence[str]) -> Tensor:
        """float32 of N x H."""
        if self.cache is None:
            return self._computed(words)
        weights = [store.content_key(path) for path in self.weights]
        settings = settings_of(self.conf.encoder)
        name = store.key("states of words", self.conf.source, self.pieces.key, settings, weights, list(words))
        found = store.open_store(self.cache / name)
        if found is not None:
            return torch.tensor(found.arrays["states"])
        states_NH = self._computed(words)
        with store.StoreWriter(self.cache / name) as writer:
            writer.append("states", states_NH.numpy())
            writer.finish({})
        return states_NH

    @torch.inference_mode()
    def _computed(self, words: Sequence[str]) -> Tensor:
        """Words of like length together."""
        if self.block is None:
            spec = Spec("BT", {"V": len(self.pieces)}, ids=True, frames=self.pieces.frames)
            with torch.random.fork_rng():  # a training takes the same random numbers where the states are cached
                block = PretrainedEncoder.Conf(model=self.conf.encoder).build(spec)
                block.load_pretrained()
            block.wanted = frozenset()  # its states alone
            self.block = block.eval()  # type: ignore[assignment]
        assert self.block is not None
        split, table = self.pieces.of_words(words), self.block.encoder.get_input_embeddings()
        assert self.conf.features is not None
        states_NH = torch.empty(len(words), self.conf.features)
        order = np.argsort(split.lengths, kind="stable")
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            ids_BT, mask_BT = (torch.from_numpy(array) for array in pad(split, rows))
            if self.conf.source == "table":
                pieces_BTH = table(ids_BT)
            else:
                pieces_BTH = self.block(Features(ids_BT, mask_BT, mask_BT.sum(1))).values
            if (found := pieces_BTH.shape[2]) != self.conf.features:
                sentence = f"the encoder has {found} features there, not {self.conf.features}. Leave it out."
                raise UserError(f"architecture[0].conf.word.init.features: {sentence}")
            states_NH[rows] = masked_mean(pieces_BTH, mask_BT)
        return states_NH


def give_vectors(
    embedding: Embedding, words: Sequence[str], specials: int, source: EncoderVectors, basis: Tensor | None = None
) -> None:
    """Fill the table of words from an encoder; what makes vectors of other words is kept with the weights.

    words  in the order of their ids, the most frequent first behind the special ones, which keep random vectors
    basis  what made the vectors of an earlier run; None = it is learnt from these words
    """
    states_NH = source.states(words[specials:])
    if basis is None:
        embedding.learn_basis(states_NH)
    else:
        embedding.basis.copy_(basis)
    vectors_ND = embedding.by_basis(states_NH)
    if source.conf.frequency_weighting:
        ranks = torch.arange(1, len(vectors_ND) + 1)
        shares = 1 / (ranks * (1 / ranks).sum())
        vectors_ND = vectors_ND * (FREQUENT / (FREQUENT + shares)).unsqueeze(1)
    found = torch.arange(len(words)) >= specials
    embedding.load_vectors("word", torch.cat([torch.zeros(specials, vectors_ND.shape[1]), vectors_ND]), found)


def learn_words(embedding: Embedding, encoder: InputEncoder, words: list[str], source: EncoderVectors) -> None:
    """Ids and vectors for words that training did not meet."""
    embedding.append("word", embedding.by_basis(source.states(words)))
    encoder.vocabularies["word"].add(words)
