"""What may be done while a stream captures, and what a graph's launch checks."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from hpcad.backend import strict as xp
from hpcad.backend.strict import StrictDeviceError


@pytest.fixture
def stream():
    made = xp.cuda.Stream(non_blocking=True)
    with made:
        yield made


@pytest.fixture
def pool():
    return xp.cuda.MemoryPool()


def captured(stream, work, pool=None):
    allocator = None if pool is None else pool.malloc
    with xp.cuda.using_allocator(allocator):
        stream.begin_capture()
        try:
            work()
        finally:
            graph = stream.end_capture()
    return graph


def test_a_graph_runs_when_it_is_launched(stream):
    x = xp.zeros(4)

    def work():
        x.__iadd__(1)
        x.__imul__(2)

    graph = captured(stream, work)
    assert x.tolist() == [0, 0, 0, 0]
    graph.launch()
    assert x.tolist() == [2, 2, 2, 2]
    graph.launch(stream)
    assert x.tolist() == [6, 6, 6, 6]


def test_a_launch_reads_the_memory_as_it_is_then(stream, pool):
    x, out = xp.ones(4), xp.zeros(4)
    graph = captured(stream, lambda: out.__setitem__(..., np.exp(x * 2)), pool)
    assert out.tolist() == [0, 0, 0, 0]
    x.fill(3)
    graph.launch()
    np.testing.assert_array_equal(out.get(), np.exp(np.full(4, 6.0)))


def test_results_of_a_capture_are_poison_until_the_launch(stream, pool):
    x, kept = xp.ones(4), []
    graph = captured(stream, lambda: kept.append(x + 1), pool)
    assert np.isnan(kept[0].get()).all()
    graph.launch()
    assert kept[0].tolist() == [2, 2, 2, 2]


def test_memory_of_a_graph_is_poison_at_every_launch(stream, pool):
    """A sum into memory that nobody has cleared, which was zero by luck."""
    kept = []

    def work():
        kept.append(xp.empty(4))
        kept[0] += 1

    graph = captured(stream, work, pool)
    graph.launch()
    kept[0].fill(0)
    graph.launch()
    assert np.isnan(kept[0].get()).all()


def test_memory_that_a_graph_has_written_is_poison_for_others(stream, pool):
    x, out = xp.ones(4), xp.zeros(4)
    graph = captured(stream, lambda: out.__setitem__(..., (x + 1) * 2), pool)
    graph.launch()
    with xp.cuda.using_allocator(pool.malloc):
        assert np.isnan(xp.empty(4).get()).all()


HOST = np.ones(4)
REFUSED = {
    "float": lambda x: float(x[0]),
    "if": lambda x: 1 if x[0] > 0 else 0,
    "item": lambda x: x[0].item(),
    "get": lambda x: x.get(),
    "get to pinned memory": lambda x: x.get(out=_pinned(), blocking=False),
    "set": lambda x: x.set(HOST),
    "set from pinned memory": lambda x: x.set(_pinned()),
    "host array": lambda _: xp.asarray(HOST),
    "host index": lambda x: x[np.array([0, 1])],
    "mask": lambda x: x[x > 0],
    "nonzero": np.flatnonzero,
    "synchronize": lambda _: xp.cuda.get_current_stream().synchronize(),
    "device": lambda _: xp.cuda.Device().synchronize(),
    "done": lambda _: xp.cuda.get_current_stream().done,
    "event": lambda _: xp.cuda.get_current_stream().record().synchronize(),
    "launch": lambda _: EMPTY.launch(),
    "begin again": lambda _: xp.cuda.get_current_stream().begin_capture(),
}


def _pinned():
    return np.frombuffer(xp.cuda.alloc_pinned_memory(32), np.float64)


_other = xp.cuda.Stream(non_blocking=True)
EMPTY = captured(_other, lambda: None)


@pytest.mark.parametrize("how", REFUSED)
def test_the_host_gets_nothing_while_a_stream_captures(stream, pool, how):
    x = xp.ones(4)
    with pytest.raises(StrictDeviceError, match="captur"):
        captured(stream, lambda: REFUSED[how](x), pool)
    assert not stream.is_capturing()


def test_products_of_cupy_are_refused_while_a_stream_captures(stream, pool):
    x = xp.ones((4, 4))
    for product in (np.matmul, np.dot, lambda a, b: np.einsum("ij,jk", a, b), np.linalg.solve):
        with pytest.raises(StrictDeviceError, match="cuBLAS"):
            captured(stream, lambda f=product: f(x, x), pool)


def test_an_allocation_needs_a_private_pool(stream, pool):
    x = xp.ones(4)
    for work in (lambda: x + 1, lambda: xp.empty(4), lambda: xp.zeros(4)):
        with pytest.raises(StrictDeviceError, match=r"allocation of 32 bytes .* private pool"):
            captured(stream, work)
        captured(stream, work, pool).launch()


def test_a_graph_keeps_no_array_alive(stream):
    x = [xp.zeros(4)]
    graph = captured(stream, lambda: x[0].__iadd__(1))
    graph.launch()
    x.clear()
    with pytest.raises(StrictDeviceError, match=r"add \(captured at .*\) uses allocation .* freed"):
        graph.launch()


def test_memory_that_was_given_to_somebody_else_is_noticed(stream):
    x = [xp.zeros(4)]
    address = x[0].data.ptr
    graph = captured(stream, lambda: x[0].__iadd__(1))
    x.clear()
    y = xp.ones(4)
    assert y.data.ptr == address
    with pytest.raises(StrictDeviceError, match="was freed after the capture"):
        graph.launch()
    assert y.tolist() == [1, 1, 1, 1]


def test_temporaries_of_a_capture_live_in_its_pool(stream, pool):
    x, out = xp.ones(4), xp.zeros(4)
    graph = captured(stream, lambda: out.__setitem__(..., (x + 1) * (x + 2)), pool)
    for _ in range(2):
        graph.launch()
        assert out.tolist() == [6, 6, 6, 6]


def test_the_pool_of_a_graph_must_stay(stream):
    x, out = xp.ones(4), xp.zeros(4)
    graph = captured(stream, lambda: out.__setitem__(..., (x + 1) * 2), xp.cuda.MemoryPool())
    gc.collect()
    with pytest.raises(StrictDeviceError, match="private pool that is gone"):
        graph.launch()


def test_the_pool_of_a_graph_is_for_nothing_else(stream, pool):
    x, out = xp.ones(4), xp.zeros(4)
    graph = captured(stream, lambda: out.__setitem__(..., (x + 1) * 2), pool)
    with xp.cuda.using_allocator(pool.malloc):
        mine = xp.ones(4)
    with pytest.raises(StrictDeviceError, match="writes over allocation"):
        graph.launch()
    assert mine.tolist() == [1, 1, 1, 1]


def test_a_launch_is_ordered_like_other_work(stream):
    x = xp.zeros(4)
    graph = captured(stream, lambda: x.__iadd__(1))
    other = xp.cuda.Stream(non_blocking=True)
    with other:
        with pytest.raises(StrictDeviceError, match="wait_event"):
            graph.launch()
        other.wait_event(stream.record())
        graph.launch()
    with pytest.raises(StrictDeviceError, match="wait_event"):
        x.fill(0)
    stream.wait_event(other.record())
    x.fill(0)


def test_streams_of_a_capture_need_events(stream):
    x, y = xp.zeros(4), xp.zeros(4)
    other = xp.cuda.Stream(non_blocking=True)

    def wrong():
        fork = stream.record()
        x.fill(1)
        other.wait_event(fork)
        with other:
            y[...] = x

    with pytest.raises(StrictDeviceError, match=r"assignment on stream .* fill on stream"):
        captured(stream, wrong)

    def forgotten():
        other.wait_event(stream.record())
        with other:
            y.fill(1)

    with pytest.raises(StrictDeviceError, match="does not wait for their work"):
        captured(stream, forgotten)

    def right():
        x.fill(1)
        other.wait_event(stream.record())
        with other:
            y[...] = x
        stream.wait_event(other.record())
        y.__iadd__(1)

    captured(stream, right).launch()
    assert y.tolist() == [2, 2, 2, 2]


def test_events_of_a_capture_order_nothing_outside(stream):
    x, events = xp.zeros(4), []

    def work():
        x.fill(1)
        events.append(stream.record())

    captured(stream, work)
    with pytest.raises(StrictDeviceError, match="in a capture it has no part in"):
        xp.cuda.Stream(non_blocking=True).wait_event(events[0])
    with pytest.raises(StrictDeviceError, match="recorded in a capture"):
        events[0].synchronize()


def test_a_capture_waits_for_nothing_outside(stream):
    outside = xp.cuda.Stream(non_blocking=True)
    with outside:
        xp.ones(4)
    event = outside.record()
    with pytest.raises(StrictDeviceError, match="outside of the capture"):
        captured(stream, lambda: stream.wait_event(event))


def test_the_null_stream_is_not_captured():
    with pytest.raises(StrictDeviceError, match="null stream"):
        xp.cuda.Stream.null.begin_capture()
    blocking, x = xp.cuda.Stream(), xp.zeros(4)
    blocking.begin_capture()
    try:
        with pytest.raises(StrictDeviceError, match="work on the null stream"):
            x.fill(1)
    finally:
        blocking.end_capture()
    x.fill(1)


def test_a_capture_ends_where_it_began(stream):
    with pytest.raises(StrictDeviceError, match="which began none"):
        stream.end_capture()


def test_a_capture_that_met_an_error_gives_no_graph(stream):
    x = xp.ones(4)
    stream.begin_capture()
    x += 1
    with pytest.raises(StrictDeviceError, match="captures"):
        float(x[0])
    graph = stream.end_capture()
    with pytest.raises(StrictDeviceError, match="capture failed: a copy to the host"):
        graph.launch()
    assert x.tolist() == [1, 1, 1, 1]


def test_a_graph_tells_its_nodes(stream, pool):
    x = xp.ones(4)
    graph = captured(stream, lambda: np.exp(x), pool)
    assert "an allocation" in graph.debug_dot_str()
    assert "1: exp" in graph.debug_dot_str()
    graph.upload()
