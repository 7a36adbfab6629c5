"""``x.at[index].set(v)``: assignment that returns another tensor and leaves ``x`` as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import Tensor, known
from hpcad.primitives import elementwise as e
from hpcad.primitives.assignment import at_set
from hpcad.primitives.indexing import Index, getitem, is_tracked, may_repeat, on_host, plain_index
from hpcad.primitives.layout import reshape
from hpcad.primitives.reduction import broadcast_to


class At:
    """``x.at``; ``x.at[index]`` has the methods.

    Of repeated indices ``set`` takes the last value. The other methods apply every value, one
    after the other, as NumPy's ``ufunc.at`` does. All differentiate in ``x`` and in the value.
    """

    __slots__ = ("_x",)

    def __init__(self, x: Tensor) -> None:
        self._x = x

    def __getitem__(self, index: Any) -> Place:
        return Place(self._x, index)


class Place:
    """Elements of a tensor, by index; see :class:`At`."""

    __slots__ = ("_index", "_x")

    def __init__(self, x: Tensor, index: Any) -> None:
        self._x = x
        self._index = plain_index(index, snapshot=True)

    def get(self) -> Any:
        """``x[index]``"""
        return getitem(self._x, self._index)

    def set(self, value: Any) -> Any:
        """``x`` with ``value`` at the index."""
        return at_set(self._x, value, self._index)

    def add(self, value: Any) -> Any:
        """``x[index] += value``"""
        return self._apply(e.add, value)

    def subtract(self, value: Any) -> Any:
        """``x[index] -= value``"""
        return self._apply(e.subtract, value)

    def multiply(self, value: Any) -> Any:
        """``x[index] *= value``"""
        return self._apply(e.multiply, value)

    def divide(self, value: Any) -> Any:
        """``x[index] /= value``"""
        return self._apply(e.divide, value)

    def power(self, value: Any) -> Any:
        """``x[index] **= value``"""
        return self._apply(e.power, value)

    def min(self, value: Any) -> Any:
        """``x[index] = minimum(x[index], value)``"""
        return self._apply(e.minimum, value)

    def max(self, value: Any) -> Any:
        """``x[index] = maximum(x[index], value)``"""
        return self._apply(e.maximum, value)

    def apply(self, function: Callable[[Any], Any]) -> Any:
        """``x[index] = function(x[index])``"""
        return self._apply(lambda part, _: function(part), 0)

    def _apply(self, operation: Callable[[Any, Any], Any], value: Any) -> Any:
        x, index = self._x, self._index
        if not may_repeat(index):
            return at_set(x, operation(getitem(x, index), value), index)
        before = x.shape
        places = np.arange(x.size).reshape(before)[on_host(index)]
        if not is_tracked(value):
            value = known(value)
        values = reshape(broadcast_to(value, places.shape), (-1,))
        flat = reshape(x, (-1,))
        for turn in _turns(places.ravel()):
            chosen: Index = (places.ravel()[turn],)
            flat = at_set(flat, operation(getitem(flat, chosen), getitem(values, turn)), chosen)
        return reshape(flat, before)


def _turns(places: np.ndarray) -> list[np.ndarray]:
    """Split positions into groups in which no place comes twice: all first visits, all second."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    first = np.searchsorted(ordered, ordered, side="left")
    visit = np.empty_like(places)
    visit[order] = np.arange(len(places)) - first
    return [np.flatnonzero(visit == k) for k in range(int(visit.max(initial=-1)) + 1)]
