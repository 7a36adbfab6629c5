"""How many entries of an array are not finite, and which is the first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from hpcad.autodiff.tensor import value_of


class State(NamedTuple):
    """Whether arrays hold a NaN, and whether they hold an infinity."""

    nan: bool
    infinite: bool

    @property
    def finite(self) -> bool:
        return not (self.nan or self.infinite)

    def __or__(self, other: Any) -> State:
        return State(self.nan or other.nan, self.infinite or other.infinite)


FINITE = State(False, False)


def state_of(xs: Iterable[Any]) -> State:
    """The state of several arrays together; what holds no floating-point numbers is finite."""
    nan = infinite = False
    for x in map(value_of, xs):
        if not _floating(x) or bool(np.isfinite(x).all()):
            continue
        nan = nan or bool(np.isnan(x).any())
        infinite = infinite or bool(np.isinf(x).any())
    return State(nan, infinite)


def describe(x: Any) -> str:
    """The array in words: dtype, shape, and its bad entries or its range."""
    x = value_of(x)
    if x is None:
        return "not kept"
    if not hasattr(x, "dtype"):
        return repr(x)
    name = f"{x.dtype}{list(x.shape)}"
    if not _floating(x) or x.size == 0:
        return name
    bad = ~np.isfinite(x)
    count = int(bad.sum())
    if not count:
        return f"{name}, finite, {_range(x)}"
    if x.ndim == 0:
        return f"{name}, equal to {x[()]}"
    index = np.unravel_index(int(bad.argmax()), x.shape)
    return (
        f"{name}, {count} of {x.size} entries not finite, the first at "
        f"{[int(i) for i in index]}: {x[index]}"
    )


def _floating(x: Any) -> bool:
    if isinstance(x, float | complex):
        return True
    return hasattr(x, "dtype") and getattr(x.dtype, "kind", None) in {"f", "c"}


def _range(x: Any) -> str:
    if x.size == 1:
        return f"equal to {x.reshape(())[()]}"
    if x.dtype.kind == "c":
        return f"up to {np.abs(x).max():.6g} in absolute value"
    return f"from {x.min():.6g} to {x.max():.6g}"
