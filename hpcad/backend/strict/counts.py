"""What the host made the device do, counted; and stretches in which it may not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller


@dataclass
class Counts:
    """Counted since the last :meth:`reset`, over all threads.

    Attributes
    ----------
    synchronisations : int
        The host waited until the device had nothing left to do: reading a value, waiting for a
        stream or for the last event of one, copying to or from memory that is not pinned.
    event_waits : int
        The host waited for an event behind which the stream had more work: the device stays busy.
    host_to_device, device_to_host : int
        Copies.
    bytes_to_device, bytes_to_host : int
        Of those copies.
    allocations : int
        Of device memory, also those that a pool answers with memory that it has.
    launches : int
        Kernels, products and copies on the device that were given to a stream one by one.
    graph_launches : int
    """

    synchronisations: int = 0
    event_waits: int = 0
    host_to_device: int = 0
    device_to_host: int = 0
    bytes_to_device: int = 0
    bytes_to_host: int = 0
    allocations: int = 0
    launches: int = 0
    graph_launches: int = 0

    def reset(self) -> None:
        """Set all counts to 0."""
        for each in fields(self):
            setattr(self, each.name, 0)

    def copy(self) -> Counts:
        """The counts as they are now."""
        return Counts(**{each.name: getattr(self, each.name) for each in fields(self)})

    def __sub__(self, other: Counts) -> Counts:
        names = [each.name for each in fields(self)]
        return Counts(**{name: getattr(self, name) - getattr(other, name) for name in names})


COUNTS = Counts()

_forbidding = threading.local()


@contextmanager
def forbid_synchronisation() -> Iterator[Counts]:
    """Within it, what counts as a synchronisation by this thread raises :class:`StrictDeviceError`.

    Yields
    ------
    Counts
        Filled at the end with what was counted within.
    """
    before, found = COUNTS.copy(), Counts()
    _forbidding.depth = getattr(_forbidding, "depth", 0) + 1
    try:
        yield found
    finally:
        _forbidding.depth -= 1
        for name, value in vars(COUNTS - before).items():
            setattr(found, name, value)


def synchronised(what: str) -> None:
    """Count a synchronisation, unless this thread has forbidden it.

    Raises
    ------
    StrictDeviceError
        It has.
    """
    if getattr(_forbidding, "depth", 0):
        raise StrictDeviceError(
            f"{what} at {line_of_caller()} makes the host wait for the device, where "
            "forbid_synchronisation() says that nothing does; keep the value on the device, or "
            "read it later, behind an event"
        )
    COUNTS.synchronisations += 1
