"""The mean over the samples of all ranks, as one differentiable number."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import to_host
from hpcad.parallel.collectives.blocks import allreduce_sum
from hpcad.parallel.collectives.collective import on_every_rank
from hpcad.parallel.communicator import Communicator
from hpcad.parallel.world import init
from hpcad.primitives.elementwise import divide, multiply
from hpcad.primitives.reduction import broadcast_to
from hpcad.primitives.shapes import as_array


def _global_count(x: Any, *, communicator: Communicator) -> Any:
    own = np.array([x.size], np.int64)
    communicator.allreduce(own, "sum", "count of mean")
    return own.reshape(())


global_count = Primitive(
    "global_count", _global_count, lambda _x, **_: (), constant=True, ordered=True
)


def _global_mean(x: Any, count: Any, *, shape: Any, communicator: Communicator) -> Any:
    total = np.array([to_host(x).sum(dtype=np.float64)])
    communicator.allreduce(total, "sum", "mean")
    return x.dtype.type(total[0] / count)


def _alike_vjp(u: Any, _y: Any, _g: Any, communicator: Communicator) -> Any:
    total = on_every_rank(allreduce_sum, u, communicator=communicator)
    return divide(total, float(communicator.size))


# The mean over ranks of a number that is equal on all of them, for which nothing need be sent. What
# it is used for differs between ranks; so its derivative is a mean that does need it.
alike: Primitive = Primitive(
    "alike",
    lambda g, *, communicator: g.copy(),
    lambda g, *, communicator: g,
    [_alike_vjp],
    jvp=[lambda t, _y, _g, communicator: on_every_rank(alike, t, communicator=communicator)],
    ordered=True,
)


def _global_mean_vjp(
    g: Any, _y: Any, _x: Any, count: Any, shape: Any, communicator: Communicator
) -> Any:
    """``W g / N``: the sum of the (equal) cotangents of all ranks, over the number of samples."""
    g = on_every_rank(alike, g, communicator=communicator)
    return broadcast_to(multiply(g, divide(float(communicator.size), count)), shape)


global_mean = Primitive(
    "global_mean",
    _global_mean,
    lambda _x, _count, **_: (),
    [_global_mean_vjp, None],
    jvp=["linear", None],
    ordered=True,
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
        count = global_count(as_array(values), communicator=group)
    return global_mean(values, count, shape=tuple(np.shape(values)), communicator=group)
