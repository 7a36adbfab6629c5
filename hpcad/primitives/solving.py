"""Inverses and linear systems.

The rules are those of M. B. Giles, "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation" (2008), with transposes and no conjugates: a holomorphic function
of a complex matrix has the rules of the real one. For the pseudo-inverse: G. H. Golub and V.
Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems whose
variables separate", SIAM J. Numer. Anal. 10 (1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import scipy_of
from hpcad.errors import ShapeError
from hpcad.primitives import shapes
from hpcad.primitives.matrices import H, T, conj, lower, mm, upper

Shape = tuple[int, ...]


def _square(shape: Shape, **_: Any) -> Shape:
    return shape


def _solved(a: Shape, b: Shape, **_: Any) -> Shape:
    return shapes.matmul(a, b)


inv = Primitive(
    "inv",
    lambda x: np.linalg.inv(x),
    _square,
    [lambda g, z, _x: -mm(mm(T(z), g), T(z))],
    jvp=[lambda t, z, _x: -mm(mm(z, t), z)],
)


# -- A X = B ------------------------------------------------------------------------------


def _solve_vjp(needs: Sequence[bool], g: Any, x: Any, _saved: Any, a: Any, _b: Any) -> list[Any]:
    """``dB = A^-T g``, and from it ``dA = -dB X^T``."""
    db = solve(T(a), g)
    return [-mm(db, T(x)) if needs[0] else None, db]


def _solve_jvp(ts: Sequence[Any], x: Any, _saved: Any, a: Any, _b: Any) -> Any:
    """``A^-1 (tb - ta X)``: one factorization for both tangents."""
    ta, tb = ts
    if ta is None:
        return solve(a, tb)
    moved = mm(ta, x)
    return solve(a, -moved if tb is None else tb - moved)


solve = Primitive(
    "solve",  # the right-hand side is a matrix
    lambda a, b: np.linalg.solve(a, b),
    _solved,
    joint=_solve_vjp,
    joint_jvp=_solve_jvp,
)


def _solve_triangular(a: Any, b: Any, *, lower: bool, unit_diagonal: bool) -> Any:
    solver = scipy_of(a, "linalg").solve_triangular
    options = {"lower": lower, "unit_diagonal": unit_diagonal, "check_finite": False}
    if a.shape[-1] != a.shape[-2] or a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"solve_triangular: a square matrix and as many rows on the right-hand side are "
            f"needed, not {a.shape} and {b.shape}"
        )
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if not lead and b.size:
        return solver(a, b, **options)
    dtype = np.result_type(a, b, np.float32)
    out = np.empty_like(b, dtype=dtype, shape=(*lead, *b.shape[-2:]))
    left = np.broadcast_to(a, (*lead, *a.shape[-2:]))
    right = np.broadcast_to(b, out.shape)
    for place in np.ndindex(lead) if out.size else ():
        out[place] = solver(left[place], right[place], **options)
    return out


def _triangle(x: Any, below: bool, unit_diagonal: bool) -> Any:
    """The part of a matrix that :data:`solve_triangular` reads."""
    return lower(x, -int(unit_diagonal)) if below else upper(x, int(unit_diagonal))


def _triangular_vjp(
    needs: Sequence[bool],
    g: Any,
    x: Any,
    _saved: Any,
    a: Any,
    _b: Any,
    lower: bool,
    unit_diagonal: bool,
) -> list[Any]:
    db = solve_triangular(T(a), g, lower=not lower, unit_diagonal=unit_diagonal)
    return [_triangle(-mm(db, T(x)), lower, unit_diagonal) if needs[0] else None, db]


def _triangular_jvp(t: Any, x: Any, a: Any, _b: Any, lower: bool, unit_diagonal: bool) -> Any:
    moved = mm(_triangle(t, lower, unit_diagonal), x)
    return -solve_triangular(a, moved, lower=lower, unit_diagonal=unit_diagonal)


solve_triangular = Primitive(
    "solve_triangular",
    _solve_triangular,
    _solved,
    joint=_triangular_vjp,
    jvp=[_triangular_jvp, "linear"],
)


def solve_lower(a: Any, b: Any) -> Any:
    """``a^-1 b`` with a lower triangular a."""
    return solve_triangular(a, b, lower=True, unit_diagonal=False)


def solve_upper(a: Any, b: Any) -> Any:
    """``a^-1 b`` with an upper triangular a."""
    return solve_triangular(a, b, lower=False, unit_diagonal=False)


def right_solve(x: Any, r: Any) -> Any:
    """``x r^-1`` with an upper triangular r."""
    return T(solve_lower(T(r), T(x)))


# -- pseudo-inverse -----------------------------------------------------------------------


def _pinv_vjp(g: Any, z: Any, x: Any, rtol: Any) -> Any:
    """``-Z^T g Z^T``, and two terms from the movement of the null spaces."""
    zt, zc, xc = T(z), conj(z), conj(x)
    left = mm(H(g), mm(zc, zt))
    right = mm(mm(zt, zc), H(g))
    return left - mm(xc, mm(zc, left)) + right - mm(mm(right, zc), xc) - mm(mm(zt, g), zt)


def _pinv_jvp(t: Any, z: Any, x: Any, rtol: Any) -> Any:
    """``-Z t Z + Z Z^H t^H (1 - X Z) + (1 - Z X) t^H Z^H Z``."""
    left = mm(mm(z, H(z)), H(t))
    right = mm(H(t), mm(H(z), z))
    return left - mm(mm(left, x), z) + right - mm(z, mm(x, right)) - mm(mm(z, t), z)


pinv = Primitive(
    "pinv",
    lambda x, *, rtol: np.linalg.pinv(x, rtol),
    lambda x, *, rtol: (*x[:-2], x[-1], x[-2]),
    [_pinv_vjp],
    jvp=[_pinv_jvp],
)
