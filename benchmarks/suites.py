"""What a suite of tasks is called, and what is told of it before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """A command of benchmark.py; its tasks stand in benchmarks.tasks."""

    title: str
    about: str
    usual: str
    """The model that is trained where none is named."""


COMMANDS: Mapping[str, Suite] = {
    "glue": Suite("GLUE", "train on the tasks of GLUE", "bilstm_attention"),
    "wikiqa": Suite("WikiQA", "train on WikiQA", "bilstm_attention"),
    "tagging": Suite("Tagging", "train on CoNLL-2003", "bilstm"),
    "joint": Suite("Intent and slots", "train on SNIPS, intent and slots", "bilstm_crf"),
    "reading": Suite("Reading", "train on SQuAD 1.1", "drqa"),
    "queries": Suite("Scores of BERT", "train NeuronBlocks' students on the scores of its teachers", "classifier"),
    "distillation": Suite("Distillation", "train students of several teachers, by every method", "average"),
}
