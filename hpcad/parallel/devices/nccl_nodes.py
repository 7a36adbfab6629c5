"""The communicator for nodes of several devices: NCCL inside them, MPI between them.

Not yet proven on a GPU.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from mpi4py import MPI

from hpcad.errors import ConfigError
from hpcad.parallel.devices.communicator import DeviceCommunicator
from hpcad.parallel.devices.nccl import connect
from hpcad.parallel.devices.request import Steps
from hpcad.parallel.devices.staging import PIECE_BYTES, Staging
from hpcad.parallel.mpi import MpiCommunicator
from hpcad.parallel.mpi_request import Started
from hpcad.program.device.held_graph import HeldGraph


class NcclNodesCommunicator(DeviceCommunicator):
    """Reductions in three parts: scattered in the node, slice by slice between nodes, gathered.

    NCCL's reduce-scatter leaves the l-th of L slices with the l-th of a node's L ranks. Each of
    them exchanges its slice with the ranks of equal number on the other nodes by MPI, through
    pinned memory, all slices at the same time. NCCL's all-gather completes the arrays. Between
    nodes travels 1/L of what a flat ring of all ranks would send through one rank's host.

    Collective.

    Parameters
    ----------
    host : MpiCommunicator
        Of any kind that MPI carries.
    cupy : module
    local : MPI.Intracomm, optional
        The ranks of this one's node. Those that share memory, when left out.
    piece_bytes : int
        See :class:`~hpcad.parallel.devices.staging.Staging`.

    Raises
    ------
    ConfigError
        The nodes have different numbers of ranks, so that slices would not match.
    DeviceError
        NCCL is missing, or cannot connect the devices of a node.
    """

    kind = "nccl+mpi"

    def __init__(
        self,
        host: Any,
        cupy: Any,
        local: MPI.Intracomm | None = None,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        super().__init__(host, cupy)
        local = local or cast(MPI.Intracomm, host.comm.Split_type(MPI.COMM_TYPE_SHARED))
        self.local_rank, self.local_size = local.Get_rank(), local.Get_size()
        counts = set(host.gather_json(self.local_size, "ranks of each node"))
        if len(counts) > 1:
            raise ConfigError(
                f"nccl+mpi needs as many ranks on every node, but there are nodes of "
                f"{', '.join(map(str, sorted(counts)))}; start them evenly, or set "
                "HPCAD_DEVICE_COMMUNICATOR to nccl or staged"
            )
        leader = np.array([host.rank], np.int64)
        local.Bcast(leader, 0)
        self._group = connect(host, cupy, self.local_size, self.local_rank, int(leader[0]))
        across = cast(MPI.Intracomm, host.comm.Split(self.local_rank, host.rank))
        self._across = MpiCommunicator(across, f"slices of {host._door.label}")
        # Calls are compared on the host communicator, before they take their turn.
        self._across._checks, self._across._started = False, Started(None)
        mine = [self._across.rank, self.local_rank]
        self._places = host.gather_json(mine, "place of each rank")
        self._staging = Staging(cupy, self.stream, self._across, piece_bytes)

    def _takes(self, dtype: Any, op: str) -> bool:
        # The sum between nodes is MPI's, which has no bfloat16.
        return dtype.kind != "V" and self._group.takes(dtype, op)

    def _allreduce(self, flat: Any, op: str) -> Steps:
        """The last rank's slice takes what is left of a division into equal ones."""
        count, last = self.local_size, self.local_size - 1
        each = flat.size // count
        equal, rest = flat[: each * count], flat[each * count :]
        block = equal[self.local_rank * each : (self.local_rank + 1) * each]
        with self._group.together():
            self._group.reduce_scatter(equal, block, op, self.stream)
            self._group.reduce(rest, op, last, self.stream)
        stop = flat.size if self.local_rank == last else (self.local_rank + 1) * each
        if self._across.size > 1:
            yield from self._staging.allreduce(flat[self.local_rank * each : stop], op)
        with self._group.together():
            self._group.allgather(block, equal, self.stream)
            self._group.broadcast(rest, last, self.stream)

    def _broadcast(self, data: Any, root: int) -> Steps:
        """From the root to the ranks of its number on other nodes, and from each into its node."""
        node, number = self._places[root]
        if self.local_rank == number and self._across.size > 1:
            yield from self._staging.broadcast(data, node, self._across.rank == node)
        self._group.broadcast(data, number, self.stream)

    def check(self) -> None:
        """Raise where NCCL has failed; see :meth:`NcclGroup.check`."""
        self._group.check()

    def close(self) -> None:
        """Destroy NCCL's communicator; on all ranks, with nothing under way."""
        super().close()
        self.stream.synchronize()
        self._group.close()

    def abort(self) -> None:
        """Free the device from collectives that hang in a node."""
        self._group.abort()

    def capture_obstacle(self) -> str:
        """Within one node all is NCCL's; between nodes, MPI is the host's."""
        if self._across.size > 1:
            return "between nodes 'nccl+mpi' passes through the host"
        return self._group.capture_obstacle()

    def let_go_before_end(self, graph: HeldGraph) -> None:
        """Drop a graph before NCCL's communicator is destroyed."""
        self._group.let_go_before_end(graph)
