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
from hpcad.parallel.node import NodeCommunicator
from hpcad.parallel.window import has_room

COMMUNICATORS = {"mpi": MpiCommunicator, "node": NodeCommunicator, "naive": NaiveCommunicator}
LONG, SHORT = 1 << 20, 1 << 10  # bytes
# Messages must win clearly: the two add up in other orders, and a choice that changed from run to
# run by chance would change the last bits of a training.
CLEARLY = 0.75
_LEAST_TRIES, _MOST_TRIES, _BUDGET_SECONDS = 2, 6, 0.04
_NAME = "choosing a communicator"


def make_communicator(
    comm: MPI.Intracomm, local_sizes: int, environ: Mapping[str, str]
) -> tuple[MpiCommunicator, str]:
    """Return the communicator that ``HPCAD_COMMUNICATOR`` names, or the one that suits the job.

    Collective; equal on every rank. Measuring takes a few milliseconds; on a slow network, six
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
    node = NodeCommunicator(comm, _NAME, local)
    mpi = MpiCommunicator(cast(MPI.Intracomm, comm.Dup()), _NAME)
    long, short = (_in_turn([node, mpi], nbytes) for nbytes in (LONG, SHORT))
    times = {"node": (long[0], short[0]), "mpi": (long[1], short[1])}
    node.release()  # what was measured with
    kind = choice_of(times)
    chosen = node if kind == "node" else mpi
    chosen.begin_to_count("world")
    return chosen, describe(kind, times)


def choice_of(times: Mapping[str, tuple[float, float]]) -> str:
    """``"node"``, unless ``"mpi"`` is clearly faster with long sums.

    Parameters
    ----------
    times : mapping
        Of kind to the seconds of a long sum and of a short one.
    """
    return "mpi" if times["mpi"][0] < CLEARLY * times["node"][0] else "node"


def describe(kind: str, times: Mapping[str, tuple[float, float]]) -> str:
    """Why it is this kind, in a clause."""
    other = "mpi" if kind == "node" else "node"
    ours, theirs = times[kind], times[other]
    return (
        f"a sum of {LONG >> 20} MB took {1e3 * ours[0]:.2f} ms against {1e3 * theirs[0]:.2f} ms "
        f"by {other!r}, of {SHORT >> 10} kB {1e6 * ours[1]:.0f} us against {1e6 * theirs[1]:.0f} us"
    )


def _in_turn(communicators: Sequence[MpiCommunicator], nbytes: int) -> list[float]:
    """Each one's best of a few sums, a sum as long as its slowest rank; equal on every rank.

    They take turns: what else runs on the machine disturbs both.
    """
    arrays = [each.allocate(nbytes).view(np.float32) for each in communicators]
    best, spent = [float("inf")] * len(arrays), 0.0
    for i in range(1 + _MOST_TRIES):
        for j, (communicator, array) in enumerate(zip(communicators, arrays, strict=True)):
            seconds = _seconds(communicator, array)
            if i > 0:  # the first time opens connections and touches pages
                best[j], spent = min(best[j], seconds), spent + seconds
        if i >= _LEAST_TRIES and spent > _BUDGET_SECONDS:
            break
    return best


def _seconds(communicator: MpiCommunicator, array: np.ndarray) -> float:
    communicator.barrier(_NAME)
    started = time.perf_counter()
    communicator.allreduce(array, "sum", _NAME)
    slowest = np.array([time.perf_counter() - started])
    communicator.allreduce(slowest, "max", _NAME)
    return float(slowest[0])
