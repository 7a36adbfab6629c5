"""Memory is poisoned, freed memory is refused, and bounds are kept."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from hpcad.backend import strict as xp
from hpcad.backend.strict import StrictDeviceError


def double(address, count):
    """A kernel by address, as generated ones are."""

    def run():
        xp.host_view(address, 8 * count).view(np.float64)[...] *= 2

    xp.enqueue("double", [(address, 8 * count)], [(address, 8 * count)], run)


def test_fresh_memory_is_poison():
    assert np.isnan(xp.empty(5).get()).all()
    assert np.isnan(xp.empty_like(xp.ones((2, 3), np.float32)).get()).all()
    assert (xp.empty(5, np.int64).get() == -1).all()
    total = xp.empty(3) + xp.ones(3)  # a buffer that somebody forgot to fill
    assert np.isnan(total.get()).all()


def test_memory_that_is_used_again_is_poison():
    x = xp.ones(100)
    address = x.data.ptr
    del x
    y = xp.empty(100)
    assert y.data.ptr == address
    assert np.isnan(y.get()).all()


def test_a_kernel_by_address_computes():
    x = xp.arange(4.0)
    double(x.data.ptr, 4)
    assert x.tolist() == [0, 2, 4, 6]


def test_an_address_of_freed_memory_is_refused():
    x = xp.ones(4)
    address = x.data.ptr
    del x
    with pytest.raises(
        StrictDeviceError, match=r"double .* uses memory that was freed: allocation"
    ):
        double(address, 4)


def test_an_address_of_the_host_is_refused():
    host = np.ones(4)
    with pytest.raises(StrictDeviceError, match="none of the device"):
        double(host.ctypes.data, 4)


def test_reaching_over_the_end_is_refused():
    x = xp.ones(4)
    with pytest.raises(
        StrictDeviceError, match=r"over the end of allocation \d+ \(32 bytes, made at"
    ):
        double(x.data.ptr, 5)


def test_a_kernel_sees_only_what_it_declares():
    x, y = xp.ones(4), xp.ones(4)
    span = (x.data.ptr, 32)
    with pytest.raises(StrictDeviceError, match="did not declare"):
        xp.enqueue("wrong", [span], [], lambda: xp.host_view(y.data.ptr, 32))

    def write():
        xp.host_view(*span).fill(0)

    with pytest.raises(ValueError, match="read-only"):
        xp.enqueue("wrong", [span], [], write)
    xp.enqueue("right", [span], [span], write)
    with pytest.raises(StrictDeviceError, match="outside of work"):
        xp.host_view(*span)


def test_arrays_that_share_memory_keep_it():
    x = xp.arange(6.0)
    view = x.reshape(2, 3)[1]
    del x
    gc.collect()
    assert view.tolist() == [3, 4, 5]


def test_pools_count_bytes():
    pool = xp.cuda.MemoryPool()
    with xp.cuda.using_allocator(pool.malloc):
        x = xp.empty(1000, np.uint8)
    assert pool.used_bytes() == 1024
    del x
    assert pool.used_bytes() == 0
    assert pool.free_bytes() == 1024
    pool.free_all_blocks()
    assert pool.total_bytes() == 0
    assert xp.get_default_memory_pool().used_bytes() >= 0


def test_arrays_outlive_their_pool():
    pool = xp.cuda.MemoryPool()
    with xp.cuda.using_allocator(pool.malloc):
        x = xp.ones(4)
    address = x.data.ptr
    del pool
    gc.collect()
    assert x.tolist() == [1, 1, 1, 1]
    del x
    with pytest.raises(StrictDeviceError, match=r"none of the device|freed"):
        double(address, 4)


def test_a_pool_gives_memory_back_when_it_keeps_too_much():
    pool = xp.cuda.MemoryPool()
    with xp.cuda.using_allocator(pool.malloc):
        for n in range(1, 6):
            xp.empty((20 << 20) + 512 * n, np.uint8)
    assert pool.free_bytes() <= 64 << 20
