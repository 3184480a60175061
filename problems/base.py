"""What every problem is: target columns in, answers out, scores."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self

import numpy as np

import core.conf
from core.conf import JSON
from core.config import InputsConf
from core.errors import did_you_mean, known_names
from core.registry import Registry
from core.types import Features, Prediction, Row, Scores, Spec
from problems import metrics
from text.tokens import Tokens
from text.windows import Windows

PROBLEMS = Registry("problem")


class DecodedRows(Protocol):
    """What a model answered for rows, in host memory."""

    def __len__(self) -> int: ...

    @classmethod
    def concatenate(cls, parts: Sequence[Any]) -> Any:
        """The answers of several batches one after the other."""

    def taken(self, order: np.ndarray) -> Any:
        """The answers at these places, in this order."""


@dataclass(frozen=True)
class DecodedArrays:
    """What a model answered for rows, in host memory: every field is an array with an item for each row."""

    def __len__(self) -> int:
        return len(self._arrays()[0])

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The answers of several batches one after the other."""
        return cls(*map(np.concatenate, zip(*(part._arrays() for part in parts), strict=True)))

    def taken(self, order: np.ndarray) -> Self:
        """The answers at these places, in this order."""
        return type(self)(*(array[order] for array in self._arrays()))

    def _arrays(self) -> list[np.ndarray]:
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class Decoded(DecodedArrays):
    """N x C probabilities, or N values."""

    scores: np.ndarray


class Problem(ABC):
    """What a task is. Fitted by the training rows that go through `encode(growing=True)`, ended by `finish`.

    The first target column is the one that is predicted and scored; further ones serve losses.
    """

    class Conf(core.conf.Conf):
        """Keys of its own, which stand in `inputs` beside dataset_type."""

        ignored = {"tagging_scheme": "Rows have no tags."}

    name: ClassVar[str]
    """The dataset_type of configs."""
    own_metrics: ClassVar[Mapping[str, metrics.Metric]]
    """What can be computed, by name."""
    parts: "Mapping[str, Problem]" = MappingProxyType({})
    """Target column -> its problem, where each has one of its own."""
    without_effect: ClassVar[Mapping[str, str]] = {}
    """Keys of `inputs` that change nothing here, with the reason."""
    default_metrics: Sequence[str]
    default_fields: Sequence[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in vars(cls):
            metrics.METRICS[cls.name] = cls.own_metrics

    def __init__(self, inputs: InputsConf) -> None:
        """As the inputs of a config describe it, not fitted yet. ValueError where they cannot be right.

        Their labels and positive_label belong to the first target column.
        """
        self.conf: Any = core.conf.read(self.Conf, inputs.settings)
        if inputs.group_by in inputs.target:
            raise ValueError(f"column '{inputs.group_by}' cannot be a target and group rows at the same time.")
        self.target_columns = list(inputs.target)
        self.group_by = inputs.group_by
        self.tuned: JSON = None
        """What `tune` chose; kept with the weights."""

    @property
    def is_exact(self) -> bool:
        """Whether an answer is right or wrong, not near or far."""
        return True

    @classmethod
    def plan(cls, inputs: InputsConf) -> dict[str, Any]:
        """The fields of text.input_plan.InputPlan that the problem settles; training_params have no say in them."""
        return {}

    @classmethod
    def idle(cls, inputs: InputsConf) -> dict[str, str]:
        """The keys of `inputs` that are given and change nothing here, with the reason."""
        said = {key: why for key, why in cls.without_effect.items() if getattr(inputs, key) is not None}
        return said | {key: why for key, why in cls.Conf.ignored.items() if inputs.settings.get(key) is not None}

    @property
    def num_targets(self) -> int | None:
        """The size of an answer ("#target#"), by default the number of labels; None while it is not known."""
        return None if self.labels is None else len(self.labels)

    @property
    def answer_sizes(self) -> dict[str, int | None]:
        """The target columns that output layers answer, each by one of its own, with the sizes of these answers."""
        return {self.target_columns[0]: self.num_targets}

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels of the first target column in the order of their ids; None where none are known."""
        return None

    @property
    def metric_labels(self) -> tuple[str, ...] | None:
        """What may stand after the @ of a metric; None while it is not known."""
        return self.labels

    @property
    def positive_label(self) -> str | None:
        """The label that auc, f1 and the ranking metrics look for; None where there is none."""
        return None

    @abstractmethod
    def target_specs(self) -> dict[str, Spec]:
        """The spec of each target column."""

    @abstractmethod
    def check_output(self, spec: Spec, column: str) -> None:
        """ValueError if a layer with this output cannot answer this target column."""

    def encode(
        self, rows: Sequence[Row], growing: bool, tokens: Mapping[str, Tokens] | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """The values of each target column, and the group column as int64; one error per row ("" = none).

        While growing, labels are numbered as they come; `finish` says what these ids become.
        tokens  column -> the tokens of its texts, where the answers are among them
        """
        errors = [row.error for row in rows]
        arrays: dict[str, Any] = {
            column: self._encode_column(column, rows, errors, growing) for column in self.target_columns
        }
        if self.group_by is not None:
            arrays[self.group_by] = group_ids(self.group_by, rows, errors)
        return arrays, errors

    def kept(self, rows: Sequence[Row], tokens: Mapping[str, Tokens]) -> dict[str, Any]:
        """What `resolved` needs of the rows, by name: an array or a Ragged for each; `encode` gives them too."""
        return {}

    def finish(self) -> dict[str, np.ndarray]:
        """End of fitting: column -> final id of each provisional id. UserError if the column cannot be learned."""
        return {}

    def state(self) -> dict[str, Any]:
        """What was fitted, as JSON."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Fitted as the problem whose `state` this was."""

    @abstractmethod
    def decode(self, outputs: Mapping[str, Features]) -> DecodedRows:
        """The answers of a batch, copied to host memory once; outputs are those of layers by target column."""

    def resolved(self, decoded: Any, kept: Mapping[str, Any], windows: Windows | None) -> Any:
        """The answers of rows from those of their windows (None = each row is one), with what was kept of the rows."""
        return decoded

    def tune(self, decoded: Any, targets: Mapping[str, Any]) -> None:
        """Choose by validation rows what decoding leaves open, such as thresholds."""

    def check_fields(self, fields: Iterable[str]) -> str | None:
        """A sentence for the first of these predict_fields that is not known, or None."""
        known = self._fields()
        for field in fields:
            if field not in known and not self._may_be_field(field):
                return f"unknown field '{field}'.{did_you_mean(field, known) or known_names(known)}"
        return None

    def predictions(self, rows: Sequence[Row], decoded: Any, fields: Sequence[str] | None = None) -> list[Prediction]:
        """The fields of each row; rows and decoded are aligned. None = the default fields."""
        assert len(rows) == len(decoded)
        fields = self.default_fields if fields is None else fields
        columns = [self._field(field, decoded) for field in fields]
        return [
            Prediction(row, dict(zip(fields, cells, strict=True))) for row, *cells in zip(rows, *columns, strict=True)
        ]

    def check_metric(self, name: str) -> str | None:
        """Why this metric cannot be computed, or None; ask again once the labels are known."""
        has_groups = self.group_by is not None
        return metrics.check_metric(name, self.name, self.metric_labels, has_groups, self.positive_label)

    def higher_is_better(self, name: str) -> bool:
        """Whether a higher score of this metric is the better one."""
        return metrics.higher_is_better(name, self.name)

    def score(self, names: Sequence[str], decoded: Any, targets: Mapping[str, Any]) -> Scores:
        """Metric name -> score. targets are the arrays that `encode` gave, with final ids."""
        return metrics.score(names, self.name, self.answers(decoded, targets))

    def answers(self, decoded: Any, targets: Mapping[str, Any]) -> metrics.Scorable:
        """What the metrics read."""
        labels, positive = self.labels or (), self.positive_label
        return metrics.Answers(
            targets=targets[self.target_columns[0]],
            scores=decoded.scores.astype(np.float64),
            labels=labels,
            positive=labels.index(positive) if positive in labels else None,
            groups=targets.get(self.group_by) if self.group_by is not None else None,
        )

    def right_cell(self, row: Row) -> str:
        """What is right for a row, as its file says it."""
        return row.cells.get(self.target_columns[0], "")

    def right_rows(self, decoded: Any, targets: Mapping[str, Any]) -> np.ndarray:
        """bool of N, which rows are answered exactly; only where answers are exact."""
        raise AssertionError(f"{type(self).__name__} has no exact answers")

    @abstractmethod
    def _encode_column(self, column: str, rows: Sequence[Row], errors: list[str], growing: bool) -> Any:
        """The values of a target column; adds to errors where they are empty."""

    def _fields(self) -> list[str]:
        """The known predict_fields."""
        return list(self.default_fields)

    def _may_be_field(self, field: str) -> bool:
        """Whether a field may turn out to be known later."""
        return False

    @abstractmethod
    def _field(self, field: str, decoded: Any) -> list[Any]:
        """The cells of one predict_field, one for each row."""


def group_ids(column: str, rows: Sequence[Row], errors: list[str]) -> np.ndarray:
    """int64, which group each row belongs to, the same in every file; adds to errors where that is not said."""
    cells = [row.cells.get(column, "") for row in rows]
    hashes = {cell: _hash(cell) for cell in set(cells)}
    if "" in hashes:
        for at, cell in enumerate(cells):
            errors[at] = errors[at] or ("" if cell else f"column {column}, which groups rows, is empty.")
    return np.fromiter((hashes[cell] for cell in cells), np.int64, len(cells))


def words_column(inputs: InputsConf, branch: str) -> str:
    """The column of the file that holds the words of a branch."""
    columns = inputs.model_inputs.get(branch, [])
    return next((column for column in columns if column in (inputs.file_header or columns)), "")


def _hash(text: str) -> int:
    """A number that is the same in every process, unlike hash()."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little", signed=True)
