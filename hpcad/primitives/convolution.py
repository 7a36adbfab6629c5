"""Convolution on images in N,H,W,C order: as GEMM, or by compiled routines where there are some.

Three bilinear primitives, closed under differentiation:

    y = conv(x, w, b),    dx = conv_input(g, w),    dw = conv_weight(x, g).

Each is the adjoint of another in one of its arguments, so derivatives of any order stay here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import backend_of
from hpcad.backend.native.convolution import arrays
from hpcad.errors import ShapeError
from hpcad.primitives import reduction
from hpcad.primitives.product import given, in_type, summed_in

Pair = tuple[int, int]


def _padded(x: Any, padding: Pair) -> Any:
    (n, h, w, c), (ph, pw) = x.shape, padding
    if ph == pw == 0:
        return x
    out = backend_of(x).zeros((n, h + 2 * ph, w + 2 * pw, c), x.dtype)
    out[:, ph : ph + h, pw : pw + w] = x
    return out


def _blocks(x: Any, kernel: Pair, stride: Pair, padding: Pair) -> Iterator[tuple[slice, Any]]:
    """im2col, a few images at a time: yields (images, columns (rows, KH KW C)).

    The columns are ``KH KW`` times as large as the images; in blocks that fit into cache they
    are written and read there, and one buffer serves all.
    """
    backend = backend_of(x)
    patches = backend.windows(_padded(x, padding), kernel, stride)
    n, oh, ow = patches.shape[:3]
    width = kernel[0] * kernel[1] * x.shape[3]
    step = max(1, min(n, backend.block_bytes // max(1, oh * ow * width * x.dtype.itemsize)))
    buffer = backend.empty((step, *patches.shape[1:]), x.dtype)
    for start in range(0, n, step):
        images = slice(start, min(start + step, n))
        block = buffer[: images.stop - start]
        block[...] = patches[images]
        yield images, block.reshape(-1, width)


def _conv_shape(
    x: Any, w: Any, _b: Any = None, *, stride: Pair, padding: Pair, dtype: Any = None
) -> tuple[int, ...]:
    rows = (x[1] + 2 * padding[0] - w[0]) // stride[0] + 1
    columns = (x[2] + 2 * padding[1] - w[1]) // stride[1] + 1
    return (x[0], rows, columns, w[3])


def _conv(x: Any, w: Any, b: Any = None, *, stride: Pair, padding: Pair, dtype: Any = None) -> Any:
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        raise ShapeError(
            f"conv2d: an image batch (N, H, W, C) and a weight (KH, KW, C, K) are needed; "
            f"got shapes {tuple(x.shape)} and {tuple(w.shape)}"
        )
    shape = _conv_shape(x.shape, w.shape, stride=stride, padding=padding)
    if shape[1] < 1 or shape[2] < 1:
        raise ShapeError(
            f"conv2d: images of {x.shape[1]} x {x.shape[2]} with padding {padding} are smaller "
            f"than the kernel of {w.shape[0]} x {w.shape[1]}"
        )
    x, w, b = (in_type(a, dtype) for a in (x, w, b))
    out = arrays.forward(x, w, b, stride, padding)
    return _conv_gemm(x, w, b, stride, padding) if out is None else out


def _conv_gemm(x: Any, w: Any, b: Any, stride: Pair, padding: Pair) -> Any:
    shape = _conv_shape(x.shape, w.shape, stride=stride, padding=padding)
    backend, kernel = backend_of(x), w.reshape(-1, w.shape[3])
    out = backend.empty(shape, np.result_type(x, w))
    for images, columns in _blocks(x, w.shape[:2], stride, padding):
        backend.gemm(columns, kernel, out[images].reshape(-1, w.shape[3]), bias=b)
    return out


def _conv_weight(
    x: Any, g: Any, *, kernel: Pair, stride: Pair, padding: Pair, dtype: Any = None
) -> Any:
    shape = (*kernel, x.shape[3], g.shape[3])
    out = backend_of(x).zeros(shape, np.result_type(x, g) if dtype is None else dtype)
    _add_conv_weight(out, 0.0, g, x, stride, padding)
    return out


def _add_conv_weight(out: Any, beta: float, g: Any, x: Any, stride: Pair, padding: Pair) -> None:
    """``out = beta * out + x * g``; on the batch of no images, ``beta * out``."""
    if not arrays.add_weight(out, beta, g, x, stride, padding):
        _add_conv_weight_gemm(out, beta, g, x, stride, padding)


def _add_conv_weight_gemm(
    out: Any, beta: float, g: Any, x: Any, stride: Pair, padding: Pair
) -> None:
    flat = out.reshape(-1, out.shape[3])
    if len(x) == 0 and beta == 0.0:
        flat[...] = 0
    for images, columns in _blocks(x, out.shape[:2], stride, padding):
        backend_of(x).gemm(columns.T, g[images].reshape(-1, g.shape[3]), flat, beta=beta)
        beta = 1.0


def _conv_weight_into(
    out: Any, beta: float, g: Any, _y: Any, x: Any, _w: Any, _b: Any, stride: Pair, padding: Pair,
    dtype: Any = None,
) -> None:  # fmt: skip
    _add_conv_weight(out, beta, g, in_type(x, dtype), stride, padding)


def _conv_bias_into(
    out: Any, beta: float, g: Any, _y: Any, _x: Any, _w: Any, _b: Any, stride: Pair, padding: Pair,
    dtype: Any = None,
) -> None:  # fmt: skip
    backend_of(g).column_sums(g.reshape(-1, g.shape[3]), out, beta)


def _conv_input(g: Any, w: Any, *, size: Pair, stride: Pair, padding: Pair) -> Any:
    out = arrays.adjoint(g, w, size, stride, padding)
    return _conv_input_gemm(g, w, size, stride, padding) if out is None else out


def _conv_input_gemm(g: Any, w: Any, size: Pair, stride: Pair, padding: Pair) -> Any:
    # The gather copies KH KW times the filters, the scatter KH KW times the channels.
    if stride == (1, 1) and w.shape[3] <= w.shape[2]:
        return _conv_input_gather(g, w, padding)
    return _conv_input_scatter(g, w, size, stride, padding)


def _conv_input_gather(g: Any, w: Any, padding: Pair) -> Any:
    """At stride 1 the adjoint is itself a convolution, with the kernel turned by 180 degrees."""
    kh, kw = w.shape[:2]
    turned = w[::-1, ::-1].transpose(0, 1, 3, 2)
    pad = (kh - 1 - padding[0], kw - 1 - padding[1])
    if min(pad) < 0:  # more padding than the kernel reaches: those rows meet no input
        cut_h, cut_w = max(0, -pad[0]), max(0, -pad[1])
        g = g[:, cut_h : g.shape[1] - cut_h, cut_w : g.shape[2] - cut_w]
        pad = (max(0, pad[0]), max(0, pad[1]))
    turned = backend_of(turned).xp.ascontiguousarray(turned)
    return _conv_gemm(g, turned, None, (1, 1), pad)


def _conv_input_scatter(g: Any, w: Any, size: Pair, stride: Pair, padding: Pair) -> Any:
    """col2im: one strided addition per kernel element, a few images at a time."""
    (kh, kw, c, k), (n, oh, ow, _) = w.shape, g.shape
    (ph, pw), (sh, sw), (h, wd) = padding, stride, size
    backend, kernel = backend_of(g), w.reshape(-1, k).T
    out = backend.zeros((n, h + 2 * ph, wd + 2 * pw, c), np.result_type(g, w))
    step = max(1, min(n, backend.block_bytes // max(1, oh * ow * kh * kw * c * g.dtype.itemsize)))
    for start in range(0, n, step):
        part = g[start : start + step]
        columns = backend.gemm(part.reshape(-1, k), kernel).reshape(len(part), oh, ow, kh, kw, c)
        place = out[start : start + step]
        for i in range(kh):
            for j in range(kw):
                place[:, i : i + sh * oh : sh, j : j + sw * ow : sw] += columns[:, :, :, i, j]
    return out[:, ph : ph + h, pw : pw + wd]


def _image_size(x: Any) -> Pair:
    shape = np.shape(x)
    return (shape[1], shape[2])


def _kernel_size(w: Any) -> Pair:
    return (np.shape(w)[0], np.shape(w)[1])


# -- rules: the weight may be of another type than the products ----------------------------------


def _conv_x(
    g: Any, _y: Any, x: Any, w: Any, _b: Any, stride: Pair, padding: Pair, dtype: Any = None
) -> Any:
    w = in_type(w, dtype)
    return conv_input(g, w, size=_image_size(x), stride=stride, padding=padding)


def _conv_w(
    g: Any, _y: Any, x: Any, w: Any, _b: Any, stride: Pair, padding: Pair, dtype: Any = None
) -> Any:
    params = {"kernel": _kernel_size(w), "stride": stride, "padding": padding}
    return conv_weight(in_type(x, dtype), g, **params, **given(summed_in(dtype)))


def _conv_b(
    g: Any, _y: Any, _x: Any, _w: Any, _b: Any, stride: Pair, padding: Pair, dtype: Any = None
) -> Any:
    return reduction.sum(in_type(g, summed_in(dtype)), (0, 1, 2))


# fmt: off
conv = Primitive("conv", _conv, _conv_shape, [_conv_x, _conv_w, _conv_b], jvp=[
    lambda t, _y, _x, w, _b, **params: conv(t, w, None, **params),
    lambda t, _y, x, _w, _b, **params: conv(x, t, None, **params),
    lambda t, _y, _x, _w, _b, **params: t,
], into={1: _conv_weight_into, 2: _conv_bias_into})

conv_input = Primitive(
    "conv_input", _conv_input, lambda g, w, *, size, stride, padding: (g[0], *size, w[2]), [
    lambda u, _x, _g, w, size, stride, padding: conv(u, w, None, stride=stride, padding=padding),
    lambda u, _x, g, w, size, stride, padding:
        conv_weight(u, g, kernel=_kernel_size(w), stride=stride, padding=padding),
], jvp="linear")

conv_weight = Primitive(
    "conv_weight", _conv_weight,
    lambda x, g, *, kernel, stride, padding, dtype=None: (*kernel, x[3], g[3]), [
    lambda u, _w, x, g, kernel, stride, padding, dtype=None:
        conv_input(g, u, size=_image_size(x), stride=stride, padding=padding),
    lambda u, _w, x, _g, kernel, stride, padding, dtype=None:
        conv(x, u, None, stride=stride, padding=padding),
], jvp="linear")
# fmt: on


def conv2d(
    x: Any, w: Any, b: Any = None, stride: int | Pair = 1, padding: int | Pair = 0, *,
    dtype: Any = None,
) -> Any:  # fmt: skip
    """Two-dimensional cross-correlation, the "convolution" of neural networks.

    Parameters
    ----------
    x : array, shape (N, H, W, C)
    w : array, shape (KH, KW, C, K)
    b : array, shape (K,), optional
    stride, padding : int or pair of int
        Padding is with zeros, on both sides.
    dtype : dtype, optional
        As of :func:`~hpcad.primitives.product.linear`.

    Returns
    -------
    array, shape (N, (H + 2 PH - KH) // SH + 1, (W + 2 PW - KW) // SW + 1, K)

    Notes
    -----
    GEMM m = N OH OW, n = K, k = KH KW C.
    """
    return conv(x, w, b, stride=_pair(stride), padding=_pair(padding), **given(dtype))


def _pair(x: int | Pair) -> Pair:
    return (x, x) if isinstance(x, int) else (int(x[0]), int(x[1]))
