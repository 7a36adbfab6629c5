"""Against a stand-in for CuPy that writes down what it is asked to do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpcad.backend import get_backend
from hpcad.backend.transfer import Transfer, transfer


class Device:
    """Streams and events by name, and memory on the host."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.cuda = SimpleNamespace(
            Stream=lambda non_blocking: Stream(self, "copies"),
            get_current_stream=lambda: Stream(self, "default"),
            alloc_pinned_memory=self.pinned,
        )

    def pinned(self, nbytes: int) -> bytearray:
        self.said.append(f"pinned {nbytes}")
        return bytearray(nbytes)

    def empty(self, shape: Any, dtype: Any) -> Memory:
        self.said.append(f"allocate {shape}")
        return Memory(self, shape, dtype)


class Stream:
    def __init__(self, device: Device, name: str) -> None:
        self.device, self.name = device, name

    def record(self) -> SimpleNamespace:
        self.device.said.append(f"record {self.name}")
        return SimpleNamespace(
            name=self.name,
            synchronize=lambda: self.device.said.append(f"wait on the host for {self.name}"),
        )

    def wait_event(self, event: Any) -> None:
        self.device.said.append(f"{self.name} waits for {event.name}")


class Memory:
    def __init__(self, device: Device, shape: Any, dtype: Any) -> None:
        self.device, self.array = device, np.empty(shape, dtype)

    def set(self, array: np.ndarray, stream: Stream) -> None:
        assert array.flags.c_contiguous
        self.device.said.append(f"copy on {stream.name}")
        self.array[...] = array


def test_copies_come_after_the_kernels_that_may_read_the_memory_and_end_before_it_returns() -> None:
    device = Device()
    host = {"x": np.arange(6.0).reshape(2, 3), "y": np.arange(8)[::2]}
    found = Transfer(device).copy(host)
    assert device.said == [
        "allocate (2, 3)",
        "allocate (4,)",
        "record default",
        "copies waits for default",
        "copy on copies",
        "copy on copies",
        "record copies",
        "wait on the host for copies",
    ]
    for name, array in host.items():
        np.testing.assert_array_equal(found[name].array, array)
        assert found[name].array.dtype == array.dtype


@pytest.mark.parametrize("nbytes", [0, 1, 4097])
def test_pinned_memory_is_an_array_of_bytes(nbytes: int) -> None:
    device = Device()
    memory = Transfer(device).allocate(nbytes)
    assert memory.shape == (nbytes,)
    assert memory.dtype == np.uint8
    memory[:] = 3
    assert device.said == [f"pinned {max(nbytes, 1)}"]


def test_a_cpu_needs_no_transfer() -> None:
    assert transfer(get_backend("cpu")) is None
    assert transfer(None) is None
    assert transfer(SimpleNamespace(on_device=True, xp=Device())) is not None
