"""Collectives with derivatives of any order, in both modes.

===============  =======================================================================
file             what is in it
===============  =======================================================================
``collective``   what keeps all ranks together when they differentiate
``blocks``       the linear collectives, and which is whose adjoint
``extremes``     the largest, the smallest, the product
``messages``     send, recv, sendrecv
``functions``    what users call
``grid``         ranks at the points of a Cartesian grid
``halo``         the rim of the neighbours' blocks
``attach``       results that the loss of this rank does not use
===============  =======================================================================
"""

from hpcad.parallel.collectives.attach import attach
from hpcad.parallel.collectives.functions import (
    allgather,
    allreduce,
    alltoall,
    bcast,
    gather,
    recv,
    reduce,
    reduce_scatter,
    scan,
    scatter,
    send,
    sendrecv,
)
from hpcad.parallel.collectives.grid import Grid
from hpcad.parallel.collectives.halo import halo_exchange

__all__ = [
    "Grid",
    "allgather",
    "allreduce",
    "alltoall",
    "attach",
    "bcast",
    "gather",
    "halo_exchange",
    "recv",
    "reduce",
    "reduce_scatter",
    "scan",
    "scatter",
    "send",
    "sendrecv",
]
