"""What the namespace says about itself, and its constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.backend import get_backend
from hpcad.errors import HpcadError
from hpcad.numpy import dtypes as d

__all__ = ["__array_namespace_info__", "e", "inf", "nan", "ndim", "newaxis", "pi", "shape",
           "size"]  # fmt: skip

e = math.e
pi = math.pi
inf = math.inf
nan = math.nan
newaxis = None

_KINDS = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8", "uint16", "uint32", "uint64"),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
}
_UNIONS = {
    "integral": ("signed integer", "unsigned integer"),
    "numeric": ("signed integer", "unsigned integer", "real floating", "complex floating"),
}


def shape(x: Any, /) -> tuple[int, ...]:
    """The lengths of the axes."""
    return tuple(np.shape(x))


def ndim(x: Any, /) -> int:
    """The number of axes."""
    return len(shape(x))


def size(x: Any, /, axis: int | None = None) -> int:
    """The number of elements, or the length of an axis."""
    return math.prod(shape(x)) if axis is None else shape(x)[axis]


class Info:
    """Inspection of the namespace; see the array API standard."""

    def capabilities(self) -> dict[str, Any]:
        """What arrays can do."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Where arrays are put when ``device`` is left out."""
        return "cpu"

    def devices(self) -> tuple[str, ...]:
        """What may be given as ``device``."""
        try:
            get_backend("gpu")
        except HpcadError:
            return ("cpu",)
        return ("cpu", "gpu")

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype]:
        """Dtypes of arrays of Python numbers."""
        return {
            "real floating": np.dtype(np.float64),
            "complex floating": np.dtype(np.complex128),
            "integral": np.dtype(np.int64),
            "indexing": np.dtype(np.int64),
        }

    def dtypes(
        self, *, device: Any = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, np.dtype]:
        """The dtypes of the standard, by name; all or those of a kind."""
        if kind is None:
            kinds: tuple[str, ...] = tuple(_KINDS)
        else:
            kinds = (kind,) if isinstance(kind, str) else tuple(kind)
        atoms = [atom for k in kinds for atom in _UNIONS.get(k, (k,))]
        unknown = [atom for atom in atoms if atom not in _KINDS]
        if unknown:
            known = ", ".join([*_KINDS, *_UNIONS])
            raise ValueError(f"unknown kind of dtype {unknown[0]!r}; expected one of {known}")
        return {name: np.dtype(getattr(d, name)) for atom in atoms for name in _KINDS[atom]}


def __array_namespace_info__() -> Info:  # noqa: N807  (the standard's name)
    """Return an object that tells about devices, dtypes and capabilities."""
    return Info()
