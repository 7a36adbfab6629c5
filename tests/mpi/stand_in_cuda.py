"""A stand-in for the parts of CuPy that device communicators use. It is no GPU, and proves none.

Arrays hide NumPy storage that the host cannot read. Each stream is a thread that carries out what
it was given, in order, after a short pause, so that whoever reads a result without waiting reads
what was there before. And each call is checked when it is made: a stream that uses an array which
another one has written, with no event between them, raises :class:`OrderError`.

NCCL's functions are MPI collectives on the hidden storage, in the thread of the stream. They take
addresses, as NCCL does.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from mpi4py import MPI

from .stand_in_nccl import NcclError, nccl
from .stand_in_streams import Clock, Event, OrderError, Storage, Stream, get_current_stream

__all__ = ["Clock", "Event", "NcclError", "OrderError", "Stream", "get_current_stream", "nccl"]


class ndarray:  # noqa: N801  # CuPy's name
    """An array whose numbers only streams can reach."""

    def __init__(self, storage, view):
        self._storage, self._view = storage, view
        self.shape, self.dtype, self.size = view.shape, view.dtype, view.size
        self.nbytes, self.itemsize = view.nbytes, view.itemsize
        self.flags = SimpleNamespace(c_contiguous=view.flags.c_contiguous)
        self.data = SimpleNamespace(ptr=view.ctypes.data if view.size else 0)

    def __array__(self, *_, **__):
        raise TypeError("device arrays are not converted silently; use get()")

    @property
    def __cuda_array_interface__(self):
        """For MPI, which is given the address. It gets true host memory, which a device has not."""
        return self._view.__array_interface__ | {"version": 3}

    def _span(self):
        start = self._view.ctypes.data - self._storage.address if self.size else 0
        return start, start + self.nbytes

    def _give(self, work, writes, stream=None, what="work"):
        (stream or get_current_stream()).give(
            work, [(self._storage, self._span(), writes)] if self.size else [], what
        )

    def reshape(self, *shape):
        return ndarray(self._storage, self._view.reshape(*shape))

    def view(self, dtype):
        return ndarray(self._storage, self._view.view(dtype))

    def __getitem__(self, key):
        return ndarray(self._storage, self._view[key])

    def __setitem__(self, key, value):
        target = self[key]
        if isinstance(value, ndarray):
            value = value.get()
        given = np.array(value)  # copied now, as a kernel's arguments are

        def work():
            target._view[...] = given

        target._give(work, True, what="an assignment")

    def __imul__(self, factor):
        def work():
            self._view[...] *= factor

        self._give(work, True, what="a product")
        return self

    def get(self, stream=None, order="C", out=None, blocking=True):
        stream = stream or get_current_stream()
        if out is None:
            out = np.empty(self.shape, self.dtype)
        assert out.shape == self.shape
        assert out.dtype == self.dtype

        def work():
            out[...] = self._view

        self._give(work, False, stream, "a copy to the host")
        if blocking:
            stream.synchronize()
        return out

    def set(self, arr, stream=None):
        assert arr.shape == self.shape
        assert arr.dtype == self.dtype

        def work():
            self._view[...] = arr

        self._give(work, True, stream, "a copy from the host")


def empty(shape, dtype=np.float64):
    dtype = np.dtype(dtype)
    size = int(np.prod(shape))
    storage = Storage(size * dtype.itemsize)
    return ndarray(storage, storage.bytes[: size * dtype.itemsize].view(dtype).reshape(shape))


def zeros(shape, dtype=np.float64):
    array = empty(shape, dtype)
    array[...] = 0
    return array


def asarray(value):
    value = np.asarray(value)
    array = empty(value.shape, value.dtype)
    array[...] = value
    return array


def asnumpy(array):
    return array.get()


def alloc_pinned_memory(nbytes):
    return np.full(nbytes, 0xFF, np.uint8)


class CUDARuntimeError(RuntimeError):
    """What CuPy raises."""


registered = []  # (address, bytes) of memory that was pinned

runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    hostRegister=lambda address, nbytes, flags: registered.append((address, nbytes)),
    getDevice=lambda: 0,
    deviceGetPCIBusId=lambda device: f"stand-in of rank {MPI.COMM_WORLD.Get_rank()}",
)

cuda = SimpleNamespace(
    Stream=Stream,
    Event=Event,
    get_current_stream=get_current_stream,
    nccl=nccl,
    runtime=runtime,
    alloc_pinned_memory=alloc_pinned_memory,
)
