"""Untargeted: what stands in the place of a problem where nobody asks for targets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.conf import JSON
from core.types import Row, Spec
from problems.base import group_ids
from problems.reading_comprehension import SPANS, spans_of
from text.tokens import Tokens


class Untargeted:
    """A text.encoded.TargetEncoder of rows that a teacher reads: they may have no targets."""

    target_columns: list[str] = []

    def __init__(self, group_by: str | None = None, passage: str | None = None) -> None:
        """Of the rows is kept:

        group_by  the column that says which of them belong together, where that is asked
        passage   the column of whose tokens the characters are asked
        """
        self.group_by = group_by
        self.passage = passage

    def encode(
        self, rows: Sequence[Row], growing: bool, tokens: Mapping[str, Tokens]
    ) -> tuple[dict[str, Any], list[str]]:
        """The groups and the characters of tokens, where they are asked for; the errors of the rows."""
        errors: list[str] = [row.error for row in rows]
        kept: dict[str, Any] = {}
        if self.group_by is not None:
            kept[self.group_by] = group_ids(self.group_by, rows, errors)
        if self.passage is not None:
            kept[SPANS] = spans_of(tokens[self.passage])
        return kept, errors

    def finish(self) -> Mapping[str, np.ndarray]:
        """Nothing was numbered."""
        return {}

    def target_specs(self) -> Mapping[str, Spec]:
        """None."""
        return {}

    def state(self) -> Mapping[str, JSON]:
        """What is kept; nothing is fitted."""
        return {} if self.passage is None else {"passage": self.passage}

    def restore(self, state: Mapping[str, JSON]) -> None:
        """Nothing to restore."""
