"""Eigenvalues and eigenvectors.

An eigenvector may be multiplied by a number of modulus 1, and then the decomposition is as good as
before: only functions that do not notice have a derivative. The rules give every eigenvector a
tangent orthogonal to itself, ``v^H dv = 0``, and drop the part of its cotangent that would turn
it.

Where eigenvalues coincide (to rounding) their eigenvectors may be any basis of a space. There the
rules take ``1 / (w_j - w_i)`` to be 0. First derivatives of symmetric functions of the eigenvalues
(traces of powers, log-determinants) and of projectors on whole eigenspaces stay exact. Second
derivatives do not, and neither do those of ``V f(w) V^H``: they lack the limit of
``(f(w_j) - f(w_i)) / (w_j - w_i)``, which the decomposition alone does not know.

Sources: Giles (2008); Seeger et al. (arXiv:1710.08717); C. Boeddeker et al., "On the computation
of complex-valued gradients with application to statistically optimum beamforming"
(arXiv:1701.00392) for complex matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import value_of
from hpcad.primitives import reduction
from hpcad.primitives.contraction import as_diagonal, diagonal
from hpcad.primitives.elementwise import cast
from hpcad.primitives.extremes import largest
from hpcad.primitives.matrices import (
    H,
    T,
    columns,
    conj,
    hermitian,
    mm,
    real,
    reciprocal,
    rows,
)
from hpcad.primitives.solving import solve

Shape = tuple[int, ...]


def _pair(x: Shape, **_: Any) -> tuple[Shape, Shape]:
    return x[:-1], x


def _values(x: Shape, **_: Any) -> Shape:
    return x[:-1]


def gaps(w: Any) -> Any:
    """``1 / (w_j - w_i)`` in row i and column j; 0 where the two are equal."""
    scale = largest(np.abs(value_of(w)), keepdims=True)
    return reciprocal(rows(w) - columns(w), scale[..., None])


# -- Hermitian matrices -------------------------------------------------------------------


def _symmetrized(x: Any) -> Any:
    return 0.5 * (x + np.conj(x).swapaxes(-2, -1))


def _eigh_vjp(_needs: Sequence[bool], gs: Any, z: Any, _saved: Any, _x: Any) -> list[Any]:
    """``V (diag(Gw) + F * V^H Gv) V^H``, its Hermitian part."""
    (gw, gv), (w, v) = gs, z
    middle = 0 if gw is None else as_diagonal(gw)
    if gv is not None:
        middle = middle + gaps(w) * mm(T(v), gv)
    return [hermitian(mm(mm(conj(v), middle), T(v)))]


def _eigh_jvp(t: Any, z: Any, _x: Any) -> tuple[Any, Any]:
    """``dw = diag(V^H T V)``, ``dV = V (F * V^H T V)``."""
    w, v = z
    moved = mm(mm(H(v), hermitian(t)), v)
    return real(diagonal(moved)), mm(v, gaps(w) * moved)


eigh = Primitive(
    "eigh",
    lambda x: tuple(np.linalg.eigh(_symmetrized(x))),
    _pair,
    joint=_eigh_vjp,
    jvp=[_eigh_jvp],
    outputs=True,
)
# Cheaper than the vectors, and without rules: a tracked matrix takes eigh.
eigvalsh = Primitive("eigvalsh", lambda x: np.linalg.eigvalsh(_symmetrized(x)), _values)


# -- general matrices ---------------------------------------------------------------------


def _complex(x: Any) -> Any:
    return x.astype(np.result_type(x.dtype, np.complex64), copy=False)


def _eig(x: Any) -> tuple[Any, Any]:
    w, v = np.linalg.eig(x)
    return _complex(w), _complex(v)


def _eig_vjp(_needs: Sequence[bool], gs: Any, z: Any, _saved: Any, _x: Any) -> list[Any]:
    """``V^-H (diag(Gw) + F^* * V^H Gv) V^H``, after the part of Gv along V was taken out."""
    (gw, gv), (w, v) = gs, z
    middle = 0 if gw is None else as_diagonal(gw)
    if gv is not None:
        along = reduction.sum(v * gv, axis=-2, keepdims=True)
        middle = middle + gaps(w) * mm(T(v), gv - conj(v) * along)
    return [solve(T(v), mm(middle, T(v)))]


def _eig_jvp(t: Any, z: Any, _x: Any) -> tuple[Any, Any]:
    """``dw = diag(V^-1 T V)``, ``dV = V (F * V^-1 T V)`` without its part along V."""
    w, v = z
    moved = solve(v, mm(cast(t, dtype=v.dtype), v))
    dv = mm(v, gaps(w) * moved)
    along = reduction.sum(conj(v) * dv, axis=-2, keepdims=True)
    return diagonal(moved), dv - v * along


eig = Primitive("eig", _eig, _pair, joint=_eig_vjp, jvp=[_eig_jvp], outputs=True)
eigvals = Primitive("eigvals", lambda x: _complex(np.linalg.eigvals(x)), _values)
