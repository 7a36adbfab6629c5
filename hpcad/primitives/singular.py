"""The singular value decomposition ``A = U S V^H``, and what is made of it.

A pair of singular vectors may be multiplied by a number of modulus 1; see
:mod:`hpcad.primitives.eigen`, also for equal singular values. Where a singular value is 0 (to
rounding) its inverse is taken to be 0.

Sources: Townsend (2016); Seeger et al. (arXiv:1710.08717); Z.-Q. Wan and S.-X. Zhang, "Automatic
differentiation for complex valued SVD" (arXiv:1909.02659).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import value_of
from hpcad.primitives import reduction
from hpcad.primitives.contraction import as_diagonal, diagonal
from hpcad.primitives.extremes import largest
from hpcad.primitives.factorizations import complement_cotangent, complement_tangent
from hpcad.primitives.matrices import (
    H,
    T,
    columns,
    conj,
    imag,
    mm,
    real,
    reciprocal,
    rows,
)

Shape = tuple[int, ...]


def _svd(x: Any, *, full: bool) -> tuple[Any, Any, Any]:
    u, s, vh = np.linalg.svd(x, full_matrices=full)
    return u, s, vh


def _svd_shape(x: Shape, *, full: bool) -> tuple[Shape, Shape, Shape]:
    *lead, m, n = x
    k = min(m, n)
    return (*lead, m, m if full else k), (*lead, k), (*lead, n if full else k, n)


def _inverses(s: Any) -> tuple[Any, Any]:
    """``1 / (s_j^2 - s_i^2)`` in row i and column j, and ``1 / s``; 0 in place of infinity."""
    scale = largest(value_of(s), keepdims=True)
    difference = reciprocal(rows(s) - columns(s), scale[..., None])
    total = reciprocal(rows(s) + columns(s), scale[..., None])
    return difference * total, reciprocal(s, scale)


def _svd_vjp(
    _needs: Sequence[bool], gs: Any, z: Any, _saved: Any, _x: Any, full: bool
) -> list[Any]:
    """``U P V^H``, and two terms from outside the spaces of U and V.

    ``P = (J + J^H) S + S (L + L^H) + diag(Gs)``, ``J = F * U^H Gu``, ``L = F * V^H Gv``; for
    complex matrices the imaginary part of ``diag(U^H Gu - V^H Gv) / 2 S`` besides.
    """
    (gu, gs_, gvh), (u, s, vh) = gs, z
    k = np.shape(s)[-1]
    factor, inverse = _inverses(s)
    v = H(vh)
    middle = 0 if gs_ is None else as_diagonal(gs_)
    phase = outside = 0
    u1, v1 = u[..., :k], v[..., :k]
    if gu is not None:
        gu = complement_cotangent(gu, u, k)
        inner = mm(T(u1), gu)
        turn = factor * inner
        middle = middle + (turn + H(turn)) * rows(s)
        phase = diagonal(inner)
        outside = mm((gu - mm(conj(u1), inner)) * rows(inverse), T(v1))
    if gvh is not None:
        gv = complement_cotangent(H(gvh), v, k)
        inner = mm(T(v1), gv)
        turn = factor * inner
        middle = middle + columns(s) * (turn + H(turn))
        phase = phase - diagonal(inner)
        outside = outside + mm(conj(u1), H((gv - mm(conj(v1), inner)) * rows(inverse)))
    if u.dtype.kind == "c" and not (gu is None and gvh is None):
        middle = middle + as_diagonal(0.5j * imag(phase) * inverse)
    return [mm(mm(conj(u1), middle), T(v1)) + outside]


def _svd_jvp(t: Any, z: Any, _x: Any, full: bool) -> tuple[Any, Any, Any]:
    """``dS = diag(P)``, ``dU = U (F * (P S + S P^H)) + ...``, with ``P = U^H T V``."""
    u, s, vh = z
    k = np.shape(s)[-1]
    factor, inverse = _inverses(s)
    v = H(vh)
    u1, v1 = u[..., :k], v[..., :k]
    right, left = mm(t, v1), mm(H(t), u1)
    inner = mm(H(u1), right)
    du = mm(u1, factor * (inner * rows(s) + columns(s) * H(inner)))
    dv = mm(v1, factor * (columns(s) * inner + H(inner) * rows(s)))
    du = du + (right - mm(u1, inner)) * rows(inverse)
    dv = dv + (left - mm(v1, H(inner))) * rows(inverse)
    if u.dtype.kind == "c":
        phase = rows(0.5j * imag(diagonal(inner)) * inverse)
        du, dv = du + u1 * phase, dv - v1 * phase
    du, dv = complement_tangent(du, u, k), complement_tangent(dv, v, k)
    return du, real(diagonal(inner)), H(dv)


svd = Primitive("svd", _svd, _svd_shape, joint=_svd_vjp, jvp=[_svd_jvp], outputs=True)
# Cheaper than the vectors, and without rules: a tracked matrix takes svd.
svdvals = Primitive(
    "svdvals",
    lambda x: np.linalg.svd(x, compute_uv=False),
    lambda x: (*x[:-2], min(x[-2:])),
)


def _matrix_rank(x: Any, *, rtol: Any, tol: Any) -> Any:
    s = np.linalg.svd(x, compute_uv=False)
    if tol is None:
        tol = threshold(x, rtol) * reduction.highest(s, -1, 0)
    return np.count_nonzero(s > np.expand_dims(tol, -1), axis=-1)


def threshold(x: Any, rtol: Any) -> Any:
    """The fraction of the largest singular value up to which others count as 0."""
    return max(x.shape[-2:]) * np.finfo(x.dtype).eps if rtol is None else rtol


matrix_rank = Primitive("matrix_rank", _matrix_rank, lambda x, *, rtol, tol: x[:-2], constant=True)
