"""One rank of each node, which take part, and what they tell each other; mpi4py alone.

:mod:`hpcad.parallel` is left aside because importing it reads hundreds of files.
"""

from __future__ import annotations

import faulthandler
import json
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from hpcad.errors import HpcadError, LaunchError

_PROMISES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_LIMIT_SECONDS = 1800.0

T = TypeVar("T")


class Group:
    """The first ranks of all nodes; rank 0 of the job is rank 0 here.

    Parameters
    ----------
    comm : MPI.Intracomm or None
        None in a world of one process, without MPI.
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank: int = comm.Get_rank() if comm else 0
        self.size: int = comm.Get_size() if comm else 1

    def broadcast(self, data: bytes | None) -> bytes:
        """Rank 0's bytes, on every rank. Collective."""
        if self._comm is None:
            return data or b""
        length = bytearray((-1 if data is None else len(data)).to_bytes(8, "little", signed=True))
        self._comm.Bcast([length, 8, self._byte], 0)
        count = int.from_bytes(length, "little", signed=True)
        buffer = bytearray(data) if self.rank == 0 and data is not None else bytearray(count)
        if count:
            self._comm.Bcast([buffer, count, self._byte], 0)
        return bytes(buffer)

    def gather(self, value: Any) -> list[Any]:
        """Every rank's JSON-able value, on every rank. Collective."""
        if self._comm is None:
            return [value]
        text = json.dumps(value).encode()
        most = self._largest(len(text))
        mine = bytearray(text.ljust(most))
        everyones = bytearray(most * self.size)
        self._comm.Allgather([mine, most, self._byte], [everyones, most, self._byte])
        return [json.loads(everyones[i * most : (i + 1) * most]) for i in range(self.size)]

    def agreed(self, work: Callable[[], T]) -> T:
        """Do something on every rank; raise on all of them where it fails on one. Collective.

        Raises
        ------
        LaunchError
            It names the hosts on which it failed, and why.
        """
        result, problem = None, ""
        try:
            result = work()
        except (OSError, HpcadError) as error:
            problem = f"{socket.gethostname()}: {error}"
        problems = [each for each in self.gather(problem) if each]
        if problems:
            raise LaunchError("; ".join(problems))
        return result  # type: ignore[return-value]  # there was no problem

    def abort(self) -> None:
        """End the whole job with the traceback of what is being handled; not where one is alone."""
        if self._comm is not None:
            traceback.print_exc()
            sys.stderr.flush()
            self._comm.Abort(1)

    @property
    def _byte(self) -> Any:
        from mpi4py import MPI

        return MPI.BYTE

    def _largest(self, number: int) -> int:
        numbers = bytearray(8 * self.size)
        mine = bytearray(number.to_bytes(8, "little"))
        self._comm.Allgather([mine, 8, self._byte], [numbers, 8, self._byte])
        return max(int.from_bytes(numbers[i : i + 8], "little") for i in range(0, len(numbers), 8))


def joined(environ: Mapping[str, str] = os.environ) -> Group | None:
    """The group, on the first rank of each node; None on the others, which have nothing to do.

    Collective over all ranks of the job.

    Raises
    ------
    LaunchError
        The launcher promised another number of ranks than MPI delivers.
    """
    promised = next((int(environ[name]) for name in _PROMISES if name in environ), None)
    if promised is None:
        return Group(None)
    # A rank that is gone leaves the others waiting: they end, and the launcher ends the job.
    faulthandler.dump_traceback_later(
        float(environ.get("HPCAD_TIMEOUT", "") or _LIMIT_SECONDS), exit=True
    )
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if world.Get_size() != promised:
        raise LaunchError(
            f"the launcher promised {promised} ranks, and MPI made a world of {world.Get_size()}: "
            "each would read the environment by itself; under Slurm start it with `srun "
            "--mpi=pmi2` (MPICH) or `srun --mpi=pmix` (Open MPI)"
        )
    local = world.Split_type(MPI.COMM_TYPE_SHARED)
    first = local.Get_rank() == 0
    leaders = world.Split(0 if first else MPI.UNDEFINED, world.Get_rank())
    return Group(leaders) if first else None


def finished() -> None:
    """No end by the limit from here on."""
    faulthandler.cancel_dump_traceback_later()
