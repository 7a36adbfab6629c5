"""The step loop and what surrounds it: job files, progress, metrics, phases."""

from hpcad.training.prepare import Prepare
from hpcad.training.result import Result
from hpcad.training.trainer import Trainer

__all__ = ["Prepare", "Result", "Trainer"]
