"""Distinct values and counts. Values are not differentiable here: tracked tensors are refused."""

from __future__ import annotations

from typing import Any, NamedTuple

from hpcad.autodiff.conversion import CAPTURED
from hpcad.primitives import reduction, sets
from hpcad.primitives.indexing import is_tracked, plain_index, scatter
from hpcad.primitives.shapes import as_array

__all__: list[str] = [
    "bincount",
    "digitize",
    "histogram",
    "intersect1d",
    "isin",
    "setdiff1d",
    "setxor1d",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


class UniqueAllResult(NamedTuple):
    """What :func:`unique_all` returns."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCountsResult(NamedTuple):
    """What :func:`unique_counts` returns."""

    values: Any
    counts: Any


class UniqueInverseResult(NamedTuple):
    """What :func:`unique_inverse` returns."""

    values: Any
    inverse_indices: Any


def unique_all(x: Any, /) -> UniqueAllResult:
    """Distinct values, where each comes first, which one every element is, and how often."""
    return UniqueAllResult(*sets.unique_all(as_array(x)))


def unique_counts(x: Any, /) -> UniqueCountsResult:
    """Distinct values, and how often each occurs."""
    return UniqueCountsResult(*sets.unique_counts(as_array(x)))


def unique_inverse(x: Any, /) -> UniqueInverseResult:
    """Distinct values, and which of them every element is."""
    return UniqueInverseResult(*sets.unique_inverse(as_array(x)))


def unique_values(x: Any, /) -> Any:
    """Distinct values in ascending order; each nan is distinct."""
    return sets.unique_values(as_array(x))


def unique(
    x: Any,
    /,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    *,
    equal_nan: bool = True,
) -> Any:
    """As :func:`unique_values`, with the further parts of :func:`unique_all` that are asked for.

    All nan are one value, unless ``equal_nan`` is False.
    """
    if not (return_index or return_inverse or return_counts):
        return sets.unique_values(as_array(x), equal_nan=equal_nan)
    found = sets.unique_all(as_array(x), equal_nan=equal_nan)
    asked = (True, return_index, return_inverse, return_counts)
    return tuple(part for part, wanted in zip(found, asked, strict=True) if wanted)


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Any:
    """Whether each element of ``x1`` is among those of ``x2`` (is not: ``invert``)."""
    return sets.isin(as_array(x1), as_array(x2, beside=x1), invert=invert)


def intersect1d(x1: Any, x2: Any, /) -> Any:
    """Distinct values that both arrays have, in ascending order."""
    return sets.intersect1d(as_array(x1), as_array(x2))


def setdiff1d(x1: Any, x2: Any, /) -> Any:
    """Distinct values of ``x1`` that ``x2`` does not have, in ascending order."""
    return sets.setdiff1d(as_array(x1), as_array(x2))


def setxor1d(x1: Any, x2: Any, /) -> Any:
    """Distinct values that only one of the arrays has, in ascending order."""
    return sets.setxor1d(as_array(x1), as_array(x2))


def union1d(x1: Any, x2: Any, /) -> Any:
    """Distinct values that at least one of the arrays has, in ascending order."""
    return sets.union1d(as_array(x1), as_array(x2))


def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number 0, 1, 2, ... occurs, or the sums of its weights.

    Linear in the weights, and differentiable with respect to them.
    """
    x = as_array(x)
    if not is_tracked(weights) or weights.level == CAPTURED:
        return sets.bincount(x, weights, least=minlength)
    index = plain_index((x,), True)
    length = max(minlength, int(reduction.highest(index[0], None, -1)) + 1)
    return scatter(weights, index=index, before=(length,))


def histogram(
    x: Any,
    /,
    bins: Any = 10,
    range: tuple[float, float] | None = None,
    density: bool = False,
    weights: Any = None,
) -> tuple[Any, Any]:
    """Counts of the elements in bins, and the edges of the bins (constants)."""
    return sets.histogram(as_array(x), bins, weights, limits=range, density=density)


def digitize(x: Any, bins: Any, /, right: bool = False) -> Any:
    """In which bin each element lies; constants."""
    return sets.digitize(as_array(x), as_array(bins, beside=x), right=right)
