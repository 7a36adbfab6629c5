"""Sorting and searching. Sorting is a permutation; its adjoint permutes back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from hpcad.autodiff.primitive import Primitive
from hpcad.errors import ShapeError
from hpcad.primitives import shapes
from hpcad.primitives.layout import reshape
from hpcad.primitives.reduction import static
from hpcad.primitives.shapes import as_array

# -- permutations along an axis -----------------------------------------------------------


def _rearrange(x: Any, order: Any, *, axis: int, back: bool) -> Any:
    if back:
        order = np.argsort(order, axis=axis)
    return np.take_along_axis(x, order, axis)


rearrange = Primitive(
    "rearrange",  # by a permutation of every line along the axis, or back again
    _rearrange,
    shapes.same,
    [lambda g, _z, _x, order, axis, back: rearrange(g, order, axis=axis, back=not back), None],
    jvp=["linear", None],
)

# -- sort ---------------------------------------------------------------------------------


def _argsort_value(x: Any, *, axis: int, descending: bool, stable: bool) -> Any:
    kind: Any = "stable" if stable else None
    if not descending:
        return np.argsort(x, axis=axis, kind=kind)
    # Equal elements keep their order if the reversed array is sorted and the result reversed.
    order = np.flip(np.argsort(np.flip(x, axis), axis=axis, kind=kind), axis)
    return x.shape[axis] - 1 - order


def _sort_value(x: Any, *, axis: int, descending: bool) -> Any:
    ordered = np.sort(x, axis=axis)
    return np.flip(ordered, axis) if descending else ordered


def _sort_rule(g: Any, x: Any, axis: int, descending: bool, back: bool) -> Any:
    order = _argsort(x, axis=axis, descending=descending, stable=True)
    return rearrange(g, order, axis=axis, back=back)


_argsort = Primitive("argsort", _argsort_value, shapes.same, constant=True)
_sort = Primitive(
    "sort",
    _sort_value,
    shapes.same,
    [lambda g, _z, x, axis, descending: _sort_rule(g, x, axis, descending, True)],
    jvp=[lambda t, _z, x, axis, descending: _sort_rule(t, x, axis, descending, False)],
)
_argpartition = Primitive(
    "argpartition",
    lambda x, *, places, axis: np.argpartition(x, places, axis=axis),
    shapes.same,
    constant=True,
)


def sort(x: Any, axis: int | None = -1, descending: bool = False) -> Any:
    """Sort along an axis (the flattened array for None); equal elements keep their order."""
    x, axis = _line(x, axis)
    return _sort(x, axis=axis, descending=descending)


def argsort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Any:
    """The indices that sort; constants."""
    x, axis = _line(x, axis)
    return _argsort(x, axis=axis, descending=descending, stable=stable)


def argpartition(x: Any, places: Any, axis: int | None = -1) -> Any:
    """Indices that put the elements that belong at ``places`` there; constants."""
    x, axis = _line(x, axis)
    return _argpartition(x, places=static(places), axis=axis)


def partition(x: Any, places: Any, axis: int | None = -1) -> Any:
    """Rearrange so that smaller elements stand before each of ``places``, and larger behind."""
    x, axis = _line(x, axis)
    return rearrange(x, argpartition(x, places, axis), axis=axis, back=False)


def _line(x: Any, axis: int | None) -> tuple[Any, int]:
    x = as_array(x)
    if axis is None:
        return reshape(x, (-1,)), 0
    return x, normalize_axis_index(axis, len(x.shape))


# -- search -------------------------------------------------------------------------------


def _place_of(name: str, value: Any) -> Primitive:
    return Primitive(
        name,
        lambda x, *, axis, keepdims=False: value(x, axis=axis, keepdims=keepdims),
        shapes.reduced,
        constant=True,
    )


_argmax = _place_of("argmax", np.argmax)
_argmin = _place_of("argmin", np.argmin)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the maximum, of the first at ties; a constant."""
    return _argmax(as_array(x), axis=axis, keepdims=keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the minimum, of the first at ties; a constant."""
    return _argmin(as_array(x), axis=axis, keepdims=keepdims)


_searchsorted = Primitive(
    "searchsorted",
    lambda line, x, sorter, *, side: np.searchsorted(line, x, side=side, sorter=sorter),
    lambda line, x, sorter, *, side: x,
    constant=True,
)


def searchsorted(line: Any, x: Any, side: str = "left", sorter: Any = None) -> Any:
    """Where in the ascending ``line`` the elements of ``x`` belong; constants."""
    line = as_array(line, beside=x)
    if not hasattr(x, "dtype"):
        kind = line.dtype if np.ndim(x) == 0 and isinstance(x, int | float) else None
        x = np.asarray(x, None if kind is None else np.result_type(kind, x))
    return _searchsorted(line, x, sorter, side=side)


_nonzero = Primitive("nonzero", np.nonzero, None, constant=True, outputs=True)


def nonzero(x: Any) -> tuple[Any, ...]:
    """The indices of the elements that are not zero, one array for each axis; constants."""
    x = as_array(x)
    if len(x.shape) == 0:
        raise ShapeError(
            "nonzero needs an array of at least one dimension; use atleast_1d(x) for a number"
        )
    return _nonzero(x)
