"""What determines answers that are not unique: factorizations, and partitions.

``CONSTRAINTS`` has, from the name of a primitive, a function of its arguments, its parameters and
its answer; it returns pairs of arrays that must be equal.
"""

from __future__ import annotations

import numpy as np


def _h(x):
    return x.conj().swapaxes(-2, -1)


def _unitary(q):
    """The columns are orthonormal."""
    return _h(q) @ q, np.broadcast_to(np.eye(q.shape[-1]), (*q.shape[:-2], *q.shape[-1:] * 2))


def _eigh(args, params, answer):
    (a,), (w, v) = args, answer
    a = (a + _h(a)) / 2
    return [(a @ v, v * w[..., None, :]), _unitary(v), (w, np.sort(w, -1))]


def _eig(args, params, answer):
    (a,), (w, v) = args, answer
    lengths = np.sum(np.abs(v) ** 2, -2)
    return [(a @ v, v * w[..., None, :]), (lengths, np.ones_like(lengths)), *_spectrum(a, w)]


def _spectrum(a, w):
    """Coefficients of the characteristic polynomial, and its zeros."""
    shifted = a[..., None, :, :] - w[..., :, None, None] * np.eye(a.shape[-1])
    return [
        (np.sum(w, -1), np.trace(a, axis1=-2, axis2=-1)),
        (np.prod(w, -1), np.linalg.det(a)),
        (np.linalg.det(shifted), np.zeros_like(w)),
    ]


def _svd(args, params, answer):
    (a,), (u, s, vh) = args, answer
    k = s.shape[-1]
    if params["full"]:
        assert u.shape[-1] == a.shape[-2]
        assert vh.shape[-2] == a.shape[-1]
    product = u[..., :k] * s[..., None, :] @ vh[..., :k, :]
    return [(product, a), _unitary(u), _unitary(_h(vh)), (np.abs(s), -np.sort(-s, -1))]


def _qr(args, params, answer):
    (a,), (q, r) = args, answer
    assert q.shape[-1] == (a.shape[-2] if params["complete"] else min(a.shape[-2:]))
    return [(q @ r, a), _unitary(q), (r, np.triu(r))]


def _lu(args, params, answer):
    (a,), (p, lower, upper) = args, answer
    eye = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    return [
        (p @ lower @ upper, a),
        (lower, np.tril(lower, -1) + eye),
        (upper, np.triu(upper)),
        (np.sort(p, -1)[..., -1], np.ones(a.shape[:-1])),
        _unitary(p),
    ]


def _argpartition(args, params, answer):
    """A permutation; what stands before the place is not larger, and what is behind not smaller."""
    (x,), (axis, place) = args, (params["axis"], params["places"])
    line = np.moveaxis(np.take_along_axis(x, answer, axis), axis, -1)
    found = line[..., place]
    count = np.broadcast_to(
        np.expand_dims(np.arange(x.shape[axis]), [a for a in range(x.ndim) if a != axis]), x.shape
    )
    return [
        (np.sort(answer, axis), count),
        (found, np.sort(np.moveaxis(x, axis, -1), -1)[..., place]),
        (np.max(line[..., : place + 1], -1), found),
        (np.min(line[..., place:], -1), found),
    ]


CONSTRAINTS = {
    "eigh": _eigh,
    "eig": _eig,
    "eigvals": lambda args, params, answer: _spectrum(args[0], answer),
    "svd": _svd,
    "qr": _qr,
    "lu": _lu,
    "argpartition": _argpartition,
}

# Of matrices of full rank; and by the Gram matrix, for those far from a lower rank.
REFERENCES = {
    "pinv": lambda a, rtol: (
        np.linalg.solve(_h(a) @ a, _h(a)) if a.shape[-2] >= a.shape[-1]
        else _h(np.linalg.solve(a @ _h(a), a))
    ),
    "matrix_rank": lambda a, rtol, tol: np.sum(np.linalg.eigvalsh(_h(a) @ a) > 1e-10, -1),
}  # fmt: skip
