"""Work on different streams must be ordered by events, or by the host."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import strict as xp
from hpcad.backend.strict import StrictDeviceError


@pytest.fixture
def streams():
    return xp.cuda.Stream(non_blocking=True), xp.cuda.Stream(non_blocking=True)


def test_reading_behind_a_write_needs_an_event(streams):
    first, second = streams
    with first:
        x = xp.ones(4)
    with second, pytest.raises(StrictDeviceError, match=r"reads allocation .*wait_event"):
        x + 1
    second.wait_event(first.record())
    with second:
        assert (x + 1).tolist() == [2, 2, 2, 2]


def test_writing_behind_a_read_needs_an_event(streams):
    first, second = streams
    x = xp.ones(4)
    xp.cuda.get_current_stream().synchronize()
    with first:
        y = x + 1
    with second, pytest.raises(StrictDeviceError, match=r"fill on stream .* writes"):
        x.fill(0)
    second.wait_event(first.record())
    with second:
        x.fill(0)
    assert y.get(stream=first).tolist() == [2, 2, 2, 2]


def test_two_readers_need_no_order(streams):
    x = xp.ones(4)
    xp.cuda.get_current_stream().synchronize()
    for stream in streams:
        with stream:
            x + 1


def test_an_event_before_the_write_orders_nothing(streams):
    first, second = streams
    with first:
        early = first.record()
        x = xp.ones(4)
    second.wait_event(early)
    with second, pytest.raises(StrictDeviceError, match="wait_event"):
        x + 1


def test_order_is_transitive(streams):
    first, second = streams
    third = xp.cuda.Stream(non_blocking=True)
    with first:
        x = xp.ones(4)
    second.wait_event(first.record())
    third.wait_event(second.record())
    with third:
        assert x.tolist() == [1, 1, 1, 1]


def test_the_host_orders_by_waiting(streams):
    first, second = streams
    with first:
        x = xp.ones(4)
    first.synchronize()
    with second:
        x += 1
    event = second.record()
    event.synchronize()
    with first:
        assert x.tolist() == [2, 2, 2, 2]


def test_a_device_wide_wait_orders_everything(streams):
    first, second = streams
    with first:
        x = xp.ones(4)
    xp.cuda.Device().synchronize()
    with second:
        x += 1


def test_the_null_stream_waits_for_blocking_streams_only(streams):
    blocking, (free, _) = xp.cuda.Stream(), streams
    with blocking:
        x = xp.ones(4)
    x += 1  # on the null stream
    with blocking:
        x += 1
    with free, pytest.raises(StrictDeviceError, match="wait_event"):
        x += 1


def test_other_bytes_of_the_same_memory_need_no_order(streams):
    first, second = streams
    x = xp.zeros(8)
    xp.cuda.get_current_stream().synchronize()
    with first:
        x[:4] = 1
    with second:
        x[4:] = 2
        with pytest.raises(StrictDeviceError, match="wait_event"):
            x[3:] = 3


def test_memory_that_was_freed_while_another_stream_uses_it(streams):
    """The classic defect of pools that are keyed by stream."""
    first, second = streams
    with first:
        x = xp.ones(4)
    second.wait_event(first.record())
    with second:
        y = x + 1
    del x
    with first, pytest.raises(StrictDeviceError, match=r"writes allocation .*wait_event"):
        xp.ones(4)  # gets the memory that the other stream may still read
    first.wait_event(second.record())
    with first:
        xp.ones(4)
    assert y.shape == (4,)


def test_the_message_says_what_where_and_what_to_do(streams):
    first, second = streams
    with first:
        x = xp.ones(4)
    with second, pytest.raises(StrictDeviceError) as caught:
        np.exp(x)
    said = str(caught.value)
    assert f"exp on stream {second.ptr} at strict/test_streams.py:" in said
    assert f"full on stream {first.ptr}" in said or f"ones on stream {first.ptr}" in said
    assert "(32 bytes, made at strict/test_streams.py:" in said
    assert f"let stream {second.ptr} wait for it (wait_event)" in said


def test_streams_are_current_one_within_the_other(streams):
    first, second = streams
    with first:
        with second:
            assert xp.cuda.get_current_stream() == second
        assert xp.cuda.get_current_stream() == first
    assert xp.cuda.get_current_stream() == xp.cuda.Stream.null
    assert xp.cuda.Stream(null=True) == xp.cuda.Stream.null
