"""Batches on their way to the device, by threads, on the strict device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hpcad.backend import get_backend
from hpcad.backend import strict as xp
from hpcad.backend.strict import StrictDeviceError
from hpcad.backend.transfer import Transfer, transfer


class WithoutWaiting(Transfer):
    """Forgets that the pool may give memory that kernels still read."""

    def copy(self, fields):
        device = {name: self.xp.empty(a.shape, a.dtype) for name, a in fields.items()}
        for name, array in fields.items():
            device[name].set(np.ascontiguousarray(array), stream=self._stream)
        self._stream.record().synchronize()
        return device


def batch(way, number):
    memory = way.allocate(8 * 100).view(np.float64)
    memory[...] = number
    return {"x": memory}


def test_batches_of_threads_arrive():
    way, total = Transfer(xp), xp.zeros(100)
    with ThreadPoolExecutor(3) as threads:
        for device in threads.map(lambda n: way.copy(batch(way, n)), range(20)):
            total += device["x"]
    assert set(total.tolist()) == {190.0}


def test_memory_may_be_written_over_when_copy_returns():
    way = Transfer(xp)
    fields = batch(way, 3)
    device = way.copy(fields)
    fields["x"][...] = 4
    assert set(device["x"].tolist()) == {3.0}
    xp.cuda.Device().synchronize()


def test_copying_into_memory_that_is_still_read_is_noticed():
    way, total = WithoutWaiting(xp), xp.zeros(100)

    def train():
        for number in range(3):
            nonlocal total
            total = total + way.copy(batch(way, number))["x"]

    with pytest.raises(StrictDeviceError, match=r"a copy from the host on stream .* writes"):
        train()


def test_pinned_memory_is_copied_without_a_synchronisation_of_the_caller():
    way = Transfer(xp)
    before = xp.COUNTS.copy()
    way.copy(batch(way, 1))
    assert (xp.COUNTS - before).host_to_device == 1
    assert (xp.COUNTS - before).synchronisations == 1  # of the thread that reads, at the end


def test_the_strict_device_takes_a_transfer():
    assert isinstance(transfer(get_backend("strict")), Transfer)
