"""The linear collectives, and which is whose adjoint.

Over the stacked arrays of all ranks each is a matrix of 0 and 1 with an identity in every 1; its
transpose is again a collective of this table:

=====================  =====================================  ===========================
primitive              what rank r gets                       adjoint
=====================  =====================================  ===========================
``allreduce_sum``      the sum of all                         ``allreduce_sum``
``reduce_sum``         the root: the sum; others: zeros       ``bcast``
``bcast``              what the root has                      ``reduce_sum``
``gather``             the root: all blocks; others: zeros    ``scatter``
``scatter``            block r of the root's                  ``gather``
``allgather``          all blocks                             ``reduce_scatter_sum``
``reduce_scatter_sum`` the sum of everyone's block r          ``allgather``
``alltoall``           block r of everyone's                  ``alltoall``
``scan_sum``           the sum over ranks 0 to r              ``scan_sum`` from the end
=====================  =====================================  ===========================
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.parallel.collectives.collective import linear
from hpcad.parallel.communicator import Communicator
from hpcad.primitives import shapes

Shape = tuple[int, ...]

# -- the exchanges: host arrays in, host arrays out ----------------------------------------------


def _allreduce(x: np.ndarray, *, communicator: Communicator) -> np.ndarray:
    communicator.allreduce(x, "sum")
    return x


def _reduce(x: np.ndarray, *, root: int, communicator: Communicator) -> np.ndarray:
    communicator.reduce(x, "sum", root)
    return x if communicator.rank == root else np.zeros_like(x)


def _bcast(x: np.ndarray, *, root: int, communicator: Communicator) -> np.ndarray:
    communicator.broadcast(x, root)
    return x


def _gather(
    x: np.ndarray, *, root: int, elsewhere: int, count: int, communicator: Communicator
) -> np.ndarray:
    here = communicator.rank == root
    out = np.zeros(_gathered(x.shape, root=root, elsewhere=elsewhere, count=count,
                             communicator=communicator), x.dtype)  # fmt: skip
    communicator.gather(x, out if here else None, root)
    return out


def _scatter(
    x: np.ndarray, *, root: int, elsewhere: int, count: int, communicator: Communicator
) -> np.ndarray:
    out = np.empty((count, *x.shape[1:]), x.dtype)
    communicator.scatter(x if communicator.rank == root else None, out, root)
    return out


def _allgather(x: np.ndarray, *, communicator: Communicator) -> np.ndarray:
    out = np.empty((communicator.size * x.shape[0], *x.shape[1:]), x.dtype)
    communicator.allgather(x, out)
    return out


def _reduce_scatter(x: np.ndarray, *, communicator: Communicator) -> np.ndarray:
    out = np.empty((x.shape[0] // communicator.size, *x.shape[1:]), x.dtype)
    communicator.reduce_scatter(x, out, "sum")
    return out


def _alltoall(x: np.ndarray, *, communicator: Communicator) -> np.ndarray:
    out = np.empty_like(x)
    communicator.alltoall(x, out)
    return out


def _scan(x: np.ndarray, *, reverse: bool, communicator: Communicator) -> np.ndarray:
    communicator.scan(x, "sum", reverse)
    return x


# -- shape rules ---------------------------------------------------------------------------------


def _gathered(
    x: Shape, *, root: int, elsewhere: int, count: int, communicator: Communicator
) -> Shape:
    rows = communicator.size * count if communicator.rank == root else elsewhere
    return (rows, *x[1:])


def _scattered(
    x: Shape, *, root: int, elsewhere: int, count: int, communicator: Communicator
) -> Shape:
    return (count, *x[1:])


def _times_ranks(x: Shape, *, communicator: Communicator) -> Shape:
    return (communicator.size * x[0], *x[1:])


def _over_ranks(x: Shape, *, communicator: Communicator) -> Shape:
    return (x[0] // communicator.size, *x[1:])


# -- the table -----------------------------------------------------------------------------------


def _from_the_other_end(*, reverse: bool, communicator: Communicator) -> dict[str, Any]:
    return {"reverse": not reverse, "communicator": communicator}


# fmt: off
allreduce_sum: Primitive = linear(
    "allreduce_sum", _allreduce, shapes.same, lambda: allreduce_sum)
reduce_sum: Primitive = linear(
    "reduce_sum", _reduce, shapes.same, lambda: bcast)
bcast: Primitive = linear(
    "bcast", _bcast, shapes.same, lambda: reduce_sum)
gather: Primitive = linear(
    "gather_blocks", _gather, _gathered, lambda: scatter)
scatter: Primitive = linear(
    "scatter_blocks", _scatter, _scattered, lambda: gather)
allgather: Primitive = linear(
    "allgather", _allgather, _times_ranks, lambda: reduce_scatter_sum)
reduce_scatter_sum: Primitive = linear(
    "reduce_scatter_sum", _reduce_scatter, _over_ranks, lambda: allgather)
alltoall: Primitive = linear(
    "alltoall", _alltoall, shapes.same, lambda: alltoall)
scan_sum: Primitive = linear(
    "scan_sum", _scan, shapes.same, lambda: scan_sum, _from_the_other_end)
# fmt: on
