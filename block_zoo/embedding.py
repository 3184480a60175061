"""Embedding: the vectors of words, characters and features; one layer serves every branch of a model."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

import core.conf
from block_zoo.base import BLOCKS, CHAR_EMBEDDINGS, Block
from block_zoo.masking import zero_padding
from block_zoo.ngrams import NgramTable
from core.conf import Choice, PositiveInt
from core.errors import UserError, did_you_mean
from core.run_encoder import settings_of
from core.types import Features, Spec

SPREAD = 0.4
"""Standard deviation of the numbers in vectors that come from an encoder: about that of GloVe."""


class EncoderInit(core.conf.Conf):
    """Vectors of words from a pretrained encoder, by principal components, centred and scaled.

    Reference: Tulkens and van Dongen 2024, Model2Vec.
    """

    encoder: str
    """The encoder: a local folder, a name on the Hugging Face hub, or a run that has trained one."""
    dim: PositiveInt | None = None
    """Principal components that are kept; the dim of the cluster, which says it alone."""
    source: Literal["states", "table"] = "states"
    """What stands for a word: the mean of the last states of its pieces, or of their rows in the encoder's table."""
    frequency_weighting: bool = False
    """Whether frequent words get shorter vectors: 0.001 / (0.001 + share of the word), shares by Zipf's law."""
    features: PositiveInt | None = None
    """Features of the encoder; read from its config."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features is None:
            try:
                config = settings_of(self.encoder)
            except UserError as error:
                raise ValueError(f"init: encoder {error}") from error
            found = config.get("hidden_size") or config.get("dim")
            if self.source == "table":
                found = config.get("embedding_size") or found  # ELECTRA and ALBERT widen what they look up
            if found is None:
                raise ValueError(f"init: encoder {self.encoder} does not say its hidden_size; set features.")
            object.__setattr__(self, "features", found)


class FeatureCluster(core.conf.Conf):
    """Columns of one feature per token (part of speech, ...) that share a table of vectors."""

    cols: list[str]
    """Columns, of any branch."""
    dim: PositiveInt
    """Features of a vector."""
    fix_weight: bool = False
    """Whether the vectors stay as they are."""

    def spec(self, column: Spec) -> Spec:
        """What the vectors of a column will be."""
        column.expect("BT").size("V")
        return column.resized("BTD", D=self.dim)

    def build(self, column: Spec) -> nn.Module:
        """A table with a row for every id: row 0 is padding, the others are uniform with variance 1/dim."""
        table = nn.Embedding(column.size("V"), self.dim, padding_idx=0)
        nn.init.uniform_(table.weight[1:], -math.sqrt(3 / self.dim), math.sqrt(3 / self.dim))
        return table


class WordCluster(FeatureCluster):
    """Columns of words that share a table of vectors."""

    init: EncoderInit | None = None
    """A pretrained encoder that the vectors come from, also those of words that training did not meet."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init is not None and self.init.dim not in (None, self.dim):
            raise ValueError(f"init.dim is {self.init.dim}, but dim of the cluster is {self.dim}.")
        if self.init is not None and self.init.features is not None and self.init.features < self.dim:
            raise ValueError(f"the encoder of init has {self.init.features} features, so dim {self.dim} is too large.")


class CharCluster(core.conf.Conf):
    """Columns of characters of words that share a character embedding, whose settings stand beside its type."""

    choice: ClassVar = Choice(tag="type", registry=CHAR_EMBEDDINGS.kind, conf=None)
    extra: ClassVar = "conf"
    cols: list[str]
    """Columns of characters, of any branch."""
    type: str
    """The character embedding."""
    fix_weight: bool = False
    """Whether its weights stay as they are."""
    conf: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The settings of the character embedding, written beside its type."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type not in CHAR_EMBEDDINGS:
            raise ValueError(CHAR_EMBEDDINGS.unknown(self.type))
        # Its defaults are written out like those of every other Conf; reading it checks its ranges.
        object.__setattr__(self, "conf", core.conf.to_json(self.settings()))

    @classmethod
    def without_effect(cls, value: Mapping[str, core.conf.JSON]) -> Mapping[str, str]:
        """Those of the character embedding too."""
        chosen = value.get("type")
        return {**cls.ignored, **(CHAR_EMBEDDINGS[chosen].Conf.ignored if chosen in CHAR_EMBEDDINGS else {})}  # type: ignore[attr-defined, index]

    def settings(self) -> Block.Conf:
        """The Conf of the character embedding."""
        settings: Block.Conf = core.conf.read(CHAR_EMBEDDINGS[self.type].Conf, self.conf)  # type: ignore[attr-defined]
        return settings

    def spec(self, column: Spec) -> Spec:
        """What the vectors of a column will be."""
        return self.settings().output_spec(column)

    def build(self, column: Spec) -> nn.Module:
        """The character embedding with fresh weights."""
        return self.settings().build(column)


class NgramCluster(core.conf.Conf):
    """Columns of words whose n-grams share a table of hashed vectors, beside the vectors of the words themselves."""

    cols: list[str]
    """Columns of words, of any branch; they stand in the cols of word too."""
    dim: PositiveInt
    """Features of an n-gram."""
    n: list[PositiveInt] = dataclasses.field(default_factory=lambda: [2, 3])
    """Words of an n-gram; a token has the mean of the n-grams that end at it."""
    buckets: PositiveInt = 100000
    """Vectors of the table; n-grams with the same hash share one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.n:
            raise ValueError("n is empty.")


Cluster = FeatureCluster | CharCluster


@BLOCKS.register
class Embedding(Block):
    """The vectors of every column of a branch side by side, in the order of the branch.

    Columns of a cluster share one table, in whatever branch they stand; the n-grams of words stand behind the words.
    The first layer of every architecture.

    Shape: a branch with columns of ids B x T (words, features) or B x T x K (characters) -> B x T x (sum of dim).
    Parts: the ids B x T of its columns of words and features, by the names of the columns.
    Masking: the output is zero at padding; row 0 of a table is padding and stays zero.
    `{"layer": "Embedding", "conf": {"word": {"cols": ["question_text"], "dim": 100, "fix_weight": false}}}`
    Reference: Bengio et al. 2003, A Neural Probabilistic Language Model, section 2; Collobert et al. 2011, section 3.2.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "embedding"
        extra: ClassVar = "features"
        reads_branches: ClassVar = True
        word: WordCluster | None = None
        """Columns of words; pretrained vectors go here."""
        char: CharCluster | None = None
        """Columns of the characters of words."""
        ngram: NgramCluster | None = None
        """Columns of words that have hashed vectors of their n-grams too."""
        bpe: dict[str, Any] | None = None
        """Pieces of words, as NeuronBlocks has them: refused, with what to do instead."""
        features: dict[str, FeatureCluster] = dataclasses.field(default_factory=dict)
        """Any other name: columns of one feature per token, for example "postag"."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.bpe is not None:
                raise ValueError(
                    "bpe is not read. Split the texts beforehand, put spaces between the pieces, and read them as "
                    "words (tokenizer whitespace)."
                )
            for name in self.features:
                if hint := did_you_mean(name, ("word", "char", "ngram")):
                    raise ValueError(f"'{name}' is too close to a cluster with a meaning of its own.{hint}")
                if "." in name:
                    raise ValueError(f"the name of a cluster cannot have a dot, got '{name}'.")
            if not self.clusters:
                raise ValueError("names no cluster. Known: word, char, or any name for columns of features.")
            columns = [column for cluster in self.clusters.values() for column in cluster.cols]
            for column in columns:
                if columns.count(column) > 1:
                    raise ValueError(f"column '{column}' stands in cols more than once.")
            words = self.word.cols if self.word else []
            for column in self.ngram.cols if self.ngram else []:
                if column not in words:
                    hint = did_you_mean(column, words)
                    raise ValueError(f"column '{column}' has n-grams, but is not in the cols of word.{hint}")

        @property
        def clusters(self) -> dict[str, Cluster]:
            """Cluster name -> its settings."""
            named: dict[str, Cluster | None] = {"word": self.word, "char": self.char, **self.features}
            return {name: cluster for name, cluster in named.items() if cluster is not None}

        @property
        def cluster_of(self) -> dict[str, str]:
            """Column -> the name of its cluster."""
            return {column: name for name, cluster in self.clusters.items() for column in cluster.cols}

        def columns(self, *branches: Spec) -> Iterator[tuple[str, str, Spec]]:
            """(column, cluster name, spec) of every column of the branches. ValueError for a column in no cluster."""
            for branch in branches:
                for column, spec in branch.parts.items():
                    if column not in self.cluster_of:
                        hint = did_you_mean(column, self.cluster_of) or f" They have: {', '.join(self.cluster_of)}."
                        raise ValueError(f"column '{column}' stands in the cols of no cluster (word, char, ...).{hint}")
                    yield column, self.cluster_of[column], spec

        def output_spec(self, *branches: Spec) -> Spec:
            total = 0
            for branch in branches:
                branch.expect("BT")
                columns = list(self.columns(branch))
                if not columns:
                    raise ValueError("the branch has no columns.")
                total = sum(self.clusters[cluster].spec(spec).size("D") for _, cluster, spec in columns)
                if self.ngram is not None:
                    total += self.ngram.dim * sum(column in self.ngram.cols for column, _, _ in columns)
            parts = {column: spec for column, spec in branches[-1].parts.items() if spec.axes == "BT"}
            return dataclasses.replace(branches[-1].resized("BTD", D=total), parts=parts)

    basis: Tensor
    """What makes vectors of the states of an encoder: an offset, then one row for each of their features."""

    def __init__(self, conf: Conf, *branches: Spec) -> None:
        super().__init__()
        self.conf = conf
        self.cluster_of = conf.cluster_of
        self.ngram_columns = conf.ngram.cols if conf.ngram is not None else []
        self.tables = nn.ModuleDict()
        vocabularies: dict[str, int] = {}
        for column, name, spec in conf.columns(*branches):
            size = vocabularies.setdefault(name, spec.size("V"))
            assert spec.size("V") == size, (
                f"column '{column}' has {spec.size('V')} ids, but cluster '{name}' has {size}"
            )
            if self._key(name) not in self.tables:
                table = conf.clusters[name].build(spec)
                self.tables[self._key(name)] = table.requires_grad_(not conf.clusters[name].fix_weight)
        if conf.word is not None and conf.word.init is not None:
            self.register_buffer("basis", torch.zeros(1 + (conf.word.init.features or 0), conf.word.dim))
        self.ngrams = None if conf.ngram is None else NgramTable(conf.ngram.dim, conf.ngram.n, conf.ngram.buckets)

    def forward(self, branch: Features) -> Features:
        vectors = []
        for column, ids in branch.parts.items():
            vectors.append(self._look_up(column, ids, branch))
            if self.ngrams is not None and column in self.ngram_columns:
                vectors.append(self.ngrams(ids))
        columns = {column: ids_BT for column, ids_BT in branch.parts.items() if ids_BT.dim() == 2}
        vectors_BTD = torch.cat(vectors, -1) if len(vectors) > 1 else vectors[0]
        return branch.with_values(zero_padding(vectors_BTD, branch.mask), **columns)

    def load_vectors(self, cluster: str, vectors: Tensor, found_V: Tensor) -> None:
        """Set the rows of a cluster's table that pretrained vectors know.

        vectors  V x D in the order of the ids
        found_V  bool, which of them are pretrained; the other rows get small random values of the same spread

        ValueError if the pretrained vectors have another size than the cluster.
        """
        table = self.tables[self._key(cluster)]
        assert isinstance(table, nn.Embedding) and len(vectors) == table.num_embeddings
        if vectors.shape[1] != table.embedding_dim:
            raise ValueError(
                f"the pretrained vectors have {vectors.shape[1]} features, but dim of cluster '{cluster}' is "
                f"{table.embedding_dim}."
            )
        if not found_V.any():
            return
        width = math.sqrt(3) * vectors[found_V].float().std(correction=0).item()
        with torch.no_grad():
            table.weight.uniform_(-width, width)
            table.weight[found_V] = vectors[found_V].to(table.weight)
            table.weight[0] = 0

    def learn_basis(self, states_NH: Tensor) -> None:
        """Take the directions in which the states of words differ most for what vectors keep of them."""
        mean_H = states_NH.mean(0)
        centred_NH = states_NH - mean_H
        _, directions_HH = torch.linalg.eigh(centred_NH.T @ centred_NH)  # those that differ most come last
        directions_HD = directions_HH.flip(1)[:, : self.basis.shape[1]]
        spread = (centred_NH @ directions_HD).std(correction=0).clamp(min=1e-12)
        self.basis[1:] = directions_HD * (SPREAD / spread)
        self.basis[0] = -mean_H @ self.basis[1:]

    def by_basis(self, states_NH: Tensor) -> Tensor:
        """N x D, the vectors of words with these states."""
        return states_NH.to(self.basis) @ self.basis[1:] + self.basis[0]

    def append(self, cluster: str, vectors_ND: Tensor) -> None:
        """More rows for the table of a cluster, with the next ids."""
        table = self.tables[self._key(cluster)]
        assert isinstance(table, nn.Embedding)
        rows = torch.cat([table.weight.detach(), vectors_ND.to(table.weight)])
        table.weight = nn.Parameter(rows, table.weight.requires_grad)
        table.num_embeddings = len(rows)

    def vectors(self) -> list[nn.Parameter]:
        tables = [table for table in self.tables.values() if isinstance(table, nn.Embedding)]
        return [weight for table in tables for weight in table.parameters()]

    def rows_by_id(self) -> dict[str, str]:
        """Weights whose rows belong to the ids of a vocabulary, with the cluster of these ids."""
        found = {}
        for key, table in self.tables.items():
            for name, module in table.named_modules(prefix=f"tables.{key}"):
                if isinstance(module, nn.Embedding):
                    found[f"{name}.weight"] = key.removesuffix("_table")
        return found

    def rows_by_hash(self) -> dict[str, str]:
        """Weights whose rows belong to hashes of the ids of a vocabulary, with the cluster of these ids."""
        return {} if self.ngrams is None else {"ngrams.vectors.weight": "word"}

    def _look_up(self, column: str, ids: Tensor, branch: Features) -> Tensor:
        table = self.tables[self._key(self.cluster_of[column])]
        if isinstance(table, nn.Embedding):
            vectors: Tensor = table(ids)
            return vectors
        characters: Features = table(branch.with_values(ids))
        return characters.values

    @staticmethod
    def _key(cluster: str) -> str:
        """The name of a table among the weights; the suffix keeps it apart from the methods of a ModuleDict."""
        return f"{cluster}_table"
