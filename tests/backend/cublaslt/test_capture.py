"""Products in graphs and on several streams of the strict device."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.cublaslt import bind_product
from hpcad.backend.cublaslt.context import context_of

from .arrays import host

rng = np.random.default_rng(0)


@pytest.fixture
def stream(xp):
    made = xp.cuda.Stream(non_blocking=True)
    yield made
    made.synchronize()


def draw(xp, *shape):
    return xp.asarray(rng.standard_normal(shape).astype(np.float32))


def test_a_captured_product_runs_at_each_launch(xp, stream):
    with stream:
        a, b, c = draw(xp, 4, 8), draw(xp, 8, 16), xp.zeros((4, 16), np.float32)
        bias, aux = draw(xp, 16), xp.zeros((4, 16), np.float32)
        product = bind_product(xp, a, b, c, beta=1.0)
        fused = bind_product(xp, a, b, aux, epilogue="relu_bias", bias=bias)
        stream.begin_capture()
        product()
        fused()
        graph = stream.end_capture()
        assert (host(xp, c) == 0).all()
        graph.launch()
        graph.launch()
        first = host(xp, a) @ host(xp, b)
        np.testing.assert_allclose(host(xp, c), 2 * first, rtol=1e-5, atol=1e-5)
        wanted = np.maximum(first + host(xp, bias), 0)
        np.testing.assert_allclose(host(xp, aux), wanted, rtol=1e-5, atol=1e-5)
        a[...] = draw(xp, 4, 8)
        graph.launch()
        wanted = 2 * first + host(xp, a) @ host(xp, b)
        np.testing.assert_allclose(host(xp, c), wanted, rtol=1e-5, atol=1e-5)


def test_a_call_neither_allocates_nor_waits_nor_transfers(xp, stream):
    with stream:
        a, b, c = draw(xp, 4, 8), draw(xp, 8, 16), xp.empty((4, 16), np.float32)
        product = bind_product(xp, a, b, c)
        before = xp.COUNTS.launches, xp.COUNTS.allocations, xp.COUNTS.synchronisations
        with xp.forbid_synchronisation():
            product()
        after = xp.COUNTS.launches, xp.COUNTS.allocations, xp.COUNTS.synchronisations
    assert np.subtract(after, before).tolist() == [1, 0, 0]


def test_every_stream_has_a_workspace_of_its_own(xp, stream):
    other = xp.cuda.Stream(non_blocking=True)
    context = context_of(xp)
    assert context.workspace(stream) != context.workspace(other)


def test_a_product_before_its_operands_are_there_is_noticed(xp, stream):
    late = xp.cuda.Stream(non_blocking=True)
    with stream:
        a, b, c = draw(xp, 4, 8), draw(xp, 8, 16), xp.empty((4, 16), np.float32)
        stream.synchronize()
        product = bind_product(xp, a, b, c)
        xp.multiply(a, 2, out=a)
        done = stream.record()
    with late:
        with pytest.raises(xp.StrictDeviceError, match="cublasLtMatmul"):
            product()
        late.wait_event(done)
        product()
        late.synchronize()


def test_memory_that_was_freed_is_noticed(xp):
    a, b, c = draw(xp, 4, 8), draw(xp, 8, 16), xp.empty((4, 16), np.float32)
    product = bind_product(xp, a, b, c)
    product._kept.clear()  # what a program that lets its arrays go would do
    del a
    with pytest.raises(xp.StrictDeviceError, match="cublasLtMatmul"):
        product()
