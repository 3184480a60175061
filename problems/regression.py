"""Regression: each row has a number."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.config import InputsConf
from core.types import Features, Row, Spec
from problems import metrics
from problems.base import PROBLEMS, Decoded, Problem


@PROBLEMS.register
class Regression(Problem):
    """One number for each row. Output: B x 1 or B, taken as it is."""

    name = "regression"
    own_metrics = metrics.REGRESSION
    without_effect = {"positive_label": "auc counts 1 against 0."}
    default_metrics = ("rmse",)
    default_fields = ("prediction",)

    def __init__(self, inputs: InputsConf) -> None:
        super().__init__(inputs)
        if inputs.labels is not None:
            raise ValueError("labels belong to classification; regression has none.")

    @property
    def is_exact(self) -> bool:
        """Never."""
        return False

    @property
    def num_targets(self) -> int:
        """Always 1."""
        return 1

    def target_specs(self) -> dict[str, Spec]:
        """Numbers of B."""
        return dict.fromkeys(self.target_columns, Spec("B"))

    def check_output(self, spec: Spec, column: str) -> None:
        """ValueError unless there is one number for each row."""
        spec.expect("BD", "B")
        if spec.sizes.get("D", 1) != 1:
            raise ValueError(f"must give one number for each row (B x 1), but gives {spec}.")

    def decode(self, outputs: Mapping[str, Features]) -> Decoded:
        """The values as they are."""
        (output,) = outputs.values()
        return Decoded(output.values.detach().float().reshape(-1).cpu().numpy())

    def _encode_column(self, column: str, rows: Sequence[Row], errors: list[str], growing: bool) -> np.ndarray:
        """float32, NaN in rows with an error."""
        cells = ["nan" if error else row.cells.get(column, "") for row, error in zip(rows, errors, strict=True)]
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf and is refused below
            values_N = _numbers(cells).astype(np.float32)
        for at in np.flatnonzero(~np.isfinite(values_N)):
            values_N[at] = np.nan
            errors[at] = errors[at] or f"'{cells[at]}' in column {column} is not a number."
        return values_N

    def _field(self, field: str, decoded: Decoded) -> list[Any]:
        assert field == "prediction"
        return decoded.scores.tolist()


def _numbers(cells: Sequence[str]) -> np.ndarray:
    """float64, NaN where a cell is no number."""
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return np.array([_number(cell) for cell in cells], np.float64)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
