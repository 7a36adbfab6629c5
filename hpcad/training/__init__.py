"""The step loop and what surrounds it: job files, progress, metrics, phases."""

from hpcad.training.prepare import Prepare
from hpcad.training.trainer import Result, Trainer

__all__ = ["Prepare", "Result", "Trainer"]
