"""Several targets: each a problem of its own, answered by an output layer of its own."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

import core.conf
from core.conf import JSON, Choice
from core.config import InputsConf
from core.errors import did_you_mean, known_names
from core.types import Features, Row, Scores, Spec
from problems import metrics
from problems.base import PROBLEMS, DecodedRows, Problem
from problems.measures import NAN
from text.tokens import Tokens


class TargetConf(core.conf.Conf):
    """What one of several targets is: a problem, and the keys of `inputs` that belong to its labels."""

    choice: ClassVar[Choice | None] = Choice(tag="dataset_type", registry="problem", conf=None)
    extra: ClassVar[str | None] = "settings"

    dataset_type: str
    """The problem."""
    labels: list[str] | None = None
    """All labels in the order of their ids; by default those of the training rows by descending frequency."""
    positive_label: str | None = None
    """The label that binary metrics take as positive; by default "1" where the labels are "0" and "1"."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The problem's own keys, which stand beside the others."""

    def as_inputs(self, inputs: InputsConf, column: str) -> InputsConf:
        """The inputs of a config with this target alone."""
        own = {name: getattr(self, name) for name in ("dataset_type", "labels", "positive_label", "settings")}
        return dataclasses.replace(inputs, target=[column], **own)

    def problem(self) -> type[Problem]:
        """The class of the problem."""
        found: type[Problem] = PROBLEMS[self.dataset_type]
        return found


@dataclass(frozen=True)
class DecodedTargets:
    """What a model answered for each target."""

    by_column: Mapping[str, DecodedRows]

    def __len__(self) -> int:
        return len(next(iter(self.by_column.values())))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The answers of several batches one after the other."""
        first = parts[0].by_column
        return cls(
            {
                column: decoded.concatenate([part.by_column[column] for part in parts])
                for column, decoded in first.items()
            }
        )

    def taken(self, order: np.ndarray) -> Self:
        """The answers at these places, in this order."""
        return type(self)({column: decoded.taken(order) for column, decoded in self.by_column.items()})


@PROBLEMS.register
class MultiTarget(Problem):
    """Several targets of a row, such as the intent of a request and its slots (Liu and Lane 2016).

    Each has a problem of its own in `inputs.problems`. The loss that reads an output layer together with a target says
    which target this layer answers. Metrics and fields begin with the target: `intent.accuracy`, `slots.prediction`.
    """

    class Conf(Problem.Conf):
        problems: dict[str, TargetConf] = field(default_factory=dict)
        """Target column -> its problem, such as {"dataset_type": "classification"}."""

    name = "multi_target"
    own_metrics = {"sentence_accuracy": metrics.Metric(lambda right_N, _: float(np.mean(right_N)))}

    def __init__(self, inputs: InputsConf) -> None:
        self.parts: dict[str, Problem] = {}
        super().__init__(inputs)
        problems: dict[str, TargetConf] = self.conf.problems
        for key in ("labels", "positive_label"):
            if getattr(inputs, key) is not None:
                raise ValueError(f"{key} belongs to one of the targets: write it in problems.{inputs.target[0]}.{key}.")
        for column in problems:
            if column not in inputs.target:
                hint = did_you_mean(column, inputs.target) or known_names(inputs.target)
                raise ValueError(f"problems names '{column}', which is no target.{hint}")
        for column in inputs.target:
            if column not in problems:
                raise ValueError(f'problems has nothing for target \'{column}\', such as {{"dataset_type": "..."}}.')
            if problems[column].dataset_type == self.name:
                raise ValueError(f"problems.{column}: dataset_type of a target cannot be multi_target.")
            try:
                self.parts[column] = problems[column].problem()(problems[column].as_inputs(inputs, column))
            except ValueError as error:
                raise ValueError(f"problems.{column}: {error}") from error
        parts = self.parts.items()
        self.default_metrics = [f"{column}.{name}" for column, part in parts for name in part.default_metrics]
        if self.is_exact:
            self.default_metrics = ["sentence_accuracy", *self.default_metrics]
        self.default_fields = [f"{column}.{name}" for column, part in parts for name in part.default_fields]

    @classmethod
    def plan(cls, inputs: InputsConf) -> dict[str, Any]:
        """What the problems of all targets settle."""
        own: MultiTarget.Conf = core.conf.read(cls.Conf, inputs.settings)
        settled: dict[str, Any] = {}
        for column, part in own.problems.items():
            settled |= part.problem().plan(part.as_inputs(inputs, column))
        return settled

    @classmethod
    def idle(cls, inputs: InputsConf) -> dict[str, str]:
        """Those of each target too."""
        said, shared = super().idle(inputs), dataclasses.replace(inputs, group_by=None)
        own: MultiTarget.Conf = core.conf.read(cls.Conf, inputs.settings)
        for column, part in own.problems.items():
            idle = part.problem().idle(part.as_inputs(shared, column))
            said |= {f"problems.{column}.{key}": why for key, why in idle.items()}
        return said

    @property
    def tuned(self) -> JSON:
        """What was tuned for each target."""
        return {column: part.tuned for column, part in self.parts.items()}

    @tuned.setter
    def tuned(self, tuned: JSON) -> None:
        for column, part in self.parts.items():
            part.tuned = (tuned or {}).get(column)

    @property
    def answer_sizes(self) -> dict[str, int | None]:
        """The sizes of the answers to all targets."""
        return {column: size for part in self.parts.values() for column, size in part.answer_sizes.items()}

    @property
    def is_exact(self) -> bool:
        """Whether the answers to all targets are."""
        return all(part.is_exact for part in self.parts.values())

    def target_specs(self) -> dict[str, Spec]:
        """The spec of each target column."""
        return {column: spec for part in self.parts.values() for column, spec in part.target_specs().items()}

    def check_output(self, spec: Spec, column: str) -> None:
        """ValueError if a layer with this output cannot answer this target column."""
        self.parts[column].check_output(spec, column)

    def encode(
        self, rows: Sequence[Row], growing: bool, tokens: Mapping[str, Tokens] | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """The values of each target column; the first error of each row counts."""
        arrays: dict[str, Any] = {}
        errors: list[str] = []
        for part in self.parts.values():
            encoded, errors = part.encode(rows, growing, tokens)
            rows = [row._replace(error=error) for row, error in zip(rows, errors, strict=True)]
            arrays |= encoded
        return arrays, errors

    def finish(self) -> dict[str, np.ndarray]:
        """End of fitting for every target."""
        return {column: remap for part in self.parts.values() for column, remap in part.finish().items()}

    def state(self) -> dict[str, Any]:
        """What was fitted for each target."""
        return {column: part.state() for column, part in self.parts.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Fitted as the problem whose `state` this was."""
        for column, part in self.parts.items():
            part.restore(state[column])

    def decode(self, outputs: Mapping[str, Features]) -> DecodedTargets:
        """The answers of a batch to every target."""
        return DecodedTargets(
            {
                column: part.decode({name: outputs[name] for name in part.answer_sizes})
                for column, part in self.parts.items()
            }
        )

    def tune(self, decoded: DecodedTargets, targets: Mapping[str, Any]) -> None:
        """Tune each target's problem."""
        for column, part in self.parts.items():
            part.tune(decoded.by_column[column], targets)

    def check_metric(self, name: str) -> str | None:
        """Why this metric cannot be computed, or None."""
        _, part, rest = self._part_of(name)
        if part is not None:
            return part.check_metric(rest)
        if name not in self.own_metrics:
            example = f"{self.target_columns[0]}.{next(iter(self.parts.values())).default_metrics[0]}"
            return f"metric '{name}' must begin with its target, as {example} does.{known_names(self.parts)}"
        vague = [column for column, part in self.parts.items() if not part.is_exact]
        return (
            f"metric '{name}' needs answers that are right or wrong, but '{vague[0]}' is a number." if vague else None
        )

    def higher_is_better(self, name: str) -> bool:
        """Whether a higher score of this metric is the better one."""
        _, part, rest = self._part_of(name)
        return part.higher_is_better(rest) if part is not None else super().higher_is_better(name)

    def score(self, names: Sequence[str], decoded: DecodedTargets, targets: Mapping[str, Any]) -> Scores:
        """Metric name -> score."""
        scores: dict[str, float] = {}
        for column, part in self.parts.items():
            own = [rest for owner, _, rest in map(self._part_of, names) if owner == column]
            found = part.score(own, decoded.by_column[column], targets)
            scores |= {f"{column}.{name}": score for name, score in found.items()}
        for name in self.own_metrics.keys() & names:
            right_N = self.right_rows(decoded, targets)
            scores[name] = self.own_metrics[name].function(right_N, -1) if len(right_N) else NAN
        return {name: scores[name] for name in names}

    def right_rows(self, decoded: DecodedTargets, targets: Mapping[str, Any]) -> np.ndarray:
        """Which rows have the right answer to every target."""
        right = [part.right_rows(decoded.by_column[column], targets) for column, part in self.parts.items()]
        return np.logical_and.reduce(right)

    def _part_of(self, name: str) -> tuple[str, Problem | None, str]:
        """The target that a metric or field begins with, its problem, and the rest of the name."""
        column = max((column for column in self.parts if name.startswith(f"{column}.")), key=len, default="")
        return column, self.parts.get(column), name.removeprefix(f"{column}.")

    def _encode_column(self, column: str, rows: Sequence[Row], errors: list[str], growing: bool) -> Any:
        raise AssertionError("each target's problem encodes its own column")

    def _fields(self) -> list[str]:
        return [f"{column}.{name}" for column, part in self.parts.items() for name in part._fields()]

    def _may_be_field(self, field: str) -> bool:
        _, part, rest = self._part_of(field)
        return part is not None and part._may_be_field(rest)

    def _field(self, field: str, decoded: DecodedTargets) -> list[Any]:
        column, part, rest = self._part_of(field)
        assert part is not None
        return part._field(rest, decoded.by_column[column])
