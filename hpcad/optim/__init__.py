"""Optimizers over flat arenas, learning-rate schedules, clipping."""

from hpcad.optim.adam import Adam, AdamW
from hpcad.optim.loss_scale import LossScale
from hpcad.optim.optimizer import Optimizer
from hpcad.optim.rmsprop import RMSProp
from hpcad.optim.schedules import Constant, Schedule, WarmupCosine, WarmupLinear
from hpcad.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "LossScale",
    "Optimizer",
    "RMSProp",
    "Schedule",
    "WarmupCosine",
    "WarmupLinear",
]
