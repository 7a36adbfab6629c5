"""Distinct values and counts. What returns values has no derivative and refuses to be traced."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive


def _unique(*asked: str) -> Any:
    """Distinct values, nan once or as often as it occurs, and the other parts asked for."""
    options: dict[str, Any] = {f"return_{part}": True for part in asked}

    def value(x: Any, *, equal_nan: bool = False) -> Any:
        found = np.unique(x.ravel(), equal_nan=equal_nan, **options)
        if "inverse" not in asked:
            return found
        place = 1 + asked.index("inverse")
        return (*found[:place], found[place].reshape(x.shape), *found[place + 1 :])

    return value


# fmt: off
unique_all     = Primitive("unique_all", _unique("index", "inverse", "counts"), None, outputs=True)
unique_counts  = Primitive("unique_counts", _unique("counts"), None, outputs=True)
unique_inverse = Primitive("unique_inverse", _unique("inverse"), None, outputs=True)
unique_values  = Primitive("unique_values", _unique(), None)
# fmt: on

# fmt: off
intersect1d = Primitive("intersect1d", lambda x, y: np.intersect1d(x, y), None)
setdiff1d   = Primitive("setdiff1d",   lambda x, y: np.setdiff1d(x, y),   None)
setxor1d    = Primitive("setxor1d",    lambda x, y: np.setxor1d(x, y),    None)
union1d     = Primitive("union1d",     lambda x, y: np.union1d(x, y),     None)
# fmt: on


def _isin(x: Any, among: Any, *, invert: bool) -> Any:
    return np.isin(x, among, invert=invert)


isin = Primitive("isin", _isin, lambda x, among, *, invert: x, constant=True)

bincount = Primitive(
    "bincount", lambda x, weights, *, least: np.bincount(x, weights, minlength=least), None
)
histogram = Primitive(
    "histogram",
    lambda x, bins, weights, *, limits, density: np.histogram(x, bins, limits, density, weights),
    None,
    outputs=True,
)
digitize = Primitive(
    "digitize",
    lambda x, bins, *, right: np.digitize(x, bins, right=right),
    lambda x, bins, *, right: x,
    constant=True,
)
