"""The teachers of a config on its validation rows: how good each is, how sure, how much they agree, what they weigh."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch

from core.errors import UserError
from core.types import Features, Outputs, Spec
from distillation import report
from distillation.base import answer_spec
from distillation.ensemble import mean_answer
from distillation.weighting import Lesson, groups_of
from engine.data import checked_scores, read_data, row_file
from engine.draft import Draft
from engine.experiment import Experiment, cache_folder
from engine.processes import Processes
from engine.teaching import Said, answers_for
from engine.terms import Weighing
from engine.workplace import make_accelerator
from losses.teacher_loss import answered, two_sided
from problems.answer_texts import answer_scores

ELEMENTS = {"BD": "rows", "BTD": "tokens", "BC": "labels of rows"}
"""Axes of an answer -> what is right or wrong."""


def teacher_report(experiment: Experiment, say: Callable[[str], None]) -> str:
    """Tables about the teachers on the validation rows. UserError where the config names none."""
    conf = experiment.conf
    if not conf.teachers:
        raise UserError(f"{experiment.source}: names no teachers.")
    data = read_data(conf, say)
    teachers = experiment.teachers(data.problem)
    _, terms = experiment.trace(data.encoder.specs(), data.problem, teachers)
    metrics, rows = checked_scores(conf, data.problem, experiment.source), data.valid
    path = conf.inputs.data_paths.valid_data_path or conf.inputs.data_paths.test_data_path or ""
    file, processes = row_file(conf, path), Processes(make_accelerator(conf))
    answers = answers_for(Draft.of(conf), teachers, data.problem, file, rows, cache_folder(conf), processes, say)
    alone = {name: given for name, given in answers.items() if not getattr(teachers[name], "members", ())}
    targets, everyone = data.problem.target_specs(), dict(answers)
    specs = {column: answer_spec(targets[column]) for column in data.problem.answer_sizes}
    if len(alone) > 1:
        means = {c: mean_answer([given[c] for given in alone.values()], spec) for c, spec in specs.items()}
        everyone["average"] = means
    said = {name: Said.of(data.problem, given, rows) for name, given in everyone.items()}
    scores = {name: what.scores(metrics) for name, what in said.items()}
    first = next(iter(specs))
    firsts = {name: given[first] for name, given in everyone.items()}
    board: Board | ReadingBoard = Board({name: firsts[name] for name in alone}, specs[first], rows.targets[first])
    if specs[first].places:
        board = ReadingBoard({name: said[name] for name in alone})
    lines = [["teacher", *metrics, *board.known]]
    for name, answer in firsts.items():
        lines.append([name, *(f"{scores[name][metric]:.4f}" for metric in metrics), *board.sureness(answer)])
    parts = [table(lines)]
    if len(alone) > 1:
        parts.append(table([["teachers", board.likeness], *board.agreements()]))
    if len(alone) > 1 and board.elements_called:
        parts.append(f"one of them is right for {board.oracle():.4f} of all {board.elements_called}")
    weighing = next((term.weighing for term in terms if term.weighing is not None), None)
    is_known = weighing is not None and weighing.conf.trainer is None  # a policy learns its weights in training
    if weighing is not None and is_known and isinstance(board, Board) and board.spec.axes == "BD":
        sign = 1 if data.problem.higher_is_better(metrics[0]) else -1
        worth = {name: sign * found[metrics[0]] for name, found in scores.items()}
        parts.append(table([*board.weights(weighing, firsts, worth)]))
    return "\n\n".join(parts)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Cells below each other."""
    columns = max(map(len, lines))
    filled = [[*line, *[""] * (columns - len(line))] for line in lines]
    widths = [max(len(line[at]) for line in filled) for at in range(columns)]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in filled]
    return "\n".join([shown[0], "  ".join("-" * width for width in widths), *shown[1:]])


@dataclass(frozen=True)
class Board:
    """The answers of teachers beside what is right, element by element: rows, tokens, or labels of rows."""

    answers: Outputs
    spec: Spec
    target: Any

    @property
    def elements_called(self) -> str | None:
        """What is right or wrong; None where answers are numbers."""
        return ELEMENTS.get(self.spec.axes)

    @property
    def known(self) -> Sequence[str]:
        """What `sureness` gives."""
        return ["log loss", "calibration error", "best temperature"] if self.elements_called else []

    @property
    def likeness(self) -> str:
        """What `agreements` gives."""
        return "agreement" if self.elements_called else "correlation"

    def elements(self, answer: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the elements that a teacher answers: their numbers, logits N x C, and what is right."""
        logits, present_B = answer.values.float(), answered(answer)
        if self.spec.axes == "BTD":
            real_BT = answer.real_mask()
            lengths = self.target.lengths
            number_BT = torch.from_numpy(self.target.offsets[:-1, None] + np.arange(real_BT.shape[1]))
            inside_BT = real_BT & (torch.arange(real_BT.shape[1]) < torch.from_numpy(lengths)[:, None])
            numbers = number_BT[inside_BT].numpy()
            return numbers, logits[inside_BT].numpy(), self.target.values[numbers]
        if self.spec.axes == "BC":
            right_NC = self.target.multi_hot(logits.shape[1])
            numbers = np.arange(right_NC.size).reshape(right_NC.shape)[present_B.numpy()].ravel()
            return numbers, two_sided(logits.reshape(-1, 1)).numpy()[numbers], right_NC.ravel()[numbers].astype(int)
        numbers = np.flatnonzero(present_B.numpy())
        return numbers, logits.numpy()[numbers], self.target[numbers]

    def sureness(self, answer: Features) -> list[str]:
        """Log loss, calibration error and best temperature."""
        if not self.elements_called:
            return []
        _, logits_NC, target_N = self.elements(answer)
        found = [measure(logits_NC, target_N) for measure in (report.log_loss, report.calibration_error)]
        return [*(f"{number:.4f}" for number in found), _temperature(report.best_temperature(logits_NC, target_N))]

    def oracle(self) -> float:
        """The share of elements for which a teacher is right: what the best choice of teachers would reach."""
        found = [(numbers, logits_NC.argmax(1) == target_N) for numbers, logits_NC, target_N in self._all()]
        seen = np.unique(np.concatenate([numbers for numbers, _ in found]))
        right = np.unique(np.concatenate([numbers[hits] for numbers, hits in found]))
        return len(right) / len(seen)

    def agreements(self) -> Iterator[list[str]]:
        """For each two teachers the share of their equal answers; of numbers the correlation."""
        are_numbers = self.spec.axes == "B"
        said = [(numbers, logits if are_numbers else logits.argmax(1)) for numbers, logits, _ in self._all()]
        for (one, (first, mine)), (other, (second, its)) in combinations(zip(self.answers, said, strict=True), 2):
            _, here, there = np.intersect1d(first, second, return_indices=True)
            yield [f"{one}, {other}", f"{report.agreement(mine[here], its[there], are_numbers):.4f}"]

    def weights(self, weighing: Weighing, given: Outputs, worth: Mapping[str, float]) -> Iterator[list[str]]:
        """The mean weight of each teacher: in all rows, by the label of the row, by whether the teacher is right.

        given  the answers of all teachers, those that are made of others, too
        worth  of each teacher its score, the higher the better
        """
        weighting = weighing.build()
        weighting.know(worth)
        lesson = Lesson([given[name] for name in weighing.names], torch.from_numpy(np.array(self.target)), self.spec)
        weights_NK = weighting(lesson)
        sums_KG, rows_KG = lesson.by_group(weights_NK)
        yield ["weight", *weighing.names]
        yield ["all rows", *(f"{mean:.4f}" for mean in weights_NK.mean(0).tolist())]
        for group, means_K in zip(groups_of(self.spec), (sums_KG / rows_KG).T.tolist(), strict=True):
            yield [group, *("" if math.isnan(mean) else f"{mean:.4f}" for mean in means_K)]

    def _all(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        return [self.elements(answer) for answer in self.answers.values()]


@dataclass(frozen=True)
class ReadingBoard:
    """What teachers say to questions, beside what is right: parts of passages."""

    said: Mapping[str, Said]
    known: Sequence[str] = ()
    likeness: str = "agreement"
    elements_called: str = "questions"

    def sureness(self, answer: Features) -> list[str]:
        """Nothing: starts and ends are sure or unsure apart."""
        return []

    def oracle(self) -> float:
        """The share of questions for which a teacher is right."""
        seen = np.unique(np.concatenate([said.numbers for said in self.said.values()]))
        right = [said.numbers[said.tuned().right_rows(said.decoded, said.rows.targets)] for said in self.said.values()]
        return len(np.unique(np.concatenate(right))) / len(seen)

    def agreements(self) -> Iterator[list[str]]:
        """For each two teachers the share of their equal answers, by exact match."""
        given = {name: self._given(said) for name, said in self.said.items()}
        for (one, mine), (other, its) in combinations(given.items(), 2):
            both = sorted(mine.keys() & its.keys())
            scores = answer_scores([mine[number] for number in both], [[its[number]] for number in both])
            yield [f"{one}, {other}", f"{scores.exact_match.mean():.4f}"]

    @staticmethod
    def _given(said: Said) -> dict[int, str]:
        """Its answers by the numbers of the questions."""
        answers: Any = said.tuned().answers(said.decoded, said.rows.targets)
        return dict(zip(said.numbers.tolist(), answers.predicted, strict=True))


def _temperature(found: float) -> str:
    """It, or that it may be beyond those that were tried."""
    lowest, highest = report.TEMPERATURES
    return f"{lowest:g} or less" if found == lowest else f"{highest:g} or more" if found == highest else f"{found:.4f}"
