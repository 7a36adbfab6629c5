"""Which communicator a job gets."""

from __future__ import annotations

from collections.abc import Mapping

from mpi4py import MPI

from hpcad.errors import ConfigError
from hpcad.parallel.mpi import MpiCommunicator
from hpcad.parallel.naive import NaiveCommunicator
from hpcad.parallel.node import NodeCommunicator

COMMUNICATORS = {"mpi": MpiCommunicator, "node": NodeCommunicator, "naive": NaiveCommunicator}


def make_communicator(
    comm: MPI.Intracomm, local_sizes: int, environ: Mapping[str, str]
) -> MpiCommunicator:
    """Return the communicator that ``HPCAD_COMMUNICATOR`` names, or the one that suits the job.

    Collective.

    Parameters
    ----------
    comm : MPI.Intracomm
        A duplicate that will be the communicator's own.
    local_sizes : int
        Ranks of the largest node: with several ranks somewhere, ``node`` is chosen, else ``mpi``.
    environ : mapping

    Raises
    ------
    ConfigError
        An unknown name.
    """
    wish = environ.get("HPCAD_COMMUNICATOR", "") or "auto"
    if wish == "auto":
        wish = "node" if local_sizes > 1 else "mpi"
    if wish not in COMMUNICATORS:
        raise ConfigError(
            f"HPCAD_COMMUNICATOR={wish!r} is not understood; set it to auto, "
            f"{', '.join(COMMUNICATORS)}, or not at all"
        )
    return COMMUNICATORS[wish](comm, "world")
