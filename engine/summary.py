"""The table of `--check`: layers, shapes, parameters; sizes that only the data tells stand as letters."""

from dataclasses import astuple, dataclass

from core.types import Spec
from engine.draft import make_plan, make_problem, unfitted_branches
from engine.experiment import Experiment
from engine.tracing import UNFITTED_SIZE
from model_zoo.graph import parameter_counts


@dataclass(frozen=True)
class Count:
    """A number of parameters: so many, and more for each entry of a vocabulary (V), label (C), pair of labels (C²)."""

    fixed: int = 0
    per_word: int = 0
    per_label: int = 0
    per_pair: int = 0

    @classmethod
    def of(cls, here: int, with_word: int, with_label: int, with_two: int) -> "Count":
        """From the numbers for UNFITTED_SIZE words and labels, one word more, one label more, two labels more."""
        size, per_word = UNFITTED_SIZE, with_word - here
        per_pair = (with_two - 2 * with_label + here) // 2
        per_label = with_label - here - per_pair * (2 * size + 1)
        return cls(here - size * (per_word + per_label + size * per_pair), per_word, per_label, per_pair)

    def __add__(self, other: "Count") -> "Count":
        return Count(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        terms = [(self.fixed, ""), (self.per_word, " V"), (self.per_label, " C"), (self.per_pair, " C²")]
        return " + ".join(f"{count:,}{letter}" for count, letter in terms if count) or "0"


def summary(experiment: Experiment) -> str:
    """A table with one line per layer: id, block, inputs, output shape, parameters."""
    plan, problem = make_plan(experiment.conf), make_problem(experiment.conf.inputs)
    graphs = [
        experiment.trace_sizes(unfitted_branches(plan, UNFITTED_SIZE + words), problem, targets)
        for words, targets in ((0, 0), (1, 0), (0, 1), (0, 2))
    ]
    graph, _, more_labels, _ = graphs
    numbers = [parameter_counts(traced) for traced in graphs]
    counts = {layer: Count.of(*(number[layer] for number in numbers)) for layer in numbers[0]}

    def shape(address: str) -> str:
        spec, grown = graph.specs[address], more_labels.specs[address]
        return str(Spec(spec.axes, spec.sizes)) if spec.sizes == grown.sizes else " x ".join([*spec.axes[:-1], "C"])

    lines = [("layer", "block", "inputs", "output", "parameters")]
    embedding = graph.embedding
    for number, branch in enumerate(embedding.inputs if embedding is not None else ()):
        assert embedding is not None
        shown = "(shared)" if number else str(counts[embedding.id])
        lines.append((branch, embedding.block, ", ".join(plan.branches[branch]), shape(branch), shown))
    for step in graph.layers:
        shown = f"(shared with {step.shares})" if step.shares else str(counts[step.id])
        lines.append((step.id, step.block, ", ".join(step.inputs), shape(step.id), shown))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    rule = "  ".join("-" * width for width in widths)
    total = sum(counts.values(), Count())
    entries = "entries of each vocabulary" if len({*plan.clusters.values()}) > 1 else "words of the vocabulary"
    legend = f"B rows, T tokens, V {entries}" + (", C labels" if total.per_label else "")
    return "\n".join([rows[0], rule, *rows[1:], rule, f"{total} parameters ({legend})"])
