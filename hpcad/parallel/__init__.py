"""Ranks and the messages between them: the world, its communicators, and data parallelism.

Importing this room loads no MPI library; :func:`init` does, and only when the process was started
by a launcher (``mpirun``, ``srun``, ...) or ``HPCAD_MPI=1`` asks for it.
"""

from hpcad.parallel.batch_norm import SyncBatchNorm, synchronized
from hpcad.parallel.collectives import (
    Grid,
    allgather,
    allreduce,
    alltoall,
    attach,
    bcast,
    gather,
    halo_exchange,
    recv,
    reduce,
    reduce_scatter,
    scan,
    scatter,
    send,
    sendrecv,
)
from hpcad.parallel.communicator import Communicator, Request
from hpcad.parallel.gradients.data_parallel import DataParallel
from hpcad.parallel.join import join
from hpcad.parallel.mean import mean
from hpcad.parallel.serial import SerialCommunicator
from hpcad.parallel.world import World, init

__all__ = [
    "Communicator",
    "DataParallel",
    "Grid",
    "Request",
    "SerialCommunicator",
    "SyncBatchNorm",
    "World",
    "allgather",
    "allreduce",
    "alltoall",
    "attach",
    "bcast",
    "gather",
    "halo_exchange",
    "init",
    "join",
    "mean",
    "recv",
    "reduce",
    "reduce_scatter",
    "scan",
    "scatter",
    "send",
    "sendrecv",
    "synchronized",
]
