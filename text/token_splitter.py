"""TokenSplitter: rows to tokens, the part of the encoding that needs no vocabulary."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from core.types import Row
from text.alignment import character_spans
from text.input_plan import InputPlan
from text.pieces import Pieces
from text.tokenizers import REMOVE_STOP_WORDS, Split, preprocessor, stop_words, tokenizer
from text.tokens import Tokens


class TokenSplitter:
    """Splits the text columns of a plan. The tokenizer is loaded when the first text comes.

    pieces  cluster -> the tokenizer of the encoder that reads its columns
    """

    def __init__(self, plan: InputPlan, pieces: Mapping[str, Pieces] | None = None) -> None:
        self.plan = plan
        self._pieces = pieces or {}
        self._aligned = plan.aligned
        self._cuts = {words: plan.cut(words) for words in plan.words_of.values()}

    def split(self, rows: Sequence[Row]) -> tuple[dict[str, Tokens], list[str]]:
        """The tokens of each column of the file, and one error per row ("" = none); bad rows have no tokens."""
        plan, errors = self.plan, [row.error for row in rows]
        columns = plan.text_columns
        whole = [column for column in columns if plan.kinds[column] == "piece" and column not in self._aligned]
        lists = {column: self._column(column, rows, errors) for column in columns if column not in whole}
        pieces = {column: self._as_pieces(column, rows, errors) for column in whole}
        for column, words in plan.words_of.items():
            if plan.kinds[column] == "feature":
                _compare(column, lists[column], words, lists[words], errors)
        for at, error in enumerate(errors):
            if error:
                for tokens in lists.values():
                    tokens[at] = []
        split = {column: self._tokens(column, lists[column], rows, errors) for column in lists}
        return {**split, **pieces}, errors

    def _as_pieces(self, column: str, rows: Sequence[Row], errors: list[str]) -> Tokens:
        """The pieces of one column; notes the rows that have none."""
        texts = ["" if errors[at] else row.cells.get(column) for at, row in enumerate(rows)]
        pieces, given = self._pieces[self.plan.cluster(column)], [text or "" for text in texts]
        index, spans = pieces.with_spans(given) if column in self.plan.placed else (pieces.of_texts(given), None)
        for at in np.flatnonzero(index.lengths == 0).tolist():
            errors[at] = errors[at] or _nothing(column, texts[at])
        limit = self._cuts[column]
        if limit is not None:
            spans = None if spans is None else index.with_values(spans).cut(limit).values
            index = index.cut(limit)
        return Tokens([], index, spans)

    def _column(self, column: str, rows: Sequence[Row], errors: list[str]) -> list[list[str]]:
        """The tokens of one column; notes the rows that have none."""
        split: Split
        if self.plan.kinds[column] == "feature":
            split = at_spaces
        elif column in self._aligned:
            split = self._aligned_words
        else:
            split = self._all_words if column in self.plan.placed else self._words
        lists: list[list[str]] = []
        for at, row in enumerate(rows):
            text = "" if errors[at] else row.cells.get(column)
            tokens = split(text) if text else []
            if not tokens and not errors[at]:
                errors[at] = _nothing(column, text)
            lists.append(tokens)
        return lists

    def _tokens(self, column: str, lists: list[list[str]], rows: Sequence[Row], errors: list[str]) -> Tokens:
        """The tokens of a column, cut where the plan says so."""
        limit = self._cuts[self.plan.words_of[column]]
        spans = [np.zeros((0, 2), np.int32)]
        if column in self.plan.placed:
            for at, row in enumerate(rows):
                try:
                    found = self._spans(row.cells[column], lists[at]) if lists[at] else spans[0]
                except ValueError as error:
                    errors[at], lists[at], found = f"{column}: {error}", [], spans[0]
                spans.append(found[:limit])
        cut = lists if limit is None else [tokens[:limit] for tokens in lists]
        return Tokens.of_lists(cut, np.concatenate(spans) if column in self.plan.placed else None)

    def _spans(self, text: str, tokens: list[str]) -> np.ndarray:
        return np.stack(character_spans(text, self._prepare(text), tokens), axis=1)

    @cached_property
    def _prepare(self) -> Callable[[str], str]:
        return preprocessor(self.plan.preprocessing)

    @cached_property
    def _all_words(self) -> Split:
        split, prepare = tokenizer(self.plan.tokenizer), self._prepare
        return (lambda text: split(prepare(text))) if self.plan.preprocessing else split

    @cached_property
    def _words(self) -> Split:
        split = self._all_words
        if REMOVE_STOP_WORDS not in self.plan.preprocessing:
            return split
        dropped = stop_words()
        return lambda text: [token for token in split(text) if token.lower() not in dropped]

    @cached_property
    def _aligned_words(self) -> Split:
        """As many words as there are features: no step may change their number."""
        if not self.plan.preprocessing:
            return at_spaces
        prepare = self._prepare
        return lambda text: [prepare(token) or token for token in at_spaces(text)]


def at_spaces(text: str) -> list[str]:
    """The words of a text that has spaces between them."""
    return [token for token in text.split(" ") if token]


def _nothing(column: str, text: str | None) -> str:
    if text is None:
        return f"column {column} is missing."
    return f"{column} has no words left after preprocessing." if text.strip() else f"{column} is empty."


def _compare(column: str, features: list[list[str]], words: str, tokens: list[list[str]], errors: list[str]) -> None:
    """Note the rows that do not have one feature for each token."""
    for at, (given, wanted) in enumerate(zip(features, tokens, strict=True)):
        if len(given) != len(wanted) and not errors[at]:
            errors[at] = f"{column} has {len(given)} features, but {words} has {len(wanted)} tokens."
