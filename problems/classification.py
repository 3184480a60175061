"""Classification: each row has one of several labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from core.config import InputsConf
from core.errors import UserError, did_you_mean, known_names
from core.types import Features, Row, Spec
from problems import metrics
from problems.base import PROBLEMS, Decoded
from problems.labels import LabelledProblem


@PROBLEMS.register
class Classification(LabelledProblem):
    """One label for each row. Label ids follow descending frequency in train, unless the config lists the labels.

    Output: a score for each label (B x C), or for two labels one score (B x 1 or B) that speaks for the one with id 1.
    """

    name = "classification"
    own_metrics = metrics.CLASSIFICATION
    default_metrics = ("accuracy",)
    default_fields: Sequence[str] = ("prediction", "confidence")
    """Of rows that are ranked also that by which they are, once the labels are known."""
    least_labels = 2

    def __init__(self, inputs: InputsConf) -> None:
        super().__init__(inputs)
        self._positive_label = inputs.positive_label
        if inputs.labels is not None and (complaint := self._positive_complaint()):
            raise ValueError(complaint)

    @property
    def positive_label(self) -> str | None:
        """As configured; else of two labels "1", or that with id 1."""
        if self._positive_label is None and self.labels is not None and len(self.labels) == 2:
            return "1" if set(self.labels) == {"0", "1"} else self.labels[1]
        return self._positive_label

    def target_specs(self) -> dict[str, Spec]:
        """Label ids of B, with the labels where they are known, and the positive one of the first column."""
        specs = {column: Spec("B", ids=True, labels=labels.names) for column, labels in self._labels.items()}
        first = self.target_columns[0]
        return {**specs, first: replace(specs[first], positive=self.positive_label)}

    def check_output(self, spec: Spec, column: str) -> None:
        """ValueError unless there is a score for each label, or one score for two labels."""
        spec.expect("BD", "B")
        given = spec.sizes.get("D") if spec.axes == "BD" else 1
        if (given, self.num_targets) != (1, 2):
            self._check_scores(given)

    def finish(self) -> dict[str, np.ndarray]:
        """Order the labels. UserError where there are too few, or the positive label is none of them."""
        remaps = super().finish()
        self._settle()
        return remaps

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the labels from a `state`. UserError where the positive label is none of them."""
        super().restore(state)
        self._settle()

    def decode(self, outputs: Mapping[str, Features]) -> Decoded:
        """Softmax over the labels; one score is the logit of the label with id 1."""
        (output,) = outputs.values()
        logits = output.parts.get("logits", output.values).detach().double()  # float32 would tie all that is certain
        if logits.dim() == 2 and logits.shape[1] > 1:
            return Decoded(logits.softmax(-1).cpu().numpy())
        probability_N = logits.reshape(-1).sigmoid().cpu().numpy()
        return Decoded(np.stack([1 - probability_N, probability_N], axis=1))

    def right_rows(self, decoded: Decoded, targets: Mapping[str, Any]) -> np.ndarray:
        """Which rows have the right label."""
        right: np.ndarray = decoded.scores.argmax(1) == targets[self.target_columns[0]]
        return right

    def _encode_column(self, column: str, rows: Sequence[Row], errors: list[str], growing: bool) -> np.ndarray:
        """Label ids, -1 in rows with an error."""
        cells = ["" if error else row.cells.get(column, "").strip() for row, error in zip(rows, errors, strict=True)]
        labels = self._labels[column]
        ids_N = labels.encode(cells, growing)
        for at in np.flatnonzero(ids_N < 0):
            errors[at] = errors[at] or labels.complaint(cells[at], column)
        return ids_N

    def _field(self, field: str, decoded: Decoded) -> list[Any]:
        assert self.labels is not None
        if field == "prediction":
            return [self.labels[best] for best in decoded.scores.argmax(1)]
        if field == "confidence":
            return decoded.scores.max(1).tolist()
        return decoded.scores[:, self.labels.index(field.removeprefix("confidence@"))].tolist()

    def _settle(self) -> None:
        if complaint := self._positive_complaint():
            raise UserError(complaint)
        if self.group_by is not None and self.positive_label is not None:
            self.default_fields = (*type(self).default_fields, f"confidence@{self.positive_label}")

    def _positive_complaint(self) -> str:
        positive, labels = self._positive_label, self.labels or ()
        if positive is None or positive in labels:
            return ""
        return f"positive_label '{positive}' is no label.{did_you_mean(positive, labels) or known_names(labels)}"
