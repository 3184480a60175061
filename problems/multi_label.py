"""Multi-label classification: each row has any number of labels."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np

from core.conf import Range
from core.config import InputsConf
from core.errors import UserError
from core.types import Features, Row, Spec
from problems import metrics
from problems.base import PROBLEMS, Decoded, Problem
from problems.labels import LabelledProblem
from text.ragged import Ragged
from text.readers import JsonText

DEFAULT_THRESHOLD = 0.5


@PROBLEMS.register
class MultiLabel(LabelledProblem):
    """Any number of labels for each row, also none; its cell lists them.

    Output: a score for each label (B x C); a label is predicted where the sigmoid of its score reaches the threshold.
    """

    class Conf(Problem.Conf):
        label_separator: str = ","
        """What stands between the labels of a cell; spaces around a label do not count."""
        threshold: Annotated[float, Range(above=0, below=1)] | Literal["tuned", "tuned_per_label"] = DEFAULT_THRESHOLD
        """Probability from which a label is predicted. "tuned" = that with the best micro_f1 on the validation rows;
        "tuned_per_label" = for each label that with its best f1, 0.5 for labels that no validation row has."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.label_separator:
                raise ValueError("label_separator is empty.")

    name = "multi_label"
    own_metrics = metrics.MULTI_LABEL
    default_metrics = ("micro_f1", "macro_f1")
    default_fields = ("prediction",)

    conf: Conf

    def __init__(self, inputs: InputsConf) -> None:
        super().__init__(inputs)
        if inputs.positive_label is not None:
            raise ValueError("positive_label belongs to classification; in multi_label each label is for itself.")
        for label in inputs.labels or ():
            if complaint := self._separator_complaint(label):
                raise ValueError(f"labels: {complaint}")

    def target_specs(self) -> dict[str, Spec]:
        """For each label whether the row has it: bool of B x C."""
        return {
            column: Spec("BC", {"C": len(labels.names)} if labels.names else {}, labels=labels.names)
            for column, labels in self._labels.items()
        }

    def check_output(self, spec: Spec, column: str) -> None:
        """ValueError unless there is a score for each label."""
        self._check_scores(spec.expect("BD").sizes.get("D"))

    def state(self) -> dict[str, Any]:
        """The labels of each target column, and what separates them."""
        return {**super().state(), "separator": self.conf.label_separator}

    def decode(self, outputs: Mapping[str, Features]) -> Decoded:
        """The sigmoid of each score."""
        (output,) = outputs.values()
        logits_BC = output.parts.get("logits", output.values).detach().double()  # float32 would tie all that is certain
        return Decoded(logits_BC.sigmoid().cpu().numpy())

    def tune(self, decoded: Decoded, targets: Mapping[str, Any]) -> None:
        """Choose the thresholds, where the config wants them chosen."""
        scores_NC, right_NC = decoded.scores, self._targets(targets)
        if self.conf.threshold == "tuned":
            (self.tuned,) = best_thresholds(scores_NC.reshape(-1, 1), right_NC.reshape(-1, 1)).tolist()
        elif self.conf.threshold == "tuned_per_label":
            self.tuned = best_thresholds(scores_NC, right_NC).tolist()

    def answers(self, decoded: Decoded, targets: Mapping[str, Any]) -> metrics.LabelSets:
        """What the metrics read."""
        return metrics.LabelSets(self._targets(targets), decoded.scores, self._predicted(decoded), self.labels or ())

    def right_rows(self, decoded: Decoded, targets: Mapping[str, Any]) -> np.ndarray:
        """Which rows have all their labels and no other."""
        return self.answers(decoded, targets).right_rows

    def _targets(self, targets: Mapping[str, Any]) -> np.ndarray:
        """bool of N x C."""
        hot: np.ndarray = targets[self.target_columns[0]].multi_hot(self.num_targets)
        return hot

    def _predicted(self, decoded: Decoded) -> np.ndarray:
        """bool of N x C. UserError where the threshold was never chosen."""
        threshold: Any = self.conf.threshold
        if isinstance(threshold, str):
            shape = () if threshold == "tuned" else (self.num_targets,)
            if self.tuned is None or np.shape(self.tuned) != shape:
                raise UserError(f"inputs.threshold: '{threshold}', but this training chose none so. Set a number.")
            threshold = np.array(self.tuned)
        predicted: np.ndarray = decoded.scores >= threshold
        return predicted

    def _encode_column(self, column: str, rows: Sequence[Row], errors: list[str], growing: bool) -> Ragged:
        """Label ids; no label in rows with an error."""
        found: list[list[str]] = []
        for at, row in enumerate(rows):
            try:
                found.append([] if errors[at] else self._listed(row.cells.get(column, "")))
            except ValueError as error:
                found.append([])
                errors[at] = f"column {column}: {error}"
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        return self._encode_lists(column, [label for labels in found for label in labels], lengths, errors, growing)

    def _listed(self, cell: str) -> list[str]:
        """The different labels of a cell. ValueError where it lists none."""
        parts: list[Any] = cell.split(self.conf.label_separator)
        if isinstance(cell, JsonText) and cell.startswith(("[", "{")):
            parts = json.loads(cell)
            if not isinstance(parts, list) or not all(isinstance(part, str | int | float) for part in parts):
                raise ValueError(f"{cell:.60} is no list of labels.")
            parts = [part if isinstance(part, str) else json.dumps(part) for part in parts]
        labels = list(dict.fromkeys(label for label in map(str.strip, parts) if label))
        if complaint := next(filter(None, map(self._separator_complaint, labels)), ""):
            raise ValueError(complaint)
        return labels

    def _separator_complaint(self, label: str) -> str:
        separator = self.conf.label_separator
        return f"label '{label}' holds the label_separator '{separator}'. Set another." if separator in label else ""

    def _field(self, field: str, decoded: Decoded) -> list[Any]:
        assert self.labels is not None
        if field != "prediction":
            return decoded.scores[:, self.labels.index(field.removeprefix("confidence@"))].tolist()
        predicted_NC, surest_NC = self._predicted(decoded), np.argsort(-decoded.scores, axis=1, kind="stable")
        rows, ranks = np.nonzero(np.take_along_axis(predicted_NC, surest_NC, axis=1))
        names = [self.labels[at] for at in surest_NC[rows, ranks].tolist()]
        ends = np.cumsum(predicted_NC.sum(1)).tolist()
        return [self.conf.label_separator.join(names[start:end]) for start, end in pairwise([0, *ends])]


def best_thresholds(scores_NC: np.ndarray, right_NC: np.ndarray) -> np.ndarray:
    """float64 of C: for each column the t whose `scores >= t` has the best f1, of equals the highest.

    It lies halfway between the lowest score that it takes and the next one. 0.5 where nothing is right, or a score is
    not finite.
    """
    order_NC = np.argsort(-scores_NC, axis=0, kind="stable")
    falling_NC, hits_NC = (np.take_along_axis(values_NC, order_NC, axis=0) for values_NC in (scores_NC, right_NC))
    taken_N = np.arange(1, len(scores_NC) + 1)[:, None]
    f1_NC = 2 * np.cumsum(hits_NC, axis=0) / (taken_N + right_NC.sum(0))
    next_NC = np.vstack([falling_NC[1:], np.zeros_like(falling_NC[:1])])
    f1_NC[:-1][falling_NC[:-1] == next_NC[:-1]] = -1  # equal scores are taken together
    best_C = f1_NC.argmax(0)[None]
    lowest_C, next_C = (np.take_along_axis(values_NC, best_C, axis=0)[0] for values_NC in (falling_NC, next_NC))
    middle_C = (lowest_C + next_C) / 2
    chosen_C = np.where(middle_C > next_C, middle_C, lowest_C)  # between neighbouring floats there is no middle
    return np.where(right_NC.any(0) & np.isfinite(scores_NC).all(0), chosen_C, DEFAULT_THRESHOLD)
