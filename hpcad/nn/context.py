"""The training step that layers with randomness run in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend import Stream
from hpcad.errors import ShapeError


@dataclass(frozen=True)
class TrainingStep:
    """What random layers are keyed by.

    Attributes
    ----------
    seed : int
    step : int, or array or tensor of int, shape ()
        Number of the optimizer step. In a function that is compiled it should be an argument
        of it, because a program keeps a Python number as it is.
    ids : array or tensor of int, shape (n,), optional
        Global sample ids of the local batch.
    """

    seed: int
    step: Any
    ids: Any = None

    def stream(self, name: str) -> Stream:
        """Return the random stream of a layer."""
        return Stream(self.seed, name)

    def samples(self, count: int) -> Any:
        """Return the global ids of the ``count`` samples at hand."""
        if self.ids is None:
            return np.arange(count)
        if self.ids.shape[0] != count:
            raise ShapeError(
                f"the training step holds {self.ids.shape[0]} sample ids, but a random layer got "
                f"{count} rows; its first axis must be the samples"
            )
        return self.ids


# A context variable, so that a function that is recomputed sees the step of its first run.
_current: ContextVar[TrainingStep | None] = ContextVar("training step", default=None)


def current_step() -> TrainingStep | None:
    """Return the training step this thread is in, or None in evaluation."""
    return _current.get()


@contextmanager
def training_step(seed: int, step: Any, ids: Any = None) -> Iterator[None]:
    """Run a forward pass in training mode; see :class:`TrainingStep`."""
    before = _current.get()
    _current.set(TrainingStep(seed, step, ids))
    try:
        yield
    finally:
        _current.set(before)
