"""The step loop and what surrounds it: job files, progress, metrics, phases."""

from hpcad.training.limits import Limits
from hpcad.training.prepare import Prepare
from hpcad.training.result import Result
from hpcad.training.trainer import Trainer

__all__ = ["Limits", "Prepare", "Result", "Trainer"]
