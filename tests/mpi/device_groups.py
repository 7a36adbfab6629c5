"""Communicators for arrays of the strict device, one of each way to reduce."""

from __future__ import annotations

import numpy as np

from hpcad import parallel
from hpcad.backend import strict as cuda

from .groups import make_group

WORLD = parallel.init()
PIECE = 1 << 10  # bytes; small, so that arrays have many pieces
KINDS = ["nccl", "nccl+mpi", "mpi", "staged", "staged on node", "staged on nodes of 2"]
if WORLD.size % 2:
    KINDS.remove("nccl+mpi")
if WORLD.size < 3:
    KINDS.remove("staged on nodes of 2")
COUNTS = [0, 1, 997]
CASES = ["sum f4", "sum f8", "max f4", "min i4", "prod i8", "sum u8"]

_made = {}


def group_of(kind):
    if kind not in _made:
        _made[kind] = make(kind)
    return _made[kind]


def make(kind):
    """One of each way to reduce, over a communicator of its own."""
    from hpcad.parallel.devices.mpi import GpuAwareCommunicator
    from hpcad.parallel.devices.nccl import NcclCommunicator
    from hpcad.parallel.devices.nccl_nodes import NcclNodesCommunicator
    from hpcad.parallel.devices.staged import StagedCommunicator

    if kind.startswith("staged on"):
        return StagedCommunicator(make_group(kind.removeprefix("staged on ")), cuda, PIECE)
    host = make_group("mpi")
    if kind == "nccl":
        return NcclCommunicator(host, cuda)
    if kind == "mpi":
        return GpuAwareCommunicator(host, cuda)
    if kind == "staged":
        return StagedCommunicator(host, cuda, PIECE)
    return NcclNodesCommunicator(host, cuda, host.comm.Split(host.rank // 2), PIECE)


def numbers(count, dtype, seed=0):
    """Numbers of this rank; small ones, so that products stay exact."""
    drawn = np.random.default_rng([seed, WORLD.rank]).integers(1, 4, count)
    return drawn.astype(dtype)


def expected(host, op):
    result = host.copy()
    group_of_naive().allreduce(result, op)
    return result


def group_of_naive():
    if "naive" not in _made:
        _made["naive"] = make_group("naive")
    return _made["naive"]
