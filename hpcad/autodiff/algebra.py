"""The few operations on cotangents that the tape itself needs.

They are primitives (so that nested transforms can follow them), and primitives stand above
this room; :mod:`hpcad.primitives` therefore puts them in here when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _missing(*_: Any, **__: Any) -> Any:
    raise RuntimeError("hpcad.primitives was not imported")


class CotangentAlgebra:
    """Operations on cotangents.

    Attributes
    ----------
    add : callable
        ``add(a, b)``.
    sum_to : callable
        ``sum_to(g, shape)``: the adjoint of broadcasting from ``shape``.
    cast : callable
        ``cast(g, dtype)``.
    """

    add: Callable[..., Any] = staticmethod(_missing)
    sum_to: Callable[..., Any] = staticmethod(_missing)
    cast: Callable[..., Any] = staticmethod(_missing)


ALGEBRA = CotangentAlgebra()
