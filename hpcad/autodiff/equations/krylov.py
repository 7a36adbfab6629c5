"""Linear systems on plain vectors, given by a product.

Source: Y. Saad and M. H. Schultz, "GMRES: a generalized minimal residual algorithm for solving
nonsymmetric linear systems", SIAM J. Sci. Stat. Comput. 7 (1986).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.backend import backend_of
from hpcad.errors import ConvergenceError

RESTART = 50  # vectors that a Krylov space may have


def dense_solve(product: Callable[[Any], Any], b: Any) -> Any:
    """Form the matrix by one product per unknown, and factorise it."""
    units = backend_of(b).xp.eye(b.size, dtype=b.dtype)
    if b.size == 0:
        return b
    matrix = np.stack([product(unit) for unit in units], axis=1)
    try:
        return np.linalg.solve(matrix, b)
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(
            f"the linear system of {b.size} unknowns is singular, so its solution (and any "
            "derivative that is defined by it) does not exist",
            float("inf"),
            0,
        ) from error


def gmres(product: Callable[[Any], Any], b: Any, tol: float, maxiter: int) -> Any:
    """Restarted GMRES with modified Gram-Schmidt, from zero.

    ``tol`` is that of the residual relative to ``b``; ``maxiter`` counts products.
    """
    scale = float(np.linalg.norm(b))
    x, count, left = b * 0, 0, scale
    while left > tol * scale:
        residual = b - product(x)
        left = float(np.linalg.norm(residual))
        if left <= tol * scale:
            break
        if count >= maxiter or not np.isfinite(left):
            raise ConvergenceError(
                f"GMRES stopped after {count} products with residual {left / scale:.2e} relative "
                f"to the right-hand side, above the tolerance {tol:.2e}; the operator may be "
                "singular or badly scaled: raise tol or maxiter, or precondition it",
                left / scale,
                count,
            )
        step, used = _krylov(product, residual, left, tol * scale, min(RESTART, b.size))
        x, count = x + step, count + used
    return x


def _krylov(
    product: Callable[[Any], Any], residual: Any, beta: float, target: float, size: int
) -> tuple[Any, int]:
    """The correction from one Krylov space, and how many products it took."""
    basis = [residual / beta]
    H = np.zeros((size + 1, size), residual.dtype)
    right = np.zeros(size + 1, residual.dtype)
    right[0] = beta
    for j in range(size):
        w = product(basis[j])
        for i, v in enumerate(basis):
            H[i, j] = complex(np.vdot(v, w)) if H.dtype.kind == "c" else float(np.vdot(v, w))
            w = w - H[i, j] * v
        norm = float(np.linalg.norm(w))
        H[j + 1, j] = norm
        y = np.linalg.lstsq(H[: j + 2, : j + 1], right[: j + 2], rcond=None)[0]
        left = float(np.linalg.norm(right[: j + 2] - H[: j + 2, : j + 1] @ y))
        if left <= target or norm <= target * np.finfo(H.dtype).eps or j + 1 == size:
            break
        basis.append(w / norm)
    return sum(c * v for c, v in zip(y.tolist(), basis, strict=False)), j + 1
