"""Convolution and pooling against plain loops, in one block and in many."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.numpy_backend import NumpyBackend
from hpcad.primitives.convolution import _conv_input_gather as gather
from hpcad.primitives.convolution import _conv_input_scatter as scatter
from hpcad.primitives.convolution import conv2d, conv_input, conv_weight
from hpcad.primitives.pooling import max_pool2d

rng = np.random.default_rng(0)


def direct(x, w, b, stride, padding):
    (sh, sw), (ph, pw) = stride, padding
    x = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    kh, kw = w.shape[:2]
    rows, columns = (x.shape[1] - kh) // sh + 1, (x.shape[2] - kw) // sw + 1
    y = np.empty((len(x), rows, columns, w.shape[3]))
    for i in range(rows):
        for j in range(columns):
            patch = x[:, i * sh : i * sh + kh, j * sw : j * sw + kw]
            y[:, i, j] = np.einsum("nhwc,hwck->nk", patch, w) + b
    return y


@pytest.fixture(params=[1, 2000, 1 << 21], ids=["one image", "some images", "all images"])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(NumpyBackend, "block_bytes", request.param)


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
def test_blocks_do_not_change_the_result(stride, padding):
    x, w, b = rng.standard_normal((5, 7, 6, 3)), rng.standard_normal((3, 2, 3, 4)), rng.random(4)
    y = conv2d(x, w, b, stride, padding)
    np.testing.assert_allclose(y, direct(x, w, b, stride, padding), rtol=1e-12, atol=1e-12)
    g = rng.standard_normal(y.shape)
    settings = {"stride": stride, "padding": padding}
    # <g, conv(x, w)> = <conv_input(g, w), x> = <conv_weight(x, g), w>
    inner = (g * (y - b)).sum()
    dx = conv_input(g, w, size=(7, 6), **settings)
    dw = conv_weight(x, g, kernel=(3, 2), **settings)
    np.testing.assert_allclose([(dx * x).sum(), (dw * w).sum()], inner, rtol=1e-10)


def test_gather_and_scatter_agree():
    g, w = rng.standard_normal((3, 7, 6, 4)), rng.standard_normal((3, 3, 2, 4))
    one = gather(g, w, (1, 1))
    np.testing.assert_allclose(one, scatter(g, w, (7, 6), (1, 1), (1, 1)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pooling_against_a_loop(size):
    x = rng.integers(0, 4, (2, 7, 8, 3)).astype(np.float64)  # with many ties
    y = max_pool2d(x, size)
    for i in range(7 // size):
        for j in range(8 // size):
            window = x[:, i * size : (i + 1) * size, j * size : (j + 1) * size]
            np.testing.assert_array_equal(y[:, i, j], window.max((1, 2)))


def test_at_ties_the_first_of_a_window_gets_the_cotangent():
    from hpcad import vjp

    x = np.array([[1.0, 3.0], [3.0, 3.0]])[None, :, :, None]
    _, pullback = vjp(max_pool2d, x)
    (dx,) = pullback(np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 1], [0, 0]])
