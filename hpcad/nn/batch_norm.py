"""Batch normalisation (Ioffe and Szegedy, arXiv:1502.03167)."""

from __future__ import annotations

import math
from typing import Any

from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import Tensor
from hpcad.errors import ConfigError, ShapeError
from hpcad.nn import initializers as init
from hpcad.nn.buffer import Buffer
from hpcad.nn.context import current_step
from hpcad.nn.module import InitializedParameter, Module
from hpcad.nn.precision import in_single, like
from hpcad.primitives import reduction
from hpcad.primitives.elementwise import (
    add,
    cast,
    divide,
    floating,
    maximum,
    minimum,
    multiply,
    sqrt,
    square,
    subtract,
)


class BatchNorm(Module):
    """``(x - mean) / sqrt(variance + eps) * scale + shift`` for each feature.

    Features lie on the last axis, as those of ``Linear`` and ``Conv2d`` do; mean and variance are
    taken over all other axes. Inside ``with nn.training_step(...)``, which the trainer enters, they
    are those of the batch at hand, and running averages follow them; elsewhere the running
    averages take their place.

    Parameters
    ----------
    width : int
        Features.
    momentum : float
        Weight of the batch in the running averages, in [0, 1].
    eps : float

    Attributes
    ----------
    scale, shift : Parameter, shape (width,)
    running_mean, running_variance : Buffer, shape (width,)
        Part of checkpoints. The variance is the unbiased one of ``n - 1``.

    Notes
    -----
    The running averages follow once a forward pass, also when it is recomputed, and not when the
    batch has no samples. On several ranks each has its own batch, and so averages of its own, of
    which checkpoints keep those of rank 0; :class:`hpcad.parallel.SyncBatchNorm` normalises over
    the batches of all. A function that is compiled should not use one layer in both modes.
    """

    def __init__(self, width: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        if not 0.0 <= momentum <= 1.0:
            raise ConfigError(f"the momentum of BatchNorm must lie in [0, 1], not {momentum}")
        self.scale = InitializedParameter((width,), init.ones)
        self.shift = InitializedParameter((width,), init.zeros)
        self.running_mean = Buffer((width,), init.zeros)
        self.running_variance = Buffer((width,), init.ones)
        self.momentum, self.eps = momentum, eps

    def forward(self, x: Any) -> Any:
        """Normalise ``x``, shape (..., width)."""
        if len(x.shape) < 2 or x.shape[-1] != self.scale.shape[0]:
            raise ShapeError(
                f"BatchNorm of {self.scale.shape[0]} features takes arrays (..., "
                f"{self.scale.shape[0]}) of two or more axes, not of shape {tuple(x.shape)}"
            )
        return like(self._normalised(in_single(x)), x)

    def _normalised(self, x: Any) -> Any:
        if current_step() is None:
            return self._scaled(subtract(x, self.running_mean), self.running_variance)
        x = floating(x)
        axes = tuple(range(len(x.shape) - 1))
        count, total = self.added_up(math.prod(x.shape[:-1]), reduction.sum(x, axes))
        samples = maximum(count, 1)  # of no samples, a mean of zero
        mean = divide(total, samples)
        centred = subtract(x, cast(mean, dtype=x.dtype))
        squares = self.added(reduction.sum(square(centred), axes))
        if not STATE.repeating:
            self._remember(count, mean, squares)
        return self._scaled(centred, cast(divide(squares, samples), dtype=x.dtype))

    # -- whose samples count ---------------------------------------------------------------------

    def added_up(self, count: int, total: Any) -> tuple[Any, Any]:
        """How many samples there are, and their sum, of those of this process."""
        return count, total

    def added(self, squares: Any) -> Any:
        """The sum of squared deviations of all samples, of that of this process."""
        return squares

    # -- inside ----------------------------------------------------------------------------------

    def _scaled(self, centred: Any, variance: Any) -> Any:
        factor = divide(self.scale, sqrt(add(variance, self.eps)))
        return add(multiply(centred, factor), self.shift)

    def _remember(self, count: Any, mean: Any, squares: Any) -> None:
        """Let the running averages follow; those of no samples stay."""
        weight = multiply(self.momentum, minimum(count, 1))
        variance = divide(_constant(squares), maximum(subtract(count, 1), 1))
        for buffer, now in ((self.running_mean, mean), (self.running_variance, variance)):
            change = multiply(subtract(_constant(now), buffer.value), weight)
            buffer.shift_by(cast(change, dtype=buffer.dtype))


def _constant(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x
