"""Communicators of every kind for the tests; MPI is loaded by the first one."""

from __future__ import annotations

from typing import Any

from hpcad.parallel import init


def make_group(kind: str) -> Any:
    """A communicator of its own: ``"mpi"``, ``"node"``, ``"naive"``; that of the world; or one
    whose ranks count as ``"nodes of 2"`` or of another number."""
    if kind == "world":
        return init().communicator
    from mpi4py import MPI

    from hpcad.parallel.choice import COMMUNICATORS
    from hpcad.parallel.node.node import NodeCommunicator

    comm = MPI.COMM_WORLD.Dup()
    if not kind.startswith("nodes of"):
        return COMMUNICATORS[kind](comm, kind)
    return NodeCommunicator(comm, kind, comm.Split(comm.Get_rank() // int(kind.split()[-1])))
