"""Which communicator a job gets: what the environment asks for, or what was measured at the start.

Where several ranks share a node, gradients are either added up in shared memory (``node``) or sent
as messages, which the library moves through shared memory, too (``mpi``). Adding up copies less and
nearly always wins; how much depends on library and machine, so :func:`make_communicator` tries both
with one long sum, as of gradients, and one short one, as of losses.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from mpi4py import MPI

from hpcad.errors import ConfigError
from hpcad.parallel.mpi import MpiCommunicator
from hpcad.parallel.naive import NaiveCommunicator
from hpcad.parallel.node.node import NodeCommunicator
from hpcad.parallel.node.window import has_room

COMMUNICATORS = {"mpi": MpiCommunicator, "node": NodeCommunicator, "naive": NaiveCommunicator}
LONG, LONG_BETWEEN_NODES, SHORT = 1 << 22, 1 << 20, 1 << 10  # bytes
# Messages must win clearly, typically against the best of shared memory. The two add up in other
# orders, and a choice that changed by chance would change the last bits of a training, and the time
# of its reductions.
CLEARLY = 0.5
_LEAST_TRIES, _MOST_TRIES, _BUDGET_SECONDS = 3, 7, 0.04
_NAME = "choosing a communicator"


def make_communicator(
    comm: MPI.Intracomm, local_sizes: int, environ: Mapping[str, str]
) -> tuple[MpiCommunicator, str]:
    """Return the communicator that ``HPCAD_COMMUNICATOR`` names, or the one that suits the job.

    Collective; equal on every rank. Measuring takes some ten milliseconds; on a slow network, eight
    reductions of 1 MB.

    Parameters
    ----------
    comm : MPI.Intracomm
        A duplicate that will be the communicator's own.
    local_sizes : int
        Ranks of the largest node.
    environ : mapping

    Returns
    -------
    communicator : MpiCommunicator
    reason : str
        A clause: why it is this one.

    Raises
    ------
    ConfigError
        An unknown name.
    """
    wish = environ.get("HPCAD_COMMUNICATOR", "") or "auto"
    if wish in COMMUNICATORS:
        return COMMUNICATORS[wish](comm, "world"), "as HPCAD_COMMUNICATOR asks"
    if wish != "auto":
        raise ConfigError(
            f"HPCAD_COMMUNICATOR={wish!r} is not understood; set it to auto, "
            f"{', '.join(COMMUNICATORS)}, or not at all"
        )
    if local_sizes == 1:
        why = "there is one rank" if comm.Get_size() == 1 else "every node has one rank"
        return MpiCommunicator(comm, "world"), why
    local = cast(MPI.Intracomm, comm.Split_type(MPI.COMM_TYPE_SHARED))
    if not has_room(local, comm, LONG):
        return MpiCommunicator(comm, "world"), "some node has too little shared memory"
    return _faster(comm, local)


def _faster(comm: MPI.Intracomm, local: MPI.Intracomm) -> tuple[MpiCommunicator, str]:
    node, mpi = NodeCommunicator(comm, _NAME, local), MpiCommunicator(comm.Dup(), _NAME)
    nbytes = LONG if node.across is None else LONG_BETWEEN_NODES
    long, short = (_in_turn([node, mpi], n) for n in (nbytes, SHORT))
    times = {
        "node": (float(long[:, 0].min()), float(short[:, 0].min())),
        "mpi": (float(np.median(long[:, 1])), float(np.median(short[:, 1]))),
    }
    node.release()  # what was measured with
    kind = choice_of(times)
    chosen = node if kind == "node" else mpi
    chosen.begin_to_count("world")
    return chosen, describe(times, nbytes)


def choice_of(times: Mapping[str, tuple[float, float]]) -> str:
    """``"node"``, unless ``"mpi"`` is clearly faster with long sums.

    Parameters
    ----------
    times : mapping
        Of kind to the seconds of a long sum and of a short one: the best ones of ``"node"``, the
        medians of ``"mpi"``.
    """
    return "mpi" if times["mpi"][0] < CLEARLY * times["node"][0] else "node"


def describe(times: Mapping[str, tuple[float, float]], nbytes: int) -> str:
    """What was measured, in a clause."""
    node, mpi = times["node"], times["mpi"]
    return (
        f"a sum of {nbytes >> 20} MB took {1e3 * node[0]:.2f} ms at best in shared memory, "
        f"typically {1e3 * mpi[0]:.2f} ms by messages; of {SHORT >> 10} kB "
        f"{1e6 * node[1]:.0f} us and {1e6 * mpi[1]:.0f} us"
    )


def _in_turn(communicators: Sequence[MpiCommunicator], nbytes: int) -> np.ndarray:
    """Seconds of a few sums, shape (tries, communicators), of the slowest rank; equal on all.

    They take turns: what else runs on the machine disturbs both.
    """
    arrays = [each.allocate(nbytes).view(np.float32) for each in communicators]
    times = np.empty((1 + _MOST_TRIES, len(arrays)))  # the first opens connections, touches pages
    for i, row in enumerate(times):
        for j, (communicator, array) in enumerate(zip(communicators, arrays, strict=True)):
            row[j] = _seconds(communicator, array)
        if i >= _LEAST_TRIES and times[1 : i + 1].sum() > _BUDGET_SECONDS:
            break
    return times[1 : i + 1]


def _seconds(communicator: MpiCommunicator, array: np.ndarray) -> float:
    communicator.barrier(_NAME)
    started = time.perf_counter()
    communicator.allreduce(array, "sum", _NAME)
    slowest = np.array([time.perf_counter() - started])
    communicator.allreduce(slowest, "max", _NAME)
    return float(slowest[0])
