"""The table of `--check`: layers, shapes, parameters; sizes that only the data tells stand as letters."""

from dataclasses import dataclass

from core.types import Spec
from engine.experiment import UNFITTED_SIZE, Experiment, make_plan, make_problem, unfitted_branches
from model_zoo.graph import parameter_counts


@dataclass(frozen=True)
class Count:
    """A number of parameters: so many, and so many more for each word of the vocabulary (V) and each label (C)."""

    fixed: int = 0
    per_word: int = 0
    per_label: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.fixed + other.fixed, self.per_word + other.per_word, self.per_label + other.per_label)

    def __str__(self) -> str:
        terms = [(self.fixed, ""), (self.per_word, " V"), (self.per_label, " C")]
        return " + ".join(f"{count:,}{letter}" for count, letter in terms if count) or "0"


def summary(experiment: Experiment) -> str:
    """A table with one line per layer: id, block, inputs, output shape, parameters."""
    plan, problem = make_plan(experiment.conf), make_problem(experiment.conf.inputs)
    size, labels = UNFITTED_SIZE, problem.num_targets
    graph, more_words, more_labels = (
        experiment.trace_sizes(unfitted_branches(plan, size + words), labels or size + targets)
        for words, targets in ((0, 0), (1, 0), (0, 1))
    )
    here, with_word, with_label = map(parameter_counts, (graph, more_words, more_labels))
    counts = {}
    for layer, count in here.items():
        per_word, per_label = with_word[layer] - count, with_label[layer] - count
        counts[layer] = Count(count - size * (per_word + per_label), per_word, per_label)

    def shape(address: str) -> str:
        spec, grown = graph.specs[address], more_labels.specs[address]
        return str(Spec(spec.axes, spec.sizes)) if spec.sizes == grown.sizes else " x ".join([*spec.axes[:-1], "C"])

    lines = [("layer", "block", "inputs", "output", "parameters")]
    assert graph.embedding is not None
    for number, branch in enumerate(graph.branches):
        shown = "(shared)" if number else str(counts[graph.embedding.id])
        lines.append((branch, graph.embedding.block, ", ".join(plan.branches[branch]), shape(branch), shown))
    for step in graph.layers:
        shown = f"(shared with {step.shares})" if step.shares else str(counts[step.id])
        lines.append((step.id, step.block, ", ".join(step.inputs), shape(step.id), shown))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    rule = "  ".join("-" * width for width in widths)
    total = sum(counts.values(), Count())
    legend = "B rows, T tokens, V words of the vocabulary" + (", C labels" if total.per_label else "")
    return "\n".join([rows[0], rule, *rows[1:], rule, f"{total} parameters ({legend})"])
