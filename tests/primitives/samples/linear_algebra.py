"""Samples of contractions, solutions and decompositions.

Complex eigenvectors and singular vectors are defined up to a phase, which differences of values
do not see as the rules do; they are tested in ``test_decompositions.py``, by functions that do not
depend on the phase.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

rng = np.random.default_rng(41)


def real(*shape):
    return rng.standard_normal(shape)


def plane(*shape):
    return real(*shape) + 1j * real(*shape)


def regular(*shape, make=real):
    """Square matrices well away from singular ones."""
    return make(*shape) + 3 * np.eye(shape[-1])


def definite(*shape, make=real):
    x = make(*shape)
    return x @ x.conj().swapaxes(-2, -1) + np.eye(shape[-1])


def real_spectrum(n):
    """A real matrix, not symmetric, with real eigenvalues: its eigenvectors have no free phase."""
    v = regular(n, n)
    return v @ np.diag(np.arange(1.0, n + 1)) @ np.linalg.inv(v)


SINGULAR = real(3, 2) @ real(2, 3)
LOWER = {"lower": True, "unit_diagonal": False}
UPPER_UNIT = {"lower": False, "unit_diagonal": True}
PAIRS = [
    ((2, 3), (3, 4), {"left": "ij", "right": "jk", "out": "ki"}),
    ((2, 3, 4), (3, 2, 5), {"left": "bij", "right": "ibk", "out": "bjk"}),
    ((2, 3), (2, 3), {"left": "ij", "right": "ij", "out": ""}),
    ((2, 3), (3, 2), {"left": "ij", "right": "ji", "out": "ji"}),
    ((2,), (3,), {"left": "i", "right": "j", "out": "ji"}),
    ((2, 0), (0, 3), {"left": "ij", "right": "jk", "out": "ik"}),
]
RECTANGLE = {"rows": 3, "columns": 4}


def each(*shapes, params=None, makes=(real, plane), make=None):
    """Real and complex samples with arguments of the given shapes."""
    return [
        (
            tuple((make(*shape, make=kind) if make else kind(*shape)) for shape in shapes),
            params or {},
        )
        for kind in makes
    ]


SAMPLES = {
    "matmul": [
        *each((2, 3), (3, 4)),
        *each((5, 2, 3), (5, 3, 4)),
        *each((2, 1, 2, 3), (5, 3, 4)),
        *each((2, 0), (0, 3)),
        ((real(4, 6)[::-1, ::-2], plane(3, 3).T[::-1]), {}),
    ],
    "linear": [
        *each((5, 3), (3, 4), (4,)),
        *each((2, 5, 3), (3, 4), (4,)),
        ((real(5, 3), real(3, 4), None), {}),
    ],
    "contract": [case for a, b, params in PAIRS for case in each(a, b, params=params)],
    "matrix_diagonal": [
        *each((2, 3, 4), params={"offset": 0, **RECTANGLE}),
        *each((3, 4), params={"offset": 2, **RECTANGLE}),
        *each((3, 4), params={"offset": -1, **RECTANGLE}),
        *each((3, 4), params={"offset": 9, **RECTANGLE}),
    ],
    "from_matrix_diagonal": [
        *each((2, 3), params={"offset": 0, **RECTANGLE}),
        *each((2, 2), params={"offset": 2, **RECTANGLE}),
        *each((2,), params={"offset": -1, **RECTANGLE}),
    ],
    "cross": [
        *each((2, 3), (2, 3), params={"axis": -1}),
        *each((3, 1), (2, 3, 4), params={"axis": -2}),
    ],
    "inv": [*each((2, 3, 3), make=regular), *each((0, 0))],
    "solve": [
        *each((2, 3, 3), (2, 3, 4)),
        *each((3, 3), (2, 3, 1)),
        *each((2, 3, 3), (3, 1)),
        ((real(3, 3), plane(3, 2)), {}),
    ],
    "solve_triangular": [
        *[
            ((regular(3, 3, make=m), m(3, 2)), p)
            for m in (real, plane)
            for p in (LOWER, UPPER_UNIT)
        ],
        ((regular(2, 3, 3), real(3, 1)), LOWER),
        ((regular(3, 3), real(2, 3, 1)), UPPER_UNIT),
    ],
    "pinv": [
        *each((2, 4, 3), params={"rtol": 1e-6}),
        *each((3, 4), params={"rtol": 1e-6}),
    ],
    "det": [
        *each((2, 3, 3)),
        *each((1, 1)),
        *each((0, 0)),
        ((SINGULAR,), {}),
        ((np.zeros((3, 3)),), {}),
    ],
    "cofactors": [
        *each((2, 3, 3)),
        *each((1, 1)),
        ((SINGULAR,), {}),
        ((np.zeros((4, 4)),), {}),
        ((plane(3, 1) @ plane(1, 3),), {}),
    ],
    "slogdet": [*each((2, 3, 3)), *each((1, 1))],
    "cholesky": [*each((2, 3, 3), make=definite), *each((1, 1), make=definite)],
    "lu": [*each((2, 3, 3), make=regular), *each((3, 3)), *each((0, 2, 2))],
    "qr": [
        *each((2, 4, 3), params={"complete": False}),
        *each((3, 3), params={"complete": True}),
    ],
    "eigh": [((definite(2, 3, 3),), {}), ((real(4, 4),), {})],
    "eig": [((real_spectrum(3),), {}), ((np.stack([real_spectrum(2) for _ in range(2)]),), {})],
    "svd": [
        ((real(2, 4, 3),), {"full": False}),
        ((real(2, 4),), {"full": False}),
        ((real(3, 3),), {"full": True}),
    ],
    "eigvalsh": each((2, 3, 3), make=definite),
    "eigvals": each((2, 3, 3)),
    "svdvals": each((2, 4, 3)),
    "matrix_rank": [
        *each((2, 4, 3), params={"rtol": None, "tol": None}),
        ((SINGULAR,), {"rtol": None, "tol": None}),
    ],
    "expm": [*each((2, 3, 3)), *each((1, 1))],
    "euclidean_norm": [
        *each((2, 3, 4), params={"axis": (0, 2), "keepdims": False}),
        *each((3, 4), params={"axis": 1, "keepdims": True}),
        *each((3, 4), params={"axis": None, "keepdims": False}),
    ],
}


def _einsum(a, b, left, right, out):
    return np.einsum(f"{left},{right}->{out}", a, b)


def _hermitian(x):
    return (x + x.conj().swapaxes(-2, -1)) / 2


def _minors(x):
    """Cofactors as signed determinants of minors."""
    n = x.shape[-1]
    out = np.empty(x.shape, x.dtype)
    for i in range(n):
        for j in range(n):
            minor = np.delete(np.delete(x, i, -2), j, -1)
            out[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    return out


REFERENCES = {
    "contract": _einsum,
    "cofactors": _minors,
    "solve": lambda a, b: np.linalg.inv(a) @ b,
    "solve_triangular": lambda a, b, lower, unit_diagonal: np.linalg.solve(
        (np.tril if lower else np.triu)(a, (-1 if lower else 1) if unit_diagonal else 0)
        + (np.eye(a.shape[-1]) if unit_diagonal else 0),
        b,
    ),
    "det": lambda x: np.prod(np.linalg.eigvals(x), axis=-1),
    "eigvalsh": lambda x: scipy.linalg.eigvalsh(x) if x.ndim == 2 else np.linalg.eigvalsh(x),
    "svdvals": lambda x: np.sqrt(np.linalg.eigvalsh(x.conj().swapaxes(-2, -1) @ x)[..., ::-1]),
    "cholesky": lambda x: np.linalg.cholesky(_hermitian(x)),
    "euclidean_norm": lambda x, axis, keepdims: np.linalg.norm(
        x.ravel() if axis is None else x, axis=axis, keepdims=keepdims
    ),
}
