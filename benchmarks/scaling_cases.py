"""The models of the scaling studies and their data, which each rank makes for itself.

A sample is a function of its global number, so the global batch of a step is the same however
many ranks divide it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpcad.backend import Stream
from hpcad.models import CNN, MLP, CNNConfig, MLPConfig
from hpcad.models.classifier import Classifier

POOL = 8  # global batches; the steps go round and round them
CLASSES = 10


@dataclass(frozen=True)
class ScalingCase:
    """A model of the studies.

    Attributes
    ----------
    title : str
    make : callable
        A new model, not initialised.
    sample : tuple of int
        Shape of one input.
    strong_batch, weak_batch : int
        Default batch of all ranks together, and of each rank.
    """

    title: str
    make: Callable[[], Classifier]
    sample: tuple[int, ...]
    strong_batch: int
    weak_batch: int


CASES = {
    "mlp": ScalingCase(
        "MLP, four hidden layers of 1024 (17 MB of gradients)",
        lambda: MLP(MLPConfig([1024] * 4), 1024, CLASSES),
        (1024,),
        256,
        256,
    ),
    "cnn": ScalingCase(
        "CNN 32-64 3x3, linear 128, images of 28x28 (1.7 MB of gradients)",
        lambda: CNN(CNNConfig([32, 64], 128), (28, 28), CLASSES),
        (28, 28),
        128,
        64,
    ),
    "tiny": ScalingCase(
        "MLP 64-32-10, for a look at the programs themselves",
        lambda: MLP(MLPConfig([32]), 64, CLASSES),
        (64,),
        24,
        12,
    ),
}


def part(batch: int, rank: int, size: int) -> range:
    """Places of the global batch that a rank holds: contiguous, sizes differing by at most 1."""
    return range(batch * rank // size, batch * (rank + 1) // size)


def make_batches(
    case: ScalingCase, batch: int, mine: range, count: int = POOL
) -> list[dict[str, np.ndarray]]:
    """Return this rank's part of the first ``count`` global batches.

    Inputs are uniform with mean 0 and variance 1, labels uniform over the classes.
    """
    inputs, labels = Stream(3, "inputs"), Stream(3, "labels")
    width = int(np.prod(case.sample))
    made = []
    for k in range(count):
        ids = np.arange(k * batch + mine.start, k * batch + mine.stop)
        x = (inputs.uniform_rows(ids, width, np.float32) - np.float32(0.5)) * np.float32(12**0.5)
        y = labels.uniform_rows(ids, 1, np.float32)[:, 0] * CLASSES
        made.append({"x": x.reshape(-1, *case.sample), "y": y.astype(np.int64)})
    return made
