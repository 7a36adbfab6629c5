"""Copies to and from pinned memory: not to be disturbed, and not there before one has waited."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import strict as xp
from hpcad.backend.strict import StrictDeviceError


@pytest.fixture
def stream():
    made = xp.cuda.Stream(non_blocking=True)
    with made:
        yield made


def pinned(count=4):
    return np.frombuffer(xp.cuda.alloc_pinned_memory(8 * count), np.float64)


def test_pinned_memory_is_copied_without_waiting(stream):
    x, slot = xp.zeros(4), pinned()
    slot[...] = 3
    with xp.forbid_synchronisation():
        x.set(slot)
    stream.synchronize()
    slot[...] = 4  # now it may be
    assert x.tolist() == [3, 3, 3, 3]


def test_a_slot_that_is_written_over_too_early_is_noticed_when_the_host_waits(stream):
    x, slot = xp.zeros(4), pinned()
    slot[...] = 3
    x.set(slot)
    slot[...] = 4
    with pytest.raises(StrictDeviceError, match=r"written over .* given at strict/test_host\.py"):
        stream.synchronize()


def test_a_slot_that_is_written_over_too_early_is_noticed_at_the_next_copy(stream):
    x, slot = xp.zeros(4), pinned()
    for value in (1, 2):
        slot[...] = value
        if value == 1:
            x.set(slot)
    with pytest.raises(StrictDeviceError, match="by the next copy from there"):
        x.set(slot)
    with pytest.raises(StrictDeviceError, match="written over"):
        stream.synchronize()


def test_two_slots_and_events_are_right(stream):
    x, slots = xp.zeros(4), [pinned(), pinned()]
    events = [xp.cuda.Event(), xp.cuda.Event()]
    total = xp.zeros(4)
    for step in range(6):
        slot, event = slots[step % 2], events[step % 2]
        event.synchronize()
        slot[...] = step
        x.set(slot)
        event.record(stream)
        total += x
    assert total.tolist() == [15, 15, 15, 15]


def test_one_slot_without_an_event_is_wrong(stream):
    x, slot = xp.zeros(4), pinned()

    def steps():
        for step in range(3):
            slot[...] = step
            x.set(slot)

    with pytest.raises(StrictDeviceError, match="written over"):
        steps()
    with pytest.raises(StrictDeviceError, match="written over"):
        stream.synchronize()


def test_a_slot_that_is_freed_too_early_is_noticed(stream):
    x, slot = xp.zeros(4), pinned()
    x.set(slot)
    del slot
    with pytest.raises(StrictDeviceError, match=r"freed before the copy given at strict/test_host"):
        stream.synchronize()
    slot = pinned()
    x.get(out=slot, blocking=False)
    part = slot[2:]
    del slot
    stream.synchronize()  # a view is enough
    slot = pinned()
    x.get(out=slot, blocking=False)
    del slot
    with pytest.raises(StrictDeviceError, match="freed before"):
        stream.synchronize()
    assert part.shape == (2,)


def test_arrays_with_columns_first_arrive_as_they_are(stream):
    values = np.arange(6.0).reshape(2, 3)
    x, slot = xp.asarray(values.T), pinned(6).reshape(2, 3).T
    x.get(out=slot, blocking=False)
    stream.synchronize()
    np.testing.assert_array_equal(slot, values.T)
    slot *= 2
    x.set(slot)
    np.testing.assert_array_equal(x.get(), 2 * values.T)


def test_memory_that_is_not_pinned_makes_the_host_wait(stream):
    x = xp.zeros(4)
    with pytest.raises(StrictDeviceError, match="not pinned"), xp.forbid_synchronisation():
        x.set(np.ones(4))
    x.set(np.ones(4))
    assert x.tolist() == [1, 1, 1, 1]


def test_asarray_copies_at_once_what_is_not_pinned(stream):
    host = np.ones(4)
    with xp.forbid_synchronisation():
        x = xp.asarray(host)
    host[...] = 2
    assert x.tolist() == [1, 1, 1, 1]
    slot = pinned()
    slot[...] = 1
    y = xp.asarray(slot)
    slot[...] = 2
    with pytest.raises(StrictDeviceError, match="written over"):
        stream.synchronize()
    assert y.shape == (4,)


def test_a_copy_to_the_host_arrives_when_one_waits(stream):
    x, slot = xp.ones(4), pinned()
    with xp.forbid_synchronisation():
        x.get(out=slot, blocking=False)
    event = stream.record()
    assert np.isnan(slot).all()
    x.fill(5)  # behind the copy
    assert np.isnan(slot).all()
    event.synchronize()
    assert slot.tolist() == [1, 1, 1, 1]


def test_a_copy_to_other_memory_waits(stream):
    out = np.zeros(4)
    with pytest.raises(StrictDeviceError, match="copy to the host"), xp.forbid_synchronisation():
        xp.ones(4).get(out=out, blocking=False)
    xp.ones(4).get(out=out, blocking=False)
    assert out.tolist() == [1, 1, 1, 1]


def test_copies_on_one_stream_come_one_after_the_other(stream):
    x, y, slot = xp.ones(4), xp.zeros(4), pinned()
    x.get(out=slot, blocking=False)
    y.set(slot)
    assert y.tolist() == [1, 1, 1, 1]


def test_copies_are_ordered_with_work_on_other_streams(stream):
    x, slot = xp.ones(4), pinned()
    other = xp.cuda.Stream(non_blocking=True)
    with pytest.raises(StrictDeviceError, match="wait_event"):
        x.get(stream=other, out=slot, blocking=False)
    with pytest.raises(StrictDeviceError, match="wait_event"):
        x.set(slot, stream=other)


def test_memory_can_be_pinned_afterwards(stream):
    host, x = np.ones(4), xp.zeros(4)
    xp.cuda.runtime.hostRegister(host.ctypes.data, host.nbytes, 0)
    with xp.forbid_synchronisation():
        x.set(host)
    xp.cuda.runtime.hostUnregister(host.ctypes.data)
    with pytest.raises(StrictDeviceError, match="not pinned"), xp.forbid_synchronisation():
        x.set(host)


def test_shapes_and_types_must_fit():
    x = xp.zeros((4, 4))
    with pytest.raises(ValueError, match="shape"):
        x.set(np.zeros(4))
    with pytest.raises(TypeError, match="dtype"):
        x.set(np.zeros((4, 4), np.float32))
    with pytest.raises(TypeError, match=r"numpy\.ndarray"):
        x.set(1.0)
    with pytest.raises(RuntimeError, match="non-contiguous"):
        x[:, ::2].set(np.zeros((4, 2)))
    with pytest.raises(RuntimeError, match="non-contiguous"):
        x[:, :2].get(out=np.zeros((4, 4))[:, :2])
