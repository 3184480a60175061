"""Untargeted: what stands in the place of a problem where nobody asks for targets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.conf import JSON
from core.types import Row, Spec
from problems.base import group_ids


class Untargeted:
    """A text.encoded.TargetEncoder of rows that a teacher reads: they may have no targets."""

    target_columns: list[str] = []

    def __init__(self, group_by: str | None = None) -> None:
        """group_by  the column that says which rows belong together, where that is asked"""
        self.group_by = group_by

    def encode(self, rows: Sequence[Row], growing: bool, tokens: Any) -> tuple[dict[str, Any], list[str]]:
        """The groups, where they are asked for; the errors of the rows."""
        errors = [row.error for row in rows]
        return ({} if self.group_by is None else {self.group_by: group_ids(self.group_by, rows, errors)}), errors

    def finish(self) -> Mapping[str, np.ndarray]:
        """Nothing was numbered."""
        return {}

    def target_specs(self) -> Mapping[str, Spec]:
        """None."""
        return {}

    def state(self) -> Mapping[str, JSON]:
        """Nothing is fitted."""
        return {}

    def restore(self, state: Mapping[str, JSON]) -> None:
        """Nothing to restore."""
