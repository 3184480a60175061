"""The catalogue of teachers and of the ways to weigh them: importing it registers them all."""

from distillation.base import TEACHERS, Teacher
from distillation.ensemble import Ensemble
from distillation.policy import Reinforced
from distillation.run import Run
from distillation.scores import Scores
from distillation.transformers_teacher import Transformers
from distillation.weighting import WEIGHTINGS, Weighting

__all__ = [
    "TEACHERS",
    "WEIGHTINGS",
    "Ensemble",
    "Reinforced",
    "Run",
    "Scores",
    "Teacher",
    "Transformers",
    "Weighting",
]
