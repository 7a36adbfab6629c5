"""Products of shapes that do not fit are refused before anything is asked of the library."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend.cublaslt.enums import EPILOGUES, mask_shape
from hpcad.backend.cublaslt.layout import NAMES
from hpcad.errors import ShapeError


def check_shapes(a: Any, b: Any, c: Any, what: str) -> None:
    """Raise where the shapes do not fit.

    Raises
    ------
    ShapeError
    """
    if min(a.ndim, b.ndim, c.ndim) < 2 or a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"{what} of shapes {a.shape} and {b.shape}: the inner sizes differ")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2], c.shape[:-2])
    except ValueError:
        batch = ()
    wanted = (*batch, a.shape[-2], b.shape[-1])
    if c.shape != wanted:
        raise ShapeError(
            f"{what} of shapes {a.shape} and {b.shape} does not fit into one of shape {c.shape}"
        )


def check_beside(epilogue: str, a: Any, b: Any, c: Any, bias: Any, aux: Any) -> None:
    """Raise where bias or aux do not go with the epilogue."""
    end = EPILOGUES.get(NAMES.get(epilogue, epilogue))
    if end is None or epilogue.isupper():
        known = sorted({*EPILOGUES, *NAMES} - {"", *NAMES.values()})
        raise ShapeError(f"no epilogue is called {epilogue!r}; there are {', '.join(known)}")
    beside = mask_shape(*c.shape[-2:]) if end.mask else tuple(c.shape)
    wanted = {"bias": (c.shape[-2:][0 if epilogue == "bgrad_a" else 1],), "aux": beside}
    for name, array, used in (("bias", bias, end.bias), ("aux", aux, end.aux)):
        given = None if array is None else tuple(array.shape)
        expected = wanted[name] if used else None
        if given != expected:
            raise ShapeError(
                f"epilogue {epilogue!r} of a product of shape {c.shape} takes "
                f"{name} of shape {expected}, and was given {given}"
            )
