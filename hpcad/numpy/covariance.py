"""Covariances and correlation coefficients."""

from __future__ import annotations

import math
from typing import Any

from hpcad.errors import ShapeError
from hpcad.primitives import layout, reduction
from hpcad.primitives.contraction import diagonal
from hpcad.primitives.elementwise import conj, divide, floating, multiply, real, sqrt, subtract
from hpcad.primitives.joining import concatenate
from hpcad.primitives.product import matmul

__all__: list[str] = ["corrcoef", "cov"]


def cov(
    x: Any, /, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: float | None = None
) -> Any:
    """Covariance matrix.

    Parameters
    ----------
    x : array, shape (n,) or (variables, n)
        Observations of one variable, or of several.
    y : array, optional
        Further variables.
    rowvar : bool
        Variables are rows; otherwise columns.
    bias : bool
        Divide by n instead of n - 1.
    ddof : float, optional
        Divide by n - ddof.

    Returns
    -------
    array, shape (variables, variables), or a scalar for one variable
    """
    rows = _rows(x, rowvar)
    if y is not None:
        rows = concatenate([rows, _rows(y, rowvar)], 0)
    left = rows.shape[1] - ((0 if bias else 1) if ddof is None else ddof)
    centred = subtract(rows, reduction.mean(rows, 1, True))
    other = conj(centred) if centred.dtype.kind == "c" else centred
    product = matmul(centred, layout.matrix_transpose(other))
    return layout.squeeze(divide(product, left if left > 0 else math.nan))


def corrcoef(x: Any, /, y: Any = None, rowvar: bool = True) -> Any:
    """Correlation coefficients: covariances over the products of the standard deviations.

    Parameters as for :func:`cov`; nan for a variable that is constant.
    """
    c = cov(x, y, rowvar)
    if len(c.shape) == 0:
        return divide(c, c)
    n = c.shape[0]
    variances = diagonal(c)
    spread = sqrt(real(variances) if c.dtype.kind == "c" else variances)
    return divide(c, multiply(layout.reshape(spread, (n, 1)), layout.reshape(spread, (1, n))))


def _rows(x: Any, rowvar: bool) -> Any:
    x = floating(x)
    if len(x.shape) > 2:
        raise ShapeError(f"cov takes vectors and matrices, not an array of shape {tuple(x.shape)}")
    if len(x.shape) < 2:
        return layout.reshape(x, (1, -1))
    return x if rowvar else layout.matrix_transpose(x)
