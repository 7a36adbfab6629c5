"""What the tests of cuBLASLt share: arrays with given layouts, and products by NumPy."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

HALF = ["float16", *(["bfloat16"] if find_spec("ml_dtypes") else [])]
TYPES = [
    ("float32", "float32"),
    ("float64", "float64"),
    *((half, half) for half in HALF),
    *((half, "float32") for half in HALF),
]


def tolerance(name):
    return {"float64": 1e-9, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}[name]


def put(xp, values, transposed=False, gap=0, start=0):
    """A device array of these values.

    Parameters
    ----------
    transposed : bool
        The matrices lie column by column.
    gap : int
        Elements between the rows (or columns) of a matrix.
    start : int
        Elements before the first.
    """
    if transposed:
        values = values.swapaxes(-1, -2)
    *batch, rows, columns = values.shape
    memory = xp.asarray(np.full((*batch, rows, columns + gap + start), 77, values.dtype))
    view = memory[..., start : start + columns]
    view[...] = xp.asarray(np.ascontiguousarray(values))
    return view.swapaxes(-1, -2) if transposed else view


def host(xp, array):
    return np.asarray(xp.asnumpy(array))


def wide(x):
    return x.astype(np.float64)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_slope(x, step=1e-5):
    return (gelu(x + step) - gelu(x - step)) / (2 * step)


def expected(epilogue, a, b, c, alpha, beta, bias, aux):
    """``c``, ``bias`` and ``aux`` afterwards, in float64."""
    a, b = wide(a), wide(b)
    x = alpha * (a @ b) + (beta * wide(c) if beta else 0)
    bias, aux = (None if v is None else wide(v) for v in (bias, aux))
    if epilogue in ("bias", "relu_bias", "gelu_bias", "gelu_aux_bias"):
        x = x + bias
    if epilogue in ("gelu_aux", "gelu_aux_bias"):
        aux = x
    if epilogue.startswith("relu"):
        x = np.maximum(x, 0)
    if epilogue.startswith("gelu"):
        x = gelu(x)
    if epilogue.startswith("dgelu"):
        x = x * gelu_slope(aux)
    if epilogue == "dgelu_bgrad":
        bias = x.reshape(-1, x.shape[-1]).sum(0)
    if epilogue == "bgrad_a":
        bias = a.sum(-1).reshape(-1)
    if epilogue == "bgrad_b":
        bias = b.sum(-2).reshape(-1)
    return x, bias, aux
