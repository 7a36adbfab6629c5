"""Distinct values and counts. What returns values has no derivative and refuses to be traced."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive

unique_all = Primitive("unique_all", lambda x: tuple(np.unique_all(x)), None, outputs=True)
unique_counts = Primitive("unique_counts", lambda x: tuple(np.unique_counts(x)), None, outputs=True)
unique_inverse = Primitive(
    "unique_inverse", lambda x: tuple(np.unique_inverse(x)), None, outputs=True
)
unique_values = Primitive("unique_values", lambda x: np.sort(np.unique_values(x)), None)

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
