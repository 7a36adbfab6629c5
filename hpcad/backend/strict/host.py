"""Copies to and from pinned memory that are still on their way.

A copy to the device must find its source unchanged until it is over, so the source's fingerprint
is taken when the copy is given and compared when the host has waited for it, or uses the memory
again. A copy to the host arrives when the host has waited for it: before, there is poison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from xxhash import xxh3_64_intdigest

from hpcad.backend.strict.blocks import POISON
from hpcad.backend.strict.clocks import Clock
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller
from hpcad.backend.strict.known import HOST, WAITED
from hpcad.backend.strict.pinned import Region, region_of

_digest: Any = xxh3_64_intdigest  # whose types do not know that arrays are buffers


@dataclass
class Copy:
    """A copy between pinned memory and the device.

    Attributes
    ----------
    host : ndarray of uint8
        The pinned bytes; it keeps them, and not the arrays that the caller has on them.
    region : Region
    stream, count : int
        The work that it is.
    where : str
    fingerprint : int
        Of what leaves.
    values : ndarray of uint8
        What arrives.
    """

    host: np.ndarray
    region: Region
    stream: int
    count: int
    where: str
    fingerprint: int = 0
    values: np.ndarray | None = None

    def known_by(self, clock: Clock) -> bool:
        """Whether it is over for one who has this clock."""
        return clock.get(self.stream, 0) >= self.count

    def overlaps(self, other: np.ndarray) -> bool:
        """Whether another array lies on the same bytes."""
        mine, theirs = self.host.ctypes.data, other.ctypes.data
        return mine < theirs + other.nbytes and theirs < mine + self.host.nbytes

    def check(self, when: str) -> None:
        """Raise :class:`StrictDeviceError` if the memory was freed or written over."""
        if self.region.freed:
            raise StrictDeviceError(
                f"pinned memory was freed before the copy given at {self.where} on stream "
                f"{self.stream} was over (noticed {when}): keep it until the host has waited for "
                "an event behind the copy"
            )
        if self.values is None and _digest(self.host) != self.fingerprint:
            raise StrictDeviceError(
                f"pinned memory was written over before the copy from it, given at {self.where} on "
                f"stream {self.stream}, was over (noticed {when}): the device may have copied "
                "the new numbers; wait for an event behind the copy before writing there again"
            )

    def arrive(self) -> None:
        """Put the values there."""
        self.check("when it arrived")
        self.host[...] = self.values


_leaving: list[Copy] = []
_arriving: list[Copy] = []


def leaves(source: np.ndarray, stream: int, count: int) -> None:
    """A copy from pinned memory has been given to a stream; with the lock held."""
    for other in _leaving:
        if other.overlaps(source):
            other.check(f"at {line_of_caller()}, by the next copy from there")
    copy = _copy(source, stream, count)
    copy.fingerprint = _digest(copy.host)
    _leaving.append(copy)


def arrives(target: np.ndarray, values: np.ndarray, stream: int, count: int, clock: Clock) -> None:
    """A copy to pinned memory has been given to a stream; with the lock held."""
    for other in list(_leaving):
        if other.known_by(clock) and other.overlaps(target):
            _leaving.remove(other)  # the device itself writes there next, in its order
            other.check("when a copy to there was given behind it")
    copy = _copy(target, stream, count)
    copy.values = _bytes_of(np.array(values, order="C" if target.flags.c_contiguous else "F"))
    copy.host.fill(POISON)
    _arriving.append(copy)


def deliver(source: np.ndarray, clock: Clock) -> None:
    """Let copies arrive that a stream which reads host memory now comes behind."""
    for copy in list(_arriving):
        if copy.known_by(clock) and copy.overlaps(source):
            _arriving.remove(copy)
            copy.arrive()


def settle() -> None:
    """End the copies that the host has waited for; with the lock held."""
    arrived = [copy for copy in _arriving if copy.known_by(HOST)]
    left = [copy for copy in _leaving if copy.known_by(HOST)]
    for copies in (_arriving, _leaving):
        copies[:] = [copy for copy in copies if not copy.known_by(HOST)]
    for copy in arrived:
        copy.arrive()
    for copy in left:
        copy.check("when the host waited for it")


WAITED.append(settle)


def _copy(array: np.ndarray, stream: int, count: int) -> Copy:
    region = region_of(array)
    assert region is not None  # whoever calls has looked
    host = _bytes_of(array)
    if region.storage is not None:
        start = array.ctypes.data - region.address
        host = region.storage[start : start + array.nbytes]
    return Copy(host, region, stream, count, line_of_caller())


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """The bytes of a contiguous array, in the order in which they lie there."""
    return (array if array.flags.c_contiguous else array.T).reshape(-1).view(np.uint8)
