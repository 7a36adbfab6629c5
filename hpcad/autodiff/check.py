"""Reverse mode held against numerical differentiation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.vjp import vjp
from hpcad.autodiff.numerical import directional
from hpcad.autodiff.tensor import value_of

STEP = 1e-5  # of the differences: truncation O(h^4) far below rounding, about 1e-11 relative


def check_vjp(
    function: Callable[..., Any],
    args: Sequence[Any],
    argnums: Sequence[int] | None = None,
    *,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    seed: int = 0,
) -> None:
    """Compare reverse mode with numerical differentiation along random directions.

    The identity tested is ``<w, J v> = <J^T w, v>`` for random ``w`` and ``v``.

    Parameters
    ----------
    function : callable
        Of float64 arrays, returning one array.
    args : sequence of arrays
    argnums : sequence of int, optional
        Arguments to check; all of floating type when left out.

    Raises
    ------
    AssertionError
        Names the argument and both numbers.
    """
    rng = np.random.default_rng(seed)
    if argnums is None:
        argnums = [i for i, a in enumerate(args) if np.asarray(a).dtype.kind == "f"]
    chosen = tuple(argnums)

    def restricted(*inputs: Any) -> Any:
        full = list(args)
        for position, x in zip(chosen, inputs, strict=True):
            full[position] = x
        return function(*full)

    primals = [np.asarray(args[i]) for i in chosen]
    value, pullback = vjp(restricted, *primals)
    w = rng.standard_normal(np.shape(value))
    cotangents = pullback(w)
    for position, cotangent in enumerate(cotangents):
        v = rng.standard_normal(primals[position].shape)

        def moved(x: Any, position: int = position) -> Any:
            return restricted(*primals[:position], x, *primals[position + 1 :])

        slope = directional(moved, primals[position], v, method="central4", step=STEP)
        numerical = float(np.sum(w * slope.value))
        exact = float(np.sum(value_of(cotangent) * v))
        if not abs(numerical - exact) <= atol + rtol * max(abs(numerical), abs(exact)):
            raise AssertionError(
                f"argument {chosen[position]}: <J^T w, v> = {exact!r}, "
                f"numerical <w, J v> = {numerical!r}"
            )
