"""The communicator for devices that NCCL connects.

Not yet proven on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.errors import ConfigError, DeviceError, ShapeError
from hpcad.parallel.devices.communicator import DeviceCommunicator
from hpcad.parallel.devices.nccl_group import NcclGroup, require_nccl
from hpcad.parallel.devices.request import Steps, at_once
from hpcad.program.device.held_graph import HeldGraph

_ID_BYTES = 128


class NcclCommunicator(DeviceCommunicator):
    """Collectives on device arrays by NCCL, on a stream of its own.

    Collective.

    Parameters
    ----------
    host : Communicator
        Carries NCCL's unique id, compares calls.
    cupy : module

    Raises
    ------
    DeviceError
        On every rank: NCCL is missing, or cannot connect the devices.

    Notes
    -----
    Sums of float16 and bfloat16 are NCCL's, which rounds partial sums; communicators for host
    arrays sum float16 in float32. The order of a sum depends on NCCL's choice of algorithm. What
    the maximum of a NaN and a number is, NCCL leaves open.

    :meth:`DeviceRequest.wait` makes the stream that is current then wait for an event; the host
    goes on at once.
    """

    kind = "nccl"

    def __init__(self, host: Any, cupy: Any) -> None:
        super().__init__(host, cupy)
        self._group = connect(host, cupy, host.size, host.rank, leader=0)

    def _takes(self, dtype: Any, op: str) -> bool:
        return self._group.takes(dtype, op)

    def _allreduce(self, flat: Any, op: str) -> Steps:
        return at_once(lambda: self._group.allreduce(flat, op, self.stream))

    def _broadcast(self, data: Any, root: int) -> Steps:
        return at_once(lambda: self._group.broadcast(data, root, self.stream))

    # -- what only NCCL does -----------------------------------------------------------------------

    def broadcast_all(self, arrays: Sequence[Any], root: int = 0, name: str = "") -> None:
        """Overwrite several arrays with the root's, in one launch.

        Parameters
        ----------
        arrays : sequence of cupy.ndarray
            As many, and as long, on every rank.
        """
        if not 0 <= root < self.size:
            raise ConfigError(
                f"broadcast_all was given root {root}, but this communicator has ranks 0 to "
                f"{self.size - 1}"
            )
        flats = [self._flat(array, "broadcast_all").view("u1") for array in arrays]
        if not flats:
            raise ShapeError("broadcast_all was given no array; pass at least one")
        lengths = ", ".join(str(flat.size) for flat in flats)
        detail = f"from {root} of {lengths} bytes"

        def work() -> None:
            with self._group.together():
                for flat in flats:
                    self._group.broadcast(flat, root, self.stream)

        self._start("broadcast_all", tuple(flats), at_once(work), detail, name, True).wait()

    def reduce_scatter(self, array: Any, out: Any, op: str = "sum", name: str = "") -> None:
        """Write block ``rank`` of the reduction of ``array`` to ``out``.

        Parameters
        ----------
        array : cupy.ndarray, size * n elements
        out : cupy.ndarray, n elements
            It may be block ``rank`` of ``array``, in place.
        """
        whole = self._reducible(array, op, "reduce_scatter")
        block = self._flat(out, "reduce_scatter")
        self._compare(whole, block, "reduce_scatter")
        steps = at_once(lambda: self._group.reduce_scatter(whole, block, op, self.stream))
        self._start("reduce_scatter", (block, whole), steps, op, name, True).wait()

    def allgather(self, array: Any, out: Any, name: str = "") -> None:
        """Write the arrays of all ranks, in rank order, to ``out``.

        Parameters
        ----------
        array : cupy.ndarray, n elements
            It may be block ``rank`` of ``out``, in place.
        out : cupy.ndarray, size * n elements
        """
        block, whole = self._flat(array, "allgather"), self._flat(out, "allgather")
        self._compare(whole, block, "allgather")
        steps = at_once(lambda: self._group.allgather(block, whole, self.stream))
        self._start("allgather", (block, whole), steps, "", name, True).wait()

    def _compare(self, whole: Any, block: Any, call: str) -> None:
        if whole.size != self.size * block.size or whole.dtype != block.dtype:
            raise ShapeError(
                f"{call} on {self.size} ranks moves equal blocks: {block.size} x {block.dtype} a "
                f"rank makes {self.size * block.size}, but the array for all ranks has "
                f"{whole.size} x {whole.dtype}; pad the blocks to one length, and use one dtype"
            )

    def check(self) -> None:
        """Raise where NCCL has failed; see :meth:`NcclGroup.check`."""
        self._group.check()

    def close(self) -> None:
        """Destroy NCCL's communicator, behind graphs that use it; on all ranks, with nothing under
        way."""
        super().close()
        self.stream.synchronize()
        self._group.close()

    def abort(self) -> None:
        """Free the device from collectives that hang."""
        self._group.abort()

    # -- inside of graphs --------------------------------------------------------------------------

    def capture_obstacle(self) -> str:
        """Why NCCL's collectives cannot be part of a CUDA graph; empty where they can."""
        return self._group.capture_obstacle()

    def let_go_before_end(self, graph: HeldGraph) -> None:
        """Drop a graph before NCCL's communicator is destroyed."""
        self._group.let_go_before_end(graph)


def connect(host: Any, cupy: Any, size: int, rank: int, leader: int) -> NcclGroup:
    """Join the NCCL communicator of a leader. Collective over all ranks of ``host``.

    Parameters
    ----------
    host : Communicator
    size, rank : int
        In the group.
    leader : int
        Rank in ``host`` that makes the group's unique id; rank 0 of the group.

    Raises
    ------
    DeviceError
        On every rank of ``host``.
    """
    known = np.zeros(_ID_BYTES, np.uint8)
    problem: Exception | None = None
    try:
        nccl = require_nccl(cupy)
        if host.rank == leader:
            known[...] = np.frombuffer(bytes(nccl.get_unique_id()), np.uint8)
    except Exception as error:  # noqa: BLE001  # the other ranks must hear of any
        problem = _as_device_error(error)
    host.agree(problem, "NCCL's unique id")
    every = np.empty((host.size, _ID_BYTES), np.uint8)
    host.allgather(known, every, "NCCL's unique id")  # each group has another leader
    group = None
    try:
        group = NcclGroup(cupy, size, rank, every[leader].tobytes())
    except DeviceError as error:
        problem = error
    host.agree(problem, "connecting devices by NCCL")
    assert group is not None  # agree() has raised otherwise
    return group


def _as_device_error(error: Exception) -> DeviceError:
    if isinstance(error, DeviceError):
        return error
    return DeviceError(f"NCCL gives no unique id ({error}); NCCL_DEBUG=INFO prints why")
