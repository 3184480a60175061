"""Untargeted: what stands in the place of a problem where nobody asks for targets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.conf import JSON
from core.types import Row, Spec


class Untargeted:
    """A text.encoded.TargetEncoder of rows that a teacher reads: they may have no targets."""

    target_columns: list[str] = []
    group_by: str | None = None

    def encode(self, rows: Sequence[Row], growing: bool, tokens: Any) -> tuple[dict[str, Any], list[str]]:
        """No values; the errors of the rows."""
        return {}, [row.error for row in rows]

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
