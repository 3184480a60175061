"""InputEncoder: texts to ids, a chunk of rows at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from core.errors import UserError
from core.types import Row, Spec
from text.encoded_rows import EncodedRows
from text.input_plan import InputPlan
from text.pieces import Pieces
from text.ragged import Ragged
from text.token_splitter import TokenSplitter
from text.tokens import Tokens
from text.vocabulary import EOS, SPECIALS, START, Vocabulary, VocabularyBuilder

__all__ = ["InputEncoder", "InputPlan"]


class InputEncoder:
    """Texts to ids: born with vocabularies, or grows them with each chunk until `finish`.

    ValueError where the plan is not sound.
    """

    def __init__(self, plan: InputPlan, vocabularies: Mapping[str, Vocabulary | Pieces] | None = None) -> None:
        for branch, complaint in plan.complaints().items():
            raise ValueError(f"model_inputs.{branch}: {complaint}")
        clusters = {plan.cluster(column): plan.kinds[column] for column in plan.words_of}
        of_pieces = [cluster for cluster, kind in clusters.items() if kind == "piece"]
        if vocabularies is None:
            vocabularies = {cluster: Pieces.load(cluster) for cluster in of_pieces}
            self._builders = {cluster: VocabularyBuilder() for cluster in clusters if cluster not in of_pieces}
        else:
            self._builders = {}
        kinds = vocabularies.items()
        self.pieces = {cluster: pieces for cluster, pieces in kinds if isinstance(pieces, Pieces)}
        """Cluster -> the tokenizer of a pretrained encoder."""
        self.vocabularies = {cluster: words for cluster, words in kinds if isinstance(words, Vocabulary)}
        """Cluster -> its vocabulary."""
        begun = {branch: self.pieces.get(plan.cluster(plan.branches[branch][0])) for branch in plan.begun}
        firsts = {branch: pieces.frames.one[0] for branch, pieces in begun.items() if pieces is not None}
        for branch, ids in firsts.items():
            if not ids:
                sentence = "its tokenizer puts nothing before a text, where the place of no answer could be."
                raise UserError(f"model_inputs.{branch}: {sentence}")
        starts = {branch: ids[0] for branch, ids in firsts.items()}
        self.plan = replace(plan, starts=starts)
        self.splitter = TokenSplitter(plan, self.pieces)
        self.learn: Callable[[list[str]], None] | None = None
        """Gives ids to words of cluster `word` that have none, where any word can have a vector."""

    @property
    def text_columns(self) -> list[str]:
        """The columns of the file that are read."""
        return self.plan.text_columns

    def specs(self) -> dict[str, Spec]:
        """The spec of each branch."""
        sizes = {cluster: len(vocabulary) for cluster, vocabulary in self.vocabularies.items()}
        sizes |= {cluster: len(pieces) for cluster, pieces in self.pieces.items()}
        return self.plan.specs(sizes, {cluster: pieces.frames for cluster, pieces in self.pieces.items()})

    def encode(self, rows: Sequence[Row]) -> tuple[dict[str, Ragged], list[str]]:
        """The ids of each column, and one error per row ("" = none); the lists of bad rows mean nothing."""
        tokens, errors = self.splitter.split(rows)
        return self.ids(tokens), errors

    def encode_rows(
        self, rows: Sequence[Row], kept: Callable[[Sequence[Row], dict[str, Tokens]], dict[str, Any]] | None = None
    ) -> tuple[EncodedRows, list[str]]:
        """The good rows as ids, and one error per row ("" = none).

        kept  says of good rows and their tokens what stands in the place of targets
        """
        tokens, errors = self.splitter.split(rows)
        good = np.flatnonzero([not error for error in errors])
        if len(good) < len(rows):
            tokens = {column: part.taken(good) for column, part in tokens.items()}
        lines = np.fromiter((row.number for row in rows), np.int64, len(rows))[good]
        targets = kept([rows[at] for at in good.tolist()], tokens) if kept is not None else {}
        return EncodedRows(self.plan, self.ids(tokens), targets, lines), errors

    def ids(self, tokens: Mapping[str, Tokens]) -> dict[str, Ragged]:
        """The ids of each column; provisional ones while growing."""
        plan = self.plan
        views = {
            column: tokens[words].characters() if plan.kinds[column] == "char" else tokens[column]
            for column, words in plan.words_of.items()
        }
        for cluster, builder in self._builders.items():
            columns = [column for column in views if plan.cluster(column) == cluster]
            builder.add([self._by_row(column, views, tokens) for column in columns])
        encoded = {}
        for column, view in views.items():
            if plan.kinds[column] == "piece":
                pieces, is_split = self.pieces[plan.cluster(column)], column in plan.aligned
                encoded[column] = replace(view.index, inner=pieces.of_words(view.words)) if is_split else view.index
                continue
            learns = self.learn is not None and plan.cluster(column) == "word"
            if learns and (unknown := self.vocabularies["word"].unknown(view.words)):
                self.learn(unknown)  # type: ignore[misc]
            lookup = (self._builders or self.vocabularies)[plan.cluster(column)].lookup
            ids = view.index.with_values(lookup(view.words)[view.index.values])
            if plan.kinds[column] == "char":
                encoded[column] = self._with_characters(tokens[plan.words_of[column]].index, ids)
            else:
                encoded[column] = ids.wrapped(START, EOS) if plan.add_start_end else ids
        return encoded

    def finish(self) -> dict[str, np.ndarray]:
        """End of growing: column -> the final id of each provisional one. UserError where all words are rare."""
        plan, remaps = self.plan, {}
        for cluster, builder in self._builders.items():
            self.vocabularies[cluster], remaps[cluster] = builder.finish(
                plan.min_word_frequency, plan.max_vocabulary, plan.extra_words if cluster == "word" else ()
            )
            if len(self.vocabularies[cluster]) == len(SPECIALS):
                raise UserError(
                    f"training_params.vocabulary.min_word_frequency: nothing of cluster '{cluster}' occurs in "
                    f"{plan.min_word_frequency} training rows, so all would be unknown."
                )
        self._builders = {}
        return {column: remaps[plan.cluster(column)] for column in plan.words_of if plan.cluster(column) in remaps}

    def state(self) -> dict[str, Any]:
        """As JSON."""
        vocabularies = {cluster: vocabulary.state() for cluster, vocabulary in self.vocabularies.items()}
        pieces = {cluster: pieces.state() for cluster, pieces in self.pieces.items()}
        return {"plan": self.plan.state(), "vocabularies": vocabularies, "pieces": pieces}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The encoder whose `state` this was."""
        vocabularies = {cluster: Vocabulary.from_state(part) for cluster, part in state["vocabularies"].items()}
        pieces = {cluster: Pieces.from_state(part) for cluster, part in state.get("pieces", {}).items()}
        return cls(InputPlan.from_state(state["plan"]), {**vocabularies, **pieces})

    def _by_row(self, column: str, views: Mapping[str, Tokens], tokens: Mapping[str, Tokens]) -> Tokens:
        """What a column brings to the vocabulary, row by row."""
        if self.plan.kinds[column] == "char":
            return tokens[self.plan.words_of[column]].with_characters(views[column])
        return views[column]

    def _with_characters(self, words: Ragged, ids: Ragged) -> Ragged:
        """Texts as indices into the characters of the different words; <start> and <eos> are words of one sign."""
        if not self.plan.add_start_end:
            return Ragged(words.values, words.offsets, ids)
        values = np.append(ids.values, np.array([START, EOS], ids.values.dtype))
        wrapped = words.wrapped(len(ids), len(ids) + 1)
        return Ragged(wrapped.values, wrapped.offsets, Ragged.of_lengths(values, np.append(ids.lengths, [1, 1])))
