"""The table of `--check`: layers, shapes, parameters; sizes that only the data tells stand as letters."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass

from core.types import Spec
from engine.draft import Draft, make_plan, make_problem, unfitted_branches
from engine.experiment import Experiment
from engine.tracing import UNFITTED_SIZE, trace_more
from model_zoo.graph import Graph, parameter_counts
from problems.base import Problem
from text.input_plan import InputPlan


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


@dataclass(frozen=True)
class Sizes:
    """The layers of a config before its data is read: their shapes and parameters, whatever the data will be."""

    graph: Graph
    counts: Mapping[str, Count]
    """Layer -> its parameters; shared ones count once."""
    more_labels: Graph
    """The same with one label more."""

    @classmethod
    def of(cls, draft: Draft, problem: Problem) -> "Sizes":
        """Those of the sound layers of a config."""
        plan = make_plan(draft)
        graphs = [
            trace_more(draft, unfitted_branches(plan, UNFITTED_SIZE + words), problem, targets)
            for words, targets in ((0, 0), (1, 0), (0, 1), (0, 2))
        ]
        numbers = [parameter_counts(traced) for traced in graphs]
        counts = {layer: Count.of(*(number[layer] for number in numbers)) for layer in numbers[0]}
        return cls(graphs[0], counts, graphs[2])

    @classmethod
    def fitted(cls, graph: Graph) -> "Sizes":
        """Those of a model whose data is known."""
        return cls(graph, {layer: Count(fixed=count) for layer, count in parameter_counts(graph).items()}, graph)

    @property
    def total(self) -> Count:
        """All parameters."""
        return sum(self.counts.values(), Count())

    def legend(self, plan: InputPlan) -> str:
        """What the letters stand for in shapes and numbers of parameters."""
        entries = "entries of each vocabulary" if len({*plan.clusters.values()}) > 1 else "words of the vocabulary"
        known = {"V": (entries, self.total.per_word), "C": ("labels", self.total.per_label or self.total.per_pair)}
        return ", ".join(
            ["B rows", "T tokens", *(f"{letter} {what}" for letter, (what, is_used) in known.items() if is_used)]
        )

    def shape(self, address: str) -> str:
        """What stands at an address, C for a number of labels that only the data tells."""
        spec, grown = self.graph.spec_at(address), self.more_labels.spec_at(address)
        assert spec is not None and grown is not None
        return str(Spec(spec.axes, spec.sizes)) if spec.sizes == grown.sizes else " x ".join([*spec.axes[:-1], "C"])


def summary(experiment: Experiment) -> str:
    """A table with one line per layer: id, block, inputs, output shape, parameters."""
    plan = make_plan(experiment.conf)
    sizes = Sizes.of(Draft.of(experiment.conf), make_problem(experiment.conf.inputs))
    graph, counts = sizes.graph, sizes.counts
    lines = [("layer", "block", "inputs", "output", "parameters")]
    embedding = graph.embedding
    for number, branch in enumerate(embedding.inputs if embedding is not None else ()):
        assert embedding is not None
        shown = "(shared)" if number else str(counts[embedding.id])
        lines.append((branch, embedding.block, ", ".join(plan.branches[branch]), sizes.shape(branch), shown))
    for step in graph.layers:
        shown = f"(shared with {step.shares})" if step.shares else str(counts[step.id])
        lines.append((step.id, step.block, ", ".join(step.inputs), sizes.shape(step.id), shown))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([rows[0], rule, *rows[1:], rule, f"{sizes.total} parameters ({sizes.legend(plan)})"])
