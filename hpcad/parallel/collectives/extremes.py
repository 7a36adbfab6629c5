"""The largest, the smallest and the product over ranks, which are not linear.

With ``y = max_r x_r`` and ``w_r`` the share of rank r in it (1 / number of ranks that attain it;
0 where it does not), elementwise:

    JVP   t_y = sum_r w_r t_r          VJP   g_r = w_r sum_s g_s

so at ties the derivative is split evenly, as :func:`hpcad.numpy.max` does. NaN is attained where
it is. Of the product ``y = prod_r x_r``, with ``o_r`` the product of the others:

    JVP   t_y = sum_r o_r t_r          VJP   g_r = o_r sum_s g_s

``o_r`` is made of all ranks' arrays, not by division, so that zeros are no exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.parallel.collectives.blocks import allgather, allreduce_sum
from hpcad.parallel.collectives.collective import on_every_rank, on_host
from hpcad.parallel.communicator import Communicator
from hpcad.primitives import shapes
from hpcad.primitives.cumulative import prod
from hpcad.primitives.elementwise import divide, equal, maximum, multiply, not_equal
from hpcad.primitives.indexing import getitem
from hpcad.primitives.joining import concatenate
from hpcad.primitives.layout import reshape


def _share(y: Any, x: Any, communicator: Communicator) -> Any:
    """1 / (number of ranks that attain y) on those, 0 on others; one reduction."""
    hit = maximum(equal(x, y), not_equal(x, x))
    weight = multiply(hit, np.finfo(x.dtype).dtype.type(1))
    return divide(weight, on_every_rank(allreduce_sum, weight, communicator=communicator))


def _others(_y: Any, x: Any, communicator: Communicator) -> Any:
    """The product of the other ranks' arrays; one gathering."""
    shape, rank = tuple(np.shape(x)), communicator.rank
    every = on_every_rank(allgather, reshape(x, (1, *shape)), communicator=communicator)
    parts = [getitem(every, np.s_[:rank]), getitem(every, np.s_[rank + 1 :])]
    return prod(concatenate(parts), 0)


def _reduction(op: str, factor: Callable[[Any, Any, Communicator], Any]) -> Primitive:
    """``y = op over ranks of x``, of which the derivative with respect to x_r is ``factor``."""

    def exchange(x: np.ndarray, *, communicator: Communicator) -> np.ndarray:
        communicator.allreduce(x, op)
        return x

    def vjp(g: Any, y: Any, x: Any, communicator: Communicator) -> Any:
        total = on_every_rank(allreduce_sum, g, communicator=communicator)
        return multiply(total, factor(y, x, communicator))

    def jvp(t: Any, y: Any, x: Any, communicator: Communicator) -> Any:
        own = multiply(t, factor(y, x, communicator))
        return on_every_rank(allreduce_sum, own, communicator=communicator)

    return Primitive(
        f"allreduce_{op}", on_host(exchange), shapes.same, [vjp], jvp=[jvp], ordered=True
    )


allreduce_max = _reduction("max", _share)
allreduce_min = _reduction("min", _share)
allreduce_prod = _reduction("prod", _others)
