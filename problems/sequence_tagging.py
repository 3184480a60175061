"""Sequence tagging: each token has one of several labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from core.config import InputsConf
from core.linear_chain import PARTS, Chain, best_path
from core.types import Features, Row, Spec
from problems import metrics
from problems.base import PROBLEMS, Problem, words_column
from problems.labels import LabelledProblem
from problems.measures import right_texts
from problems.tags import Scheme, Tags, parse, retagged, types_of
from text.ragged import Ragged
from text.token_splitter import at_spaces


@dataclass(frozen=True)
class DecodedTags:
    """The label ids that a model gave to the tokens of texts, in host memory."""

    tags: Ragged

    def __len__(self) -> int:
        return len(self.tags)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The answers of several batches one after the other."""
        values, lengths = ([getattr(part.tags, name) for part in parts] for name in ("values", "lengths"))
        return cls(Ragged.of_lengths(np.concatenate(values), np.concatenate(lengths)))

    def taken(self, order: np.ndarray) -> Self:
        """The answers at these places, in this order."""
        return type(self)(self.tags.taken(order))


@PROBLEMS.register
class SequenceTagging(LabelledProblem):
    """One label for each word of a text; words and labels stand in their cells with spaces between them.

    Output: a score for each label (B x T x C), or the potentials of a CRF.
    """

    class Conf(Problem.Conf):
        ignored = {}
        tagging_scheme: Scheme | None = None
        """Scheme of the tags in the files; tags that break it make a bad row. null = not checked."""
        learned_tagging_scheme: Scheme | None = None
        """Scheme in which the model learns the spans; predictions come in that of the files. null = the same."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.learned_tagging_scheme is not None and self.tagging_scheme is None:
                raise ValueError("learned_tagging_scheme needs tagging_scheme, that of the files.")

    name = "sequence_tagging"
    own_metrics = metrics.TAGGING
    without_effect = {
        "positive_label": "Spans are scored by their type, as in f1@PER.",
        "group_by": "No metric of tags has groups.",
    }
    default_metrics = ("f1", "accuracy")
    default_fields = ("prediction",)
    has_confidences = False

    conf: Conf

    def __init__(self, inputs: InputsConf) -> None:
        super().__init__(inputs)
        self.group_by = None  # see without_effect
        self.branch = next(iter(inputs.model_inputs), "")
        self.words_column = words_column(inputs, self.branch)
        """The column whose words have the labels."""
        self.scheme = self.conf.tagging_scheme
        self.learned_scheme = self.conf.learned_tagging_scheme or self.scheme

    @classmethod
    def plan(cls, inputs: InputsConf) -> dict[str, Any]:
        """Each word of the first branch keeps its tag."""
        tagged = next(iter(inputs.model_inputs.values()), [])
        return {"tagged": tagged, "max_lengths": {}, "fixed_lengths": {}, "add_start_end": False}

    @property
    def metric_labels(self) -> tuple[str, ...] | None:
        """The types of the spans that the labels mark."""
        return None if self.labels is None else tuple(types_of(self.labels))

    def target_specs(self) -> dict[str, Spec]:
        """Label ids of B x T, with the labels where they are known."""
        texts = frozenset([self.branch])
        return {
            column: Spec("BT", ids=True, labels=labels.names, texts=texts) for column, labels in self._labels.items()
        }

    def check_output(self, spec: Spec, column: str) -> None:
        """ValueError unless there is a score for each label of each token."""
        self._check_scores(spec.expect("BTD").sizes.get("D"))

    def state(self) -> dict[str, Any]:
        """The labels of each target column, and the schemes."""
        return {**super().state(), "schemes": [self.scheme, self.learned_scheme]}

    def decode(self, outputs: Mapping[str, Features]) -> DecodedTags:
        """The best label of each token, or the best path through the potentials of a CRF."""
        (output,) = outputs.values()
        is_chain = set(PARTS) <= set(output.parts)
        tags_BT = (best_path(Chain.of(output)) if is_chain else output.values.argmax(-1)).cpu().numpy()
        lengths_B = output.host_lengths().numpy()
        return DecodedTags(Ragged.of_lengths(tags_BT[np.arange(tags_BT.shape[1]) < lengths_B[:, None]], lengths_B))

    def answers(self, decoded: DecodedTags, targets: Mapping[str, Any]) -> metrics.TagAnswers:
        """What the metrics read."""
        right = targets[self.target_columns[0]]
        return metrics.TagAnswers(
            right.values, decoded.tags.values, right.firsts, self.labels or (), self.metric_labels or ()
        )

    def right_rows(self, decoded: DecodedTags, targets: Mapping[str, Any]) -> np.ndarray:
        """Which texts have the right label at every token."""
        right = targets[self.target_columns[0]]
        return right_texts(right.values, decoded.tags.values, right.firsts)

    def _encode_column(self, column: str, rows: Sequence[Row], errors: list[str], growing: bool) -> Ragged:
        """Label ids; no label in rows with an error."""
        tags = [[] if error else at_spaces(row.cells.get(column, "")) for row, error in zip(rows, errors, strict=True)]
        for at, row in enumerate(rows):
            words = 0 if errors[at] else len(at_spaces(row.cells.get(self.words_column, "")))
            if not errors[at] and len(tags[at]) != words:
                errors[at] = f"column {column} has {len(tags[at])} tags for {words} words."
                tags[at] = []
        lengths = np.fromiter(map(len, tags), np.int64, len(tags))
        flat = [tag for row_tags in tags for tag in row_tags]
        if self.scheme is not None:
            flat = self._learned(flat, lengths, errors)
        return self._encode_lists(column, flat, lengths, errors, growing)

    def _learned(self, flat: list[str], lengths: np.ndarray, errors: list[str]) -> list[str]:
        """The tags in the scheme of the model; tags that break the scheme of the files are noted."""
        assert self.scheme is not None and self.learned_scheme is not None
        tags, types = _tags(flat, lengths)
        legal_N = retagged(tags, self.scheme).prefixes == tags.prefixes
        known = {tag: tag == "O" or parse(tag)[0] > 0 for tag in set(flat)}
        legal_N &= np.fromiter((known[tag] for tag in flat), bool, len(flat))
        row_N = np.repeat(np.arange(len(lengths)), lengths)
        for at in np.flatnonzero(~legal_N)[::-1]:  # the first of a row is noted last
            row, before = int(row_N[at]), "at the start" if tags.firsts[at] else f"after '{flat[at - 1]}'"
            errors[row] = f"tag '{flat[at]}' {before} is no {self.scheme}."
        return retagged(tags, self.learned_scheme).texts(types)

    def _field(self, field: str, decoded: DecodedTags) -> list[Any]:
        assert field == "prediction" and self.labels is not None
        tags = decoded.tags
        texts = [self.labels[at] for at in tags.values.tolist()]
        if self.scheme != self.learned_scheme:
            assert self.scheme is not None
            found, types = _tags(texts, tags.lengths)
            texts = retagged(found, self.scheme).texts(types)
        ends = tags.offsets.tolist()
        return [" ".join(texts[start:end]) for start, end in pairwise(ends)]


def _tags(flat: Sequence[str], lengths: np.ndarray) -> tuple[Tags, list[str]]:
    """Tags of texts of these lengths, and the types that occur."""
    labels = list(dict.fromkeys(flat))
    types = types_of(labels)
    place = {label: at for at, label in enumerate(labels)}
    ids = Ragged.of_lengths(np.fromiter((place[label] for label in flat), np.int64, len(flat)), lengths)
    return Tags.of(ids.values, labels, types, ids.firsts), types
