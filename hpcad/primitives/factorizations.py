"""Cholesky, LU and QR factorizations.

Sources: Giles (2008); M. Seeger et al., "Auto-differentiating linear algebra" (arXiv:1710.08717);
S. F. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions with
application in optimum experimental design" (2010), for QR.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import scipy_of
from hpcad.primitives.contraction import as_diagonal, diagonal
from hpcad.primitives.joining import concatenate
from hpcad.primitives.matrices import (
    H,
    T,
    conj,
    each_matrix,
    hermitian,
    imag,
    lower,
    mm,
    real,
    upper,
)
from hpcad.primitives.solving import right_solve, solve_lower, solve_upper

Shape = tuple[int, ...]


# -- Cholesky: A = L L^H ------------------------------------------------------------------


def _half(x: Any) -> Any:
    """The lower triangle with half the diagonal: ``half(x) + half(x)^H = x`` if x is Hermitian."""
    return lower(x) - 0.5 * as_diagonal(diagonal(x))


def _cholesky(x: Any) -> Any:
    return np.linalg.cholesky(0.5 * (x + np.conj(x).swapaxes(-2, -1)))


def _cholesky_vjp(g: Any, z: Any, _x: Any) -> Any:
    """``L^-H half(L^H G) L^-1``, its Hermitian part."""
    inner = solve_upper(T(z), _half(mm(T(z), g)))
    return hermitian(T(solve_upper(H(z), T(inner))))


def _cholesky_jvp(t: Any, z: Any, _x: Any) -> Any:
    """``L half(L^-1 T L^-H)``."""
    inner = solve_lower(z, hermitian(t))
    return mm(z, _half(H(solve_lower(z, H(inner)))))


cholesky = Primitive("cholesky", _cholesky, lambda x: x, [_cholesky_vjp], jvp=[_cholesky_jvp])


# -- LU: A = P L U ------------------------------------------------------------------------


def _lu(x: Any) -> tuple[Any, Any, Any]:
    if x.size == 0:  # SciPy makes other shapes of empty stacks
        return x, x, x
    p, low, u = each_matrix(scipy_of(x, "linalg").lu, x)
    return p.astype(x.dtype, copy=False), low, u


def _lu_vjp(_needs: Sequence[bool], gs: Any, z: Any, _saved: Any, _x: Any) -> list[Any]:
    """``P L^-T (tril(L^T Gl, -1) + triu(Gu U^T)) U^-T``; the permutation is constant."""
    (_, gl, gu), (p, low, u) = gs, z
    inner = 0.0
    if gl is not None:
        inner = lower(mm(T(low), gl), -1)
    if gu is not None:
        inner = inner + upper(mm(gu, T(u)))
    if isinstance(inner, float):
        return [None]
    return [mm(p, T(solve_upper(u, T(solve_upper(T(low), inner)))))]


def _lu_jvp(t: Any, z: Any, _x: Any) -> tuple[Any, Any, Any]:
    """``dL = L tril(X, -1)``, ``dU = triu(X) U`` with ``X = L^-1 P^T T U^-1``."""
    p, low, u = z
    inner = right_solve(solve_lower(low, mm(T(p), t)), u)
    return None, mm(low, lower(inner, -1)), mm(upper(inner), u)


lu = Primitive(
    "lu",  # of square matrices
    _lu,
    lambda x: (x, x, x),
    joint=_lu_vjp,
    jvp=[_lu_jvp],
    outputs=True,
)


# -- QR -----------------------------------------------------------------------------------


def complement_cotangent(g: Any, q: Any, k: int) -> Any:
    """Cotangent of the first k columns of a unitary matrix, given that of all.

    The other columns are any basis of what the first leave over. Chosen so that they do not turn
    among themselves, ``dQ2 = -Q1 dQ1^H Q2``.
    """
    if np.shape(q)[-1] == k:
        return g
    first, rest = q[..., :k], q[..., k:]
    return g[..., :k] - mm(mm(conj(rest), H(g[..., k:])), conj(first))


def complement_tangent(t: Any, q: Any, k: int) -> Any:
    """Tangent of all columns of a unitary matrix, given that of the first k."""
    if np.shape(q)[-1] == k:
        return t
    first, rest = q[..., :k], q[..., k:]
    return concatenate([t, -mm(mm(first, H(t)), rest)], -1)


def _qr(x: Any, *, complete: bool) -> tuple[Any, Any]:
    q, r = np.linalg.qr(x, mode="complete" if complete else "reduced")
    return q, r


def _qr_shape(x: Shape, *, complete: bool) -> tuple[Shape, Shape]:
    *lead, m, n = x
    k = m if complete else min(m, n)
    return (*lead, m, k), (*lead, k, n)


def _qr_vjp(
    _needs: Sequence[bool], gs: Any, z: Any, _saved: Any, _x: Any, complete: bool
) -> list[Any]:
    """``(Gq + Q C) R^-H``, with C the Hermitian matrix of ``Gr R^H - Q^H Gq`` above the diagonal.

    For at least as many rows as columns, and full rank.
    """
    (gq, gr), (q, r) = gs, z
    k = np.shape(r)[-1]
    if gq is not None:
        gq = complement_cotangent(gq, q, k)
    q, r = q[..., :k], r[..., :k, :]
    inner = 0.0
    if gr is not None:
        inner = mm(gr[..., :k, :], T(r))
    if gq is not None:
        inner = inner - mm(T(q), gq)
    above = upper(inner, 1)
    middle = mm(conj(q), above + H(above) + as_diagonal(real(diagonal(inner))))
    total = middle if gq is None else gq + middle
    return [T(solve_upper(r, T(total)))]


def _qr_jvp(t: Any, z: Any, _x: Any, complete: bool) -> tuple[Any, Any]:
    """``dR = E R``, ``dQ = T R^-1 - Q E``, with an upper triangular E with a real diagonal."""
    k = np.shape(t)[-1]
    q, r = z[0][..., :k], z[1][..., :k, :]
    moved = right_solve(t, r)
    turn = mm(H(q), moved)
    below = lower(turn, -1)
    growth = turn - below + H(below)
    if turn.dtype.kind == "c":
        growth = growth - 1j * as_diagonal(imag(diagonal(turn)))
    dq, dr = moved - mm(q, growth), upper(mm(growth, r))
    if complete and np.shape(z[1])[-2] > k:
        dr = concatenate([dr, 0 * z[1][..., k:, :]], -2)
    return complement_tangent(dq, z[0], k), dr


qr = Primitive(
    "qr",
    _qr,
    _qr_shape,
    joint=_qr_vjp,
    jvp=[_qr_jvp],
    outputs=True,
)
