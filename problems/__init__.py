"""The catalogue of problems: importing it registers them all under their dataset_type."""

from problems.base import PROBLEMS, Decoded, Problem
from problems.classification import Classification
from problems.multi_label import MultiLabel
from problems.multi_target import MultiTarget
from problems.reading_comprehension import ReadingComprehension
from problems.regression import Regression
from problems.sequence_tagging import SequenceTagging

__all__ = [
    "PROBLEMS",
    "Classification",
    "Decoded",
    "MultiLabel",
    "MultiTarget",
    "Problem",
    "ReadingComprehension",
    "Regression",
    "SequenceTagging",
]
