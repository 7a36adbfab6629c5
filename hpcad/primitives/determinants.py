"""Determinants, exact at singular matrices: the derivative of det is the matrix of cofactors.

``cofactors(X) = det(X) X^-T`` where X can be inverted; at a singular matrix it comes from the
singular value decomposition, and its own derivatives from the determinants of minors (Giles 2008
for the regular case; J. Townsend, "Differentiating the singular value decomposition" (2016) for
the notation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import Tensor, known, value_of
from hpcad.backend import backend_of
from hpcad.primitives import reduction
from hpcad.primitives.elementwise import where
from hpcad.primitives.indexing import getitem
from hpcad.primitives.layout import expand_dims
from hpcad.primitives.matrices import T, imag, mm, real
from hpcad.primitives.solving import inv

Shape = tuple[int, ...]

# A condition number above which an inverse is not used (the square root of 1 / eps).
_REGULAR = {"f": 1e3, "d": 1e7, "F": 1e3, "D": 1e7}


def _everywhere(v: Any) -> Any:
    """A number per matrix, to be multiplied with the matrices."""
    return expand_dims(expand_dims(v, -1), -1)


def _batch(x: Shape, **_: Any) -> Shape:
    return x[:-2]


det = Primitive(
    "det",
    lambda x: np.linalg.det(x),
    _batch,
    [lambda g, _z, x: _everywhere(g) * cofactors(x)],
    jvp=[lambda t, _z, x: reduction.sum(t * cofactors(x), axis=(-2, -1))],
)


# -- cofactors ----------------------------------------------------------------------------


def _regular(x: Any) -> bool:
    """Whether every matrix of the batch is far from singular."""
    x = known(x) if isinstance(x, Tensor) else x
    try:
        inverse = np.linalg.inv(x)
    except np.linalg.LinAlgError:
        return False
    norms = _norm(x) * _norm(inverse)
    return bool(np.all(norms < _REGULAR.get(norms.dtype.char, 1e7)))


def _norm(x: Any) -> Any:
    """The largest sum of a row of every matrix."""
    return reduction.highest(np.abs(x).sum(-1), -1, 0)


def _cofactors(x: Any) -> Any:
    if _regular(x):
        return np.linalg.det(x)[..., None, None] * np.linalg.inv(x).swapaxes(-2, -1)
    u, s, vh = np.linalg.svd(x)
    # cof(U S V^H) = cof(U) cof(S) cof(V^H), and cof(U) = det(U) conj(U) for unitary matrices.
    scale = _others(s) * (np.linalg.det(u) * np.linalg.det(vh))[..., None]
    return np.conj(u) * scale[..., None, :] @ np.conj(vh)


def _others(s: Any) -> Any:
    """For each number of the last axis the product of the others."""
    xp = backend_of(s).xp
    ones = xp.ones_like(s[..., :1])
    before = xp.cumprod(xp.concatenate([ones, s[..., :-1]], -1), -1)
    after = xp.cumprod(xp.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
    return before * after


def _minors(x: Any) -> Any:
    """All matrices without one row and one column; two new axes say which."""
    n = np.shape(x)[-1]
    kept = np.array([[k for k in range(n) if k != i] for i in range(n)], int).reshape(n, n - 1)
    return getitem(x, (..., kept[:, None, :, None], kept[None, :, None, :]))


def _cofactors_rule(g: Any, z: Any, x: Any) -> Any:
    """The second derivative of det, applied to ``g``; symmetric, so VJP and JVP are one."""
    plain = value_of(x)
    if _regular(plain):
        y = T(inv(x))
        along = reduction.sum(g * y, axis=(-2, -1))
        return _everywhere(along) * z - mm(mm(y, T(g)), z)
    sign = backend_of(plain).xp.ones(plain.shape[-2:], plain.dtype)
    sign[1::2] *= -1
    sign[:, 1::2] *= -1
    return sign * reduction.sum(_minors(g) * cofactors(_minors(x)), axis=(-2, -1))


cofactors = Primitive("cofactors", _cofactors, lambda x: x, [_cofactors_rule], jvp="same")


# -- sign and logarithm -------------------------------------------------------------------


def _inverse_or_nan(x: Any) -> Any:
    """The inverse, and nan for matrices that have none."""
    plain = value_of(x)
    singular = (np.linalg.slogdet(plain)[0] == 0)[..., None, None]
    if not singular.any():
        return inv(x)
    unit = backend_of(plain).xp.eye(plain.shape[-1], dtype=plain.dtype)
    return where(singular, np.nan, inv(where(singular, unit, x)))


def _slogdet_vjp(_needs: Sequence[bool], gs: Any, z: Any, _saved: Any, x: Any) -> list[Any]:
    """``X^-T`` times the cotangent of the logarithm, and of the angle of a complex sign."""
    angle, logarithm = gs
    factor = logarithm
    if angle is not None and x.dtype.kind == "c":
        turned = 1j * imag(angle * z[0])
        factor = turned if factor is None else factor + turned
    if factor is None:
        return [None]
    return [_everywhere(factor) * T(_inverse_or_nan(x))]


def _slogdet_jvp(t: Any, z: Any, x: Any) -> tuple[Any, Any]:
    relative = reduction.sum(T(_inverse_or_nan(x)) * t, axis=(-2, -1))
    if x.dtype.kind != "c":
        return None, relative
    return 1j * imag(relative) * z[0], real(relative)


slogdet = Primitive(
    "slogdet",
    lambda x: tuple(np.linalg.slogdet(x)),
    lambda x: (x[:-2], x[:-2]),
    joint=_slogdet_vjp,
    jvp=[_slogdet_jvp],
    outputs=True,
)
