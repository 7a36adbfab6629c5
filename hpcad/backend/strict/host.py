"""Host memory that copies use: pinned memory, and copies that are still on their way.

A copy to the device must find its source unchanged until it is over, so the source's fingerprint
is taken when the copy is given and compared when the host has waited for it, or uses the memory
again. A copy to the host arrives when the host has waited for it: before, there is poison.
"""

from __future__ import annotations

import bisect
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from xxhash import xxh3_64_intdigest as _digest

from hpcad.backend.strict.blocks import POISON
from hpcad.backend.strict.clocks import Clock
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller
from hpcad.backend.strict.known import HOST, LOCK, WAITED

_pinned: dict[int, int] = {}  # address -> bytes
_addresses: list[int] = []  # the same, sorted


class PinnedMemory(np.ndarray):
    """Bytes of the host that a device can copy by itself, as ``alloc_pinned_memory`` gives them."""

    @property
    def ptr(self) -> int:
        """Address."""
        return self.ctypes.data


def alloc_pinned_memory(nbytes: int) -> PinnedMemory:
    """Pinned memory, poisoned; it is an array of uint8 and takes part in the buffer protocol."""
    owner = np.full(nbytes, POISON, np.uint8)  # it, and not its view, is what views of it hold
    memory = owner.view(PinnedMemory)
    pin(memory.ptr, nbytes)
    weakref.finalize(owner, unpin, memory.ptr).atexit = False
    return memory


def pin(address: int, nbytes: int, flags: int = 0) -> None:
    """Let memory that is there already count as pinned (``cudaHostRegister``)."""
    with LOCK:
        if address not in _pinned:
            bisect.insort(_addresses, address)
        _pinned[address] = nbytes


def unpin(address: int) -> None:
    """The opposite of :func:`pin`."""
    with LOCK:
        if _pinned.pop(address, None) is not None:
            _addresses.remove(address)


def is_pinned(array: np.ndarray) -> bool:
    """Whether all bytes of a contiguous array are pinned."""
    address = array.ctypes.data
    place = bisect.bisect(_addresses, address) - 1
    if place < 0:
        return False
    start = _addresses[place]
    return address + array.nbytes <= start + _pinned[start]


# -- copies on their way --------------------------------------------------------------------


def fingerprint(array: np.ndarray) -> int:
    """64-bit hash of the bytes of a contiguous array."""
    memory: Any = np.ravel(array, "K").view(np.uint8)
    return _digest(memory)


@dataclass
class Leaving:
    """A copy from pinned memory to the device."""

    source: np.ndarray
    fingerprint: int
    stream: int
    count: int
    where: str

    def check(self, when: str) -> None:
        if fingerprint(self.source) != self.fingerprint:
            raise StrictDeviceError(
                f"pinned memory was written over before the copy from it, given at {self.where} on "
                f"stream {self.stream}, was over (noticed {when}): the device may have copied "
                "the new numbers; wait for an event behind the copy before writing there again"
            )


@dataclass
class Arriving:
    """A copy from the device to pinned memory."""

    target: np.ndarray
    values: np.ndarray
    stream: int
    count: int


_leaving: list[Leaving] = []
_arriving: list[Arriving] = []


def leaves(source: np.ndarray, stream: int, count: int) -> None:
    """A copy from pinned memory has been given to a stream; with the lock held."""
    for other in _leaving:
        if _overlap(other.source, source):
            other.check(f"at {line_of_caller()}, by the next copy from there")
    _leaving.append(Leaving(source, fingerprint(source), stream, count, line_of_caller()))


def arrives(target: np.ndarray, values: np.ndarray, stream: int, count: int, clock: Clock) -> None:
    """A copy to pinned memory has been given to a stream; with the lock held."""
    for copy in list(_leaving):
        if clock.get(copy.stream, 0) >= copy.count and _overlap(copy.source, target):
            copy.check("when a copy to there was given behind it")
            _leaving.remove(copy)  # the device itself writes there next, in its order
    target.view(np.uint8).fill(POISON)
    _arriving.append(Arriving(target, values, stream, count))


def deliver(source: np.ndarray, clock: Clock) -> None:
    """Let copies arrive that a stream which reads host memory now comes behind."""
    for copy in list(_arriving):
        if clock.get(copy.stream, 0) >= copy.count and _overlap(copy.target, source):
            copy.target[...] = copy.values
            _arriving.remove(copy)


def settle() -> None:
    """End the copies that the host has waited for; with the lock held."""
    for arrived in list(_arriving):
        if HOST.get(arrived.stream, 0) >= arrived.count:
            arrived.target[...] = arrived.values
            _arriving.remove(arrived)
    over = [copy for copy in _leaving if HOST.get(copy.stream, 0) >= copy.count]
    _leaving[:] = [copy for copy in _leaving if HOST.get(copy.stream, 0) < copy.count]
    for copy in over:
        copy.check("when the host waited for it")


WAITED.append(settle)


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    (a_low, a_high), (b_low, b_high) = _bounds(a), _bounds(b)
    return a_low < b_high and b_low < a_high


def _bounds(array: np.ndarray) -> tuple[int, int]:
    address: Any = array.ctypes.data
    return address, address + array.nbytes
