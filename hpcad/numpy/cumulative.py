"""Running sums and products."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of
from hpcad.errors import ShapeError
from hpcad.primitives import cumulative, layout
from hpcad.primitives.joining import concatenate
from hpcad.primitives.reduction import in_dtype
from hpcad.primitives.shapes import as_array

__all__: list[str] = ["cumprod", "cumsum", "cumulative_prod", "cumulative_sum"]


def cumulative_sum(
    x: Any,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
) -> Any:
    """Sums of the first, the first two, ... elements along an axis.

    Parameters
    ----------
    x : array
    axis : int, optional
        May be left out for vectors only.
    dtype : dtype, optional
        In which it is computed and returned; small integers are promoted otherwise.
    include_initial : bool
        Start with the empty sum, 0, so that the answer is longer by one.

    Returns
    -------
    array
        VJP: the running sum from the other end.
    """
    x, axis = _along(x, axis, "cumulative_sum")
    answer = cumsum(x, axis, dtype)
    return _with_initial(answer, axis, 0) if include_initial else answer


def cumulative_prod(
    x: Any,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
) -> Any:
    """Products of the first, the first two, ... elements along an axis.

    Parameters as for :func:`cumulative_sum`. Differentiated without division, so exact at zeros.
    """
    x, axis = _along(x, axis, "cumulative_prod")
    answer = cumprod(x, axis, dtype)
    return _with_initial(answer, axis, 1) if include_initial else answer


def cumsum(x: Any, /, axis: int | None = None, dtype: Any = None) -> Any:
    """As :func:`cumulative_sum`; without ``axis``, of the flattened array."""
    return _run(cumulative.cumsum, x, axis, dtype)


def cumprod(x: Any, /, axis: int | None = None, dtype: Any = None) -> Any:
    """As :func:`cumulative_prod`; without ``axis``, of the flattened array."""
    return _run(cumulative.cumprod, x, axis, dtype)


def _run(primitive: Any, x: Any, axis: int | None, dtype: Any) -> Any:
    x = as_array(x)
    if axis is None or (len(x.shape) == 0 and axis in (0, -1)):
        x, axis = layout.reshape(x, (-1,)), 0
    place = normalize_axis_index(axis, len(x.shape))
    return in_dtype(lambda y: primitive(y, axis=place, reverse=False), x, dtype)


def _along(x: Any, axis: int | None, name: str) -> tuple[Any, int]:
    x = as_array(x)
    if len(x.shape) == 0:
        raise ShapeError(f"{name} needs an array of at least one dimension")
    if axis is None and len(x.shape) > 1:
        raise ShapeError(
            f"{name} of an array of shape {tuple(x.shape)} needs an axis; use ravel(x) to run "
            "over all elements"
        )
    return x, normalize_axis_index(0 if axis is None else axis, len(x.shape))


def _with_initial(answer: Any, axis: int, value: int) -> Any:
    shape = (*answer.shape[:axis], 1, *answer.shape[axis + 1 :])
    first = backend_of(value_of(answer)).xp.full(shape, value, np.dtype(answer.dtype))
    return concatenate([first, answer], axis)
