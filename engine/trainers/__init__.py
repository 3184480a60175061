"""The catalogue of trainers."""

from engine.trainers.base import TRAINERS
from engine.trainers.standard import Standard

__all__ = ["TRAINERS", "Standard"]
