"""Streams and events of the stand-in for CuPy (:mod:`.stand_in_cuda`): threads, and what they know.

Each stream (and the host) keeps how far it has seen the others. A stream that uses an array which
another one has written, without having seen that, raises :class:`OrderError` at once.
"""

from __future__ import annotations

import itertools
import queue
import random
import threading
import time

import numpy as np

_numbers = itertools.count(1)
_PAUSE_SECONDS = 2e-4


class OrderError(AssertionError):
    """Work was given to a stream that does not wait for other work on the same array."""


class Clock:
    """How much of each stream's work is known to be over."""

    def __init__(self, seen=()):
        self.seen = dict(seen)

    def merge(self, other):
        for stream, count in other.seen.items():
            self.seen[stream] = max(count, self.seen.get(stream, 0))

    def has(self, stream, count):
        return self.seen.get(stream, 0) >= count


host_clock = Clock()


class Storage:
    """Memory, and who has touched it last."""

    def __init__(self, nbytes):
        self.bytes = np.full(max(nbytes, 1), 0xFF, np.uint8)  # NaN, until it is written
        self.writes = []  # (start, stop, stream, count)
        self.reads = []
        _storages.append(self)

    @property
    def address(self):
        return self.bytes.ctypes.data

    def used(self, span, stream, writes, what):
        """Check and note that a stream reads or writes a span of bytes now."""
        start, stop = span
        others = self.writes + (self.reads if writes else [])
        for a, b, other, count in others:
            overlaps = a < stop and start < b
            if overlaps and not stream.clock.has(other, count):
                raise OrderError(
                    f"{what} on stream {stream.ptr} uses an array that stream {other} still works "
                    "on; an event is missing"
                )
        entry = (start, stop, stream.ptr, stream.count)
        if writes:
            self.writes = [w for w in self.writes if not (start <= w[0] and w[1] <= stop)] + [entry]
            self.reads = [r for r in self.reads if not (start <= r[0] and r[1] <= stop)]
        else:
            self.reads = [*self.reads[-32:], entry]


_storages: list[Storage] = []


def find(address, nbytes):
    """Storage and place of an address."""
    for storage in _storages:
        offset = address - storage.address
        if offset >= 0 and offset + nbytes <= storage.bytes.size:
            return storage, (offset, offset + nbytes)
    raise OrderError(f"{address:#x} is not an address of the device")


streams = {}  # by their number


class Stream:
    """A thread that carries out what it is given."""

    _local = threading.local()

    def __init__(self, null=False, non_blocking=False, ptds=False):
        self.ptr = next(_numbers)
        self.count = 0
        self.clock = Clock()
        self.error = None
        self._work = queue.SimpleQueue()
        streams[self.ptr] = self
        threading.Thread(target=self._carry_out, daemon=True, name="stand-in stream").start()

    def give(self, work, uses=(), what="work"):
        """Queue work that uses (storage, span, whether it writes)."""
        self.clock.merge(host_clock)  # the host gives it only after what it has waited for
        self.count += 1
        self.clock.seen[self.ptr] = self.count  # of its own work a stream is sure
        for storage, span, writes in uses:
            storage.used(span, self, writes, what)
        self._work.put(work)

    def _carry_out(self):
        while True:
            work = self._work.get()
            time.sleep(_PAUSE_SECONDS * random.random())
            try:
                work()
            except BaseException as error:  # noqa: BLE001  # synchronize() raises it
                self.error = error

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        self.clock.merge(event.clock)
        happened = event.happened
        self.give(happened.wait)

    def synchronize(self):
        self.record().synchronize()
        if self.error is not None:
            raise self.error

    @property
    def done(self):
        return self.record().done

    def __enter__(self):
        self._local.__dict__.setdefault("stack", []).append(self)
        return self

    def __exit__(self, *_):
        self._local.stack.pop()


class Event:
    """A place in a stream's work."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.clock = Clock()
        self.happened = threading.Event()
        self.happened.set()  # as CUDA has it: an event that was never recorded is over

    def record(self, stream=None):
        stream = stream or get_current_stream()
        self.happened = threading.Event()
        happened = self.happened
        stream.give(happened.set)
        self.clock = Clock(stream.clock.seen)

    @property
    def done(self):
        if self.happened.is_set():
            host_clock.merge(self.clock)
            return True
        return False

    def synchronize(self):
        self.happened.wait()
        host_clock.merge(self.clock)


Stream.null = Stream()


def get_current_stream():
    stack = getattr(Stream._local, "stack", None)
    return stack[-1] if stack else Stream.null
