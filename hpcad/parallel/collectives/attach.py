"""Tie results to a loss that does not use them, so that ``backward()`` reaches their records."""

from __future__ import annotations

from typing import Any

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of
from hpcad.primitives.elementwise import add
from hpcad.primitives.shapes import as_array


def _zeros(like: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    return backend_of(value_of(like)).zeros(shape, dtype)


# The linear map that is 0, of any array to a number.
unused = Primitive(
    "unused",
    lambda x, *, shape, dtype: _zeros(x, (), dtype),
    lambda _x, **_: (),
    [lambda g, _y, _x, shape, dtype: _zeros(g, shape, dtype)],
    jvp=[lambda t, _y, _x, shape, dtype: _zeros(t, (), dtype)],
)


def attach(y: Any, *results: Any) -> Any:
    """``y``, which from here on counts as computed from the results of collectives, too.

    ``backward()`` walks what its loss depends on. Where the loss of one rank does not use what a
    collective gave it, and that of another does, the one would not take part in the derivative
    for which the other waits. Tie the result to the loss on every rank, and it gets a cotangent
    of zeros. Inside of ``grad``, ``jvp`` and the other transforms there is no need for it.

    Parameters
    ----------
    y : array
        A loss, or anything on the way to it.
    *results : arrays
        What collectives returned; also what :func:`send` returned.

    Returns
    -------
    array
        Equal to ``y``.
    """
    y = as_array(y)
    for result in results:
        x = as_array(result)
        y = add(y, unused(x, shape=tuple(x.shape), dtype=y.dtype))
    return y
