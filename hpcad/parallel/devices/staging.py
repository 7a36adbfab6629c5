"""Device arrays through pinned host memory, in pieces, two of which are under way.

Not yet proven on a GPU.

While the ranks reduce piece k, piece k + 1 is copied from the device, and piece k - 1 to it. One
stream carries all copies, so that a piece of pinned memory is read back before it is overwritten.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from hpcad.errors import DeviceError
from hpcad.parallel.communicator import Request
from hpcad.parallel.devices.request import OnDevice, Steps

PIECE_BYTES = 4 << 20  # several times what copies and messages cost in latency


class HostReducer(Protocol):
    """What reduces and broadcasts pieces in host memory."""

    def iallreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> Request:
        """See :class:`Communicator`."""

    def broadcast(self, array: np.ndarray, root: int = 0, name: str = "") -> None:
        """See :class:`Communicator`."""

    def allocate(self, nbytes: int) -> np.ndarray:
        """See :class:`Communicator`."""


class Staging:
    """Two pieces of pinned memory, and a communicator that reduces them.

    Collective, where memory of the communicator is shared.

    Parameters
    ----------
    cupy : module
    stream : cupy.cuda.Stream
        Copies run on it.
    reducer : HostReducer
        Nobody else may use it: the pieces of one array after the other must meet on all ranks.
    piece_bytes : int
    shared : bool
        Whether to use memory of the communicator, pinned afterwards, rather than CuPy's: ranks that
        share memory reduce it in place.
    """

    def __init__(
        self,
        cupy: Any,
        stream: Any,
        reducer: HostReducer,
        piece_bytes: int = PIECE_BYTES,
        shared: bool = False,
    ) -> None:
        self._cupy, self._stream, self._reducer = cupy, stream, reducer
        self._piece_bytes = piece_bytes
        memory = reducer.allocate(2 * piece_bytes) if shared else None
        if memory is None:
            memory = np.frombuffer(cupy.cuda.alloc_pinned_memory(2 * piece_bytes), np.uint8)
        else:
            _pin(cupy, memory)
        self._slots = memory[:piece_bytes], memory[piece_bytes : 2 * piece_bytes]

    def allreduce(self, flat: Any, op: str) -> Steps:
        """The steps of a reduction in place."""
        pieces = self._pieces(flat)
        arrived = [self._fetch(flat, *piece) for piece in pieces[:1]]
        for number, (span, host) in enumerate(pieces):
            if number + 1 < len(pieces):
                arrived.append(self._fetch(flat, *pieces[number + 1]))
            yield arrived[number]
            yield self._reducer.iallreduce(host, op, "a piece of device memory")
            flat[span].set(host, stream=self._stream)

    def broadcast(self, data: Any, root: int, is_root: bool) -> Steps:
        """The steps of a broadcast of bytes."""
        for span, host in self._pieces(data):
            # Also where nothing is fetched: the slot's last copy to the device must be over.
            yield self._fetch(data, span, host) if is_root else self._mark()
            self._reducer.broadcast(host, root, "a piece of device memory")
            if not is_root:
                data[span].set(host, stream=self._stream)

    def _pieces(self, flat: Any) -> list[tuple[slice, np.ndarray]]:
        """Spans of the array, each with its place in pinned memory."""
        step = max(1, self._piece_bytes // flat.dtype.itemsize)
        pieces = []
        for number, start in enumerate(range(0, flat.size, step)):
            span = slice(start, min(start + step, flat.size))
            nbytes = (span.stop - span.start) * flat.dtype.itemsize
            pieces.append((span, self._slots[number % 2][:nbytes].view(flat.dtype)))
        return pieces

    def _fetch(self, flat: Any, span: slice, host: np.ndarray) -> OnDevice:
        flat[span].get(stream=self._stream, out=host, blocking=False)
        return self._mark()

    def _mark(self) -> OnDevice:
        event = self._cupy.cuda.Event(disable_timing=True)
        event.record(self._stream)
        return OnDevice(event)


def _pin(cupy: Any, memory: np.ndarray) -> None:
    """Let the device copy to and from memory that is there already.

    Raises
    ------
    DeviceError
        CUDA refuses; copies would block the host.
    """
    try:
        cupy.cuda.runtime.hostRegister(memory.ctypes.data, memory.nbytes, 0)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"CUDA cannot pin {memory.nbytes} bytes of shared memory ({error}); set "
            "HPCAD_COMMUNICATOR=mpi, whose pieces lie in memory that CUDA allocates"
        ) from error
