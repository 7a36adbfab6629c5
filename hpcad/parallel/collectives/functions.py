"""The differentiable collectives that users call.

All of them take an array or tensor (complex, real, or integers, which have no derivative) and an
optional communicator (that of the world when left out); all ranks of it call them in the same
order. Derivatives of any order, in both modes, are collectives again, in the exact reverse order.

The adjoint convention: the VJP of a collective is the exact adjoint of the linear map over the
stacked arrays of all ranks. What ``grad`` of a function returns on rank r is therefore the
derivative of the *sum* over ranks of what the function returned there, with respect to the
argument of rank r.
"""

from __future__ import annotations

from typing import Any

from hpcad.errors import ConfigError, ShapeError
from hpcad.parallel.collectives import blocks, extremes, messages
from hpcad.parallel.collectives.collective import group, on_every_rank
from hpcad.parallel.communicator import Communicator
from hpcad.primitives.elementwise import divide
from hpcad.primitives.shapes import as_array

_REDUCTIONS = {
    "sum": blocks.allreduce_sum,
    "max": extremes.allreduce_max,
    "min": extremes.allreduce_min,
    "prod": extremes.allreduce_prod,
}


def allreduce(x: Any, op: str = "sum", communicator: Communicator | None = None) -> Any:
    """Elementwise reduction over all ranks; the same on every rank.

    Parameters
    ----------
    x : array
        Of the same shape and dtype on every rank.
    op : {"sum", "mean", "max", "min", "prod"}

    Notes
    -----
    The adjoint of ``sum`` (``mean``) is the sum (mean) of the cotangents. At ties of ``max`` and
    ``min`` the derivative is split evenly over the ranks that attain it; their derivatives cost
    two sums. That of ``prod`` gathers the arrays of all ranks, and is exact at zeros.
    """
    comm = group(communicator)
    if op == "mean":
        return divide(allreduce(x, "sum", comm), float(comm.size))
    if op not in _REDUCTIONS:
        raise ConfigError(f"unknown reduction {op!r}; expected mean, {', '.join(_REDUCTIONS)}")
    return on_every_rank(_REDUCTIONS[op], x, communicator=comm)


def reduce(x: Any, root: int = 0, communicator: Communicator | None = None) -> Any:
    """Sum over all ranks on the root, zeros on the others. Adjoint: :func:`bcast`."""
    return on_every_rank(blocks.reduce_sum, x, root=root, communicator=group(communicator))


def bcast(x: Any, root: int = 0, communicator: Communicator | None = None) -> Any:
    """What the root has, on every rank. Adjoint: :func:`reduce`.

    The ``x`` of other ranks gives the shape and dtype; its values are not looked at, and its
    derivative is 0.
    """
    return on_every_rank(blocks.bcast, x, root=root, communicator=group(communicator))


def gather(x: Any, root: int = 0, communicator: Communicator | None = None) -> Any:
    """The arrays of all ranks along the first axis, on the root. Adjoint: :func:`scatter`.

    Parameters
    ----------
    x : array, shape (n, ...)
        The same on every rank.

    Returns
    -------
    array
        Of shape (size * n, ...) on the root, (0, ...) on the others.
    """
    count = _rows(x, "gather")
    return on_every_rank(
        blocks.gather, x, root=root, elsewhere=0, count=count, communicator=group(communicator)
    )


def scatter(
    x: Any, root: int = 0, communicator: Communicator | None = None, *, count: int | None = None
) -> Any:
    """Rows ``r * count`` to ``(r + 1) * count`` of the root's array. Adjoint: :func:`gather`.

    Parameters
    ----------
    x : array, shape (size * count, ...)
        The root's. The ``x`` of other ranks gives the dtype and the other axes, and may have any
        number of rows, such as 0; its derivative is 0.
    count : int, optional
        Rows for each rank. Rows of ``x`` / size when left out.

    Returns
    -------
    array, shape (count, ...)
    """
    comm = group(communicator)
    rows = _rows(x, "scatter")
    if count is None:
        count = _divided(rows, comm, "scatter")
    return on_every_rank(
        blocks.scatter, x, root=root, elsewhere=rows, count=count, communicator=comm
    )


def allgather(x: Any, communicator: Communicator | None = None) -> Any:
    """The arrays of all ranks along the first axis, everywhere. Adjoint: :func:`reduce_scatter`.

    ``x`` has shape (n, ...) on every rank, the result (size * n, ...).
    """
    _rows(x, "allgather")
    return on_every_rank(blocks.allgather, x, communicator=group(communicator))


def reduce_scatter(x: Any, communicator: Communicator | None = None) -> Any:
    """Block r of the sum over all ranks, on rank r. Adjoint: :func:`allgather`.

    ``x`` has shape (size * n, ...) on every rank, the result (n, ...).
    """
    comm = group(communicator)
    _divided(_rows(x, "reduce_scatter"), comm, "reduce_scatter")
    return on_every_rank(blocks.reduce_scatter_sum, x, communicator=comm)


def alltoall(x: Any, communicator: Communicator | None = None) -> Any:
    """Block r goes to rank r, block r of the result comes from there. It is its own adjoint.

    ``x`` and the result have shape (size * n, ...).
    """
    comm = group(communicator)
    _divided(_rows(x, "alltoall"), comm, "alltoall")
    return on_every_rank(blocks.alltoall, x, communicator=comm)


def scan(x: Any, communicator: Communicator | None = None, *, reverse: bool = False) -> Any:
    """Sum over ranks 0 to this one, inclusive; with ``reverse``, from this one to the last.

    The adjoint is the scan from the other end.
    """
    return on_every_rank(blocks.scan_sum, x, reverse=reverse, communicator=group(communicator))


def sendrecv(
    x: Any,
    dest: int | None,
    source: int | None,
    communicator: Communicator | None = None,
    *,
    tag: int = 0,
) -> Any:
    """Send ``x`` to ``dest``; return what ``source`` sends, of the same shape and dtype.

    None stands for nobody: nothing is sent, or zeros are returned. The adjoint is a sendrecv with
    source and destination exchanged.
    """
    return on_every_rank(
        messages.sendrecv, x, dest=dest, source=source, tag=tag, communicator=group(communicator)
    )


def send(x: Any, dest: int, communicator: Communicator | None = None, *, tag: int = 0) -> Any:
    """Send ``x`` to rank ``dest``, which calls :func:`recv`. Adjoint: :func:`recv`.

    Returns
    -------
    array
        Zeros like ``x``, which stand for the message on the tape. With ``backward()``,
        :func:`attach` them to the loss; transforms find it without.
    """
    return on_every_rank(messages.send, x, peer=dest, tag=tag, communicator=group(communicator))


def recv(like: Any, source: int, communicator: Communicator | None = None, *, tag: int = 0) -> Any:
    """What rank ``source`` sends, of the shape and dtype of ``like``. Adjoint: :func:`send`.

    The values of ``like`` are not looked at, and its derivative is 0. With ``backward()`` it must
    have been computed from a parameter, so that the message is on the tape.
    """
    return on_every_rank(
        messages.recv, like, peer=source, tag=tag, communicator=group(communicator)
    )


def _rows(x: Any, call: str) -> int:
    shape = as_array(x).shape
    if not shape:
        raise ShapeError(
            f"{call} moves blocks of the first axis, but was given a number; reshape it to (1,)"
        )
    return int(shape[0])


def _divided(rows: int, comm: Communicator, call: str) -> int:
    if rows % comm.size:
        raise ShapeError(
            f"{call} on {comm.size} ranks needs equal blocks, but the first axis has {rows} rows; "
            "pad it to a multiple of the number of ranks"
        )
    return rows // comm.size
