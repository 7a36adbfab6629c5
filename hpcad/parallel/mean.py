"""The mean over the samples of all ranks, as one differentiable number."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import to_host
from hpcad.parallel.communicator import Communicator
from hpcad.parallel.world import init
from hpcad.primitives.elementwise import multiply
from hpcad.primitives.reduction import broadcast_to


def _global_mean(x: Any, *, count: int, shape: Any, communicator: Communicator) -> Any:
    total = np.array([to_host(x).sum(dtype=np.float64)])
    communicator.allreduce(total, "sum", "mean")
    return x.dtype.type(total[0] / count)


def _global_mean_vjp(
    g: Any, _y: Any, _x: Any, count: int, shape: Any, communicator: Communicator
) -> Any:
    """``W g / N``: the sum of the (equal) cotangents of all ranks, over the number of samples."""
    return broadcast_to(multiply(g, communicator.size / count), shape)


global_mean = Primitive(
    "global_mean", _global_mean, lambda _x, **_: (), [_global_mean_vjp], jvp="linear"
)


def mean(values: Any, communicator: Communicator | None = None, count: int | None = None) -> Any:
    """Mean of per-sample values over the samples of all ranks; the same on every rank.

    Collective. Use it for the loss when ranks may hold different numbers of samples:
    ``parallel.mean(losses).backward()`` gives the exact gradient of the mean over the global
    batch.

    Parameters
    ----------
    values : array, shape (n,) or any
        This rank's values; n may differ between ranks and may be 0.
    communicator : Communicator, optional
        That of the world when left out.
    count : int, optional
        Number of values on all ranks together, if it is known; saves one small message.

    Returns
    -------
    scalar
        ``sum over ranks of sum(values) / count``.

    Notes
    -----
    Adjoint convention: the VJP of a collective is the exact adjoint of the stacked linear map
    over all ranks. The result is replicated, so each rank seeds the same cotangent ``g`` and the
    adjoint is ``W g / N`` with W the world size. The objective of data-parallel training is the
    mean over ranks of their (here equal) losses, whose 1 / W cancels the W.
    """
    group = communicator or init().communicator
    if count is None:
        own = np.array([np.size(values) if not hasattr(values, "size") else values.size], np.int64)
        group.allreduce(own, "sum", "count of mean")
        count = int(own[0])
    return global_mean(values, count=count, shape=tuple(np.shape(values)), communicator=group)
