"""The rim of the neighbours' blocks around one's own."""

from __future__ import annotations

from typing import Any

from hpcad.errors import ShapeError
from hpcad.parallel.collectives.functions import sendrecv
from hpcad.parallel.collectives.grid import Grid
from hpcad.primitives.indexing import getitem
from hpcad.primitives.joining import concatenate
from hpcad.primitives.shapes import as_array


def halo_exchange(x: Any, grid: Grid, width: int = 1) -> Any:
    """Surround this rank's block by ``width`` rows of its neighbours, along every grid axis.

    Collective over the grid. Two :func:`~hpcad.parallel.sendrecv` an axis, whose adjoint sends
    the cotangents of the rim back to where it came from, where they are added.

    Parameters
    ----------
    x : array, shape (n_0, ..., n_k, ...)
        The first axes are those of the grid; at least ``width`` long. Blocks may have different
        lengths along an axis, but neighbours agree in the other axes.
    grid : Grid
    width : int

    Returns
    -------
    array, shape (n_0 + 2 width, ..., n_k + 2 width, ...)
        Corners come from the diagonal neighbours. Beyond the ends of a grid that is not periodic
        there are zeros: write boundary values there.

    Raises
    ------
    ShapeError
        A block is narrower than the rim.
    """
    x = as_array(x)
    axes = len(grid.shape)
    if len(x.shape) < axes or min(x.shape[:axes], default=0) < width or width < 1:
        raise ShapeError(
            f"halo_exchange with width {width} on a grid with {axes} axes needs blocks at least "
            f"as long as the rim along each of them, but this rank's has shape {tuple(x.shape)}; "
            "use fewer ranks along that axis, or a larger domain"
        )
    for axis in range(axes):
        before, behind = grid.neighbours(axis)
        lead = (slice(None),) * axis
        first = getitem(x, (*lead, slice(None, width)))
        last = getitem(x, (*lead, slice(x.shape[axis] - width, None)))
        low = sendrecv(last, behind, before, grid.communicator, tag=2 * axis)
        high = sendrecv(first, before, behind, grid.communicator, tag=2 * axis + 1)
        x = concatenate([low, x, high], axis)
    return x
