"""One step of a Runge-Kutta method, on pytrees.

The classical method of order 4; and order 5 with an error estimate of order 4 by J. R. Dormand and
P. J. Prince, "A family of embedded Runge-Kutta formulae", J. Comput. Appl. Math. 6 (1980).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hpcad.autodiff.pytree import tree_map
from hpcad.autodiff.tensor import value_of


class Tableau(NamedTuple):
    """The coefficients of a method, as in Butcher's tableau; with weights of the error."""

    nodes: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    error: tuple[float, ...] | None


RK4 = Tableau(
    (0.0, 1 / 2, 1 / 2, 1.0),
    ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    None,
)
DOPRI5 = Tableau(
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
    (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)


def advance(
    tableau: Tableau,
    slope: Callable[[Any, float], Any],
    y: Any,
    stages: list[Any],
    at: float,
    length: float,
    span: Any,
) -> tuple[Any, Any]:
    """One step; times are parts of an interval of length ``span``.

    Parameters
    ----------
    slope : callable
        ``slope(y, at)``.
    y : pytree
    stages : list
        Has the slope at the beginning; the others are appended.

    Returns
    -------
    new : pytree
        Like ``y``.
    error : pytree of plain arrays, or None
        Its estimated error.
    """
    nodes, rows, weights, error_weights = tableau
    size = span * length
    for node, row in zip(nodes[1:], rows[1:], strict=True):
        inner = _moved(y, size, row, stages)
        stages.append(slope(inner, at + node * length))
    new = _moved(y, size, weights, stages)
    if error_weights is None:
        return new, None
    size = float(value_of(size))
    plain = [tree_map(value_of, stage) for stage in stages]
    return new, tree_map(lambda *k: size * _combined(error_weights, k), *plain)


def _moved(y: Any, size: Any, weights: Sequence[float], stages: Sequence[Any]) -> Any:
    """``y + size sum_i weights_i stage_i``, in the dtype of y."""

    def one(x: Any, *slopes: Any) -> Any:
        moved = x + size * _combined(weights, slopes)
        return moved if moved.dtype == x.dtype else moved.astype(x.dtype)

    return tree_map(one, y, *stages[: len(weights)])


def _combined(weights: Sequence[float], slopes: Sequence[Any]) -> Any:
    total = None
    for weight, slope in zip(weights, slopes, strict=False):
        if weight != 0.0:
            total = slope * weight if total is None else total + slope * weight
    return total
