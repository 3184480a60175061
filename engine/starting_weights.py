"""What a new model starts from: vectors of words, weights of encoders, those of an earlier run."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch

from block_zoo import PretrainedEncoder
from block_zoo.embedding import Embedding
from core.config import ExperimentConf
from core.errors import UserError
from engine.data import Data, vector_source
from engine.draft import word_init
from engine.encoder_vectors import EncoderVectors, give_vectors
from engine.experiment import cache_folder
from engine.warm_start import basis_of, start_from
from model_zoo.graph import Model
from text.encoder import InputEncoder
from text.pieces import Pieces
from text.vectors import load_vectors

ALIKE = 0.9
"""Share of the pieces that have the same ids in the tokenizer of the weights; some may have been added for a domain."""


def load_pretrained(
    conf: ExperimentConf, model: Model, data: Data, say: Callable[[str], None], before: Path | None = None
) -> None:
    """Put into a new model what it starts from: vectors of words, weights of encoders, those of an earlier run.

    before  the run of the stage before, in the place of the one that the config names
    """
    paths, encoder = conf.inputs.data_paths, data.encoder
    named = paths.pretrained_model_path
    earlier = before or (None if named is None else Path(named))
    has_words = "word" in model.rows_by_id().values()
    if has_words and (init := word_init(conf)) is not None:
        vocabulary = encoder.vocabularies["word"]
        embedding = cast(Embedding, model.embedding)
        source = EncoderVectors(init, cache_folder(conf))
        basis = None if earlier is None else basis_of(earlier, embedding)
        give_vectors(embedding, vocabulary.words, len(vocabulary.specials), source, basis)
        say(f"vectors of {len(vocabulary):,} words from {init.encoder}")
    if has_words and paths.pre_trained_emb is not None:
        path, kind, binary = vector_source(conf)
        vectors, found = load_vectors(path, kind, binary, encoder.vocabularies["word"].words, cache_folder(conf))
        say(f"pretrained vectors: {np.count_nonzero(found):,} of {len(found):,} words have one")
        try:
            model.embedding.load_vectors("word", torch.tensor(vectors), torch.tensor(found))  # type: ignore[operator, union-attr]
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
    for block in model.blocks.values():
        if isinstance(block, PretrainedEncoder):
            _refuse_another_tokenizer(block.conf, encoder)
    for line in model.load_pretrained():
        say(line)
    if earlier is not None:
        for line in start_from(earlier, model, encoder, data.problem):
            say(line)


def _refuse_another_tokenizer(conf: PretrainedEncoder.Conf, encoder: InputEncoder) -> None:
    """UserError where the tokenizer gives other ids than that of the weights, as far as these bring their own."""
    if conf.model is None or conf.tokenizer in (None, conf.model):
        return
    try:
        own = Pieces.load(conf.model)
    except UserError:
        return
    if (differing := encoder.pieces[str(conf.tokenizer)].disagreement(own)) > 1 - ALIKE:
        sentence = (
            f"{differing:.0%} of its pieces have other ids in that of {conf.model}, so it is not of these weights"
        )
        raise UserError(f"tokenizer {conf.tokenizer}: {sentence}.")
