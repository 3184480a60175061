"""The catalogue of trainers."""

from engine.trainers.base import TRAINERS
from engine.trainers.reinforced import Reinforced
from engine.trainers.staged import Staged
from engine.trainers.standard import Standard

__all__ = ["TRAINERS", "Reinforced", "Staged", "Standard"]
