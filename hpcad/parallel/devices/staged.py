"""The communicator for device arrays that works everywhere: through host memory.

Not yet proven on a GPU.
"""

from __future__ import annotations

from typing import Any

from hpcad.errors import DeviceError
from hpcad.parallel.devices.communicator import DeviceCommunicator
from hpcad.parallel.devices.request import Steps
from hpcad.parallel.devices.staging import PIECE_BYTES, Staging

_TAKEN = "bBhHiIlLqQefd"  # of communicators for host arrays; NumPy's characters


class StagedCommunicator(DeviceCommunicator):
    """Copies device arrays to pinned memory, reduces them there, and copies them back, in pieces.

    Collective.

    Parameters
    ----------
    host : Communicator
        Any. It compares the calls; the pieces are reduced by a duplicate of it, in shared memory
        where ranks share some.
    cupy : module
    piece_bytes : int
        Of pinned memory twice as much is taken.

    Notes
    -----
    Between two calls of :meth:`DeviceRequest.test` nothing moves but the copies: a piece is reduced
    by whoever tests or waits. ``wait`` returns when the last copy to the device is on its way.
    """

    kind = "staged"

    def __init__(self, host: Any, cupy: Any, piece_bytes: int = PIECE_BYTES) -> None:
        super().__init__(host, cupy)
        twin = _twin(host)
        self._staging = _make(host, cupy, self.stream, twin, piece_bytes)

    def _takes(self, dtype: Any, op: str) -> bool:
        return dtype.char in _TAKEN or (dtype.char in "FD" and op in ("sum", "prod"))

    def _allreduce(self, flat: Any, op: str) -> Steps:
        return self._staging.allreduce(flat, op)

    def _broadcast(self, data: Any, root: int) -> Steps:
        return self._staging.broadcast(data, root, self.rank == root)


def _make(host: Any, cupy: Any, stream: Any, twin: Any, piece_bytes: int) -> Staging:
    """Pieces in shared memory, where that can be pinned on every rank; else in CuPy's."""
    if host.kind == "node":
        problem, staging = None, None
        try:
            staging = Staging(cupy, stream, twin, piece_bytes, shared=True)
        except DeviceError as error:
            problem = error
        refused = [said for said in host.gather_json(str(problem or ""), "pinned memory") if said]
        if staging is not None and not refused:
            return staging
    return Staging(cupy, stream, twin, piece_bytes)


def _twin(host: Any) -> Any:
    """The same ranks with messages of their own, where calls are not compared again. Collective."""
    if host.size == 1:
        return host
    from hpcad.parallel.gradients.communication_thread import twin_of

    return twin_of(host)
