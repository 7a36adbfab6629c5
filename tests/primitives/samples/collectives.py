"""Differentiable collectives on one rank; those of several are in ``tests/mpi``."""

from __future__ import annotations

import numpy as np

from hpcad.parallel import SerialCommunicator

rng = np.random.default_rng(31)


class Silent(SerialCommunicator):
    """Nobody hears what is sent to others, and they send zeros."""

    def send(self, array, dest, tag=0, name=""):
        pass

    def receive(self, array, source, tag=0, name=""):
        array[...] = 0


def real(*shape):
    return rng.standard_normal(shape)


def complex_(*shape):
    return real(*shape) + 1j * real(*shape)


ONE = {"communicator": SerialCommunicator()}
BLOCKS = {"root": 0, "elsewhere": 0, "count": 4, **ONE}
MESSAGE = {"peer": 0, "tag": 1, "communicator": Silent()}

SAMPLES = {
    **{
        name: [((real(4, 3),), ONE), ((real(0, 2),), ONE), ((complex_(2),), ONE)]
        for name in ("allgather", "reduce_scatter_sum", "alltoall")
    },
    **{f"allreduce_{op}": [((real(4, 3),), ONE), ((real(),), ONE)] for op in ("max", "min")},
    **{
        f"allreduce_{op}": [((real(4, 3),), ONE), ((real(),), ONE), ((complex_(2),), ONE)]
        for op in ("sum", "prod")
    },
    "reduce_sum": [((real(4, 3),), {"root": 0, **ONE}), ((complex_(4),), {"root": 0, **ONE})],
    "bcast": [((real(4, 3),), {"root": 0, **ONE}), ((complex_(4),), {"root": 0, **ONE})],
    "gather_blocks": [((real(4, 3),), BLOCKS), ((complex_(4),), BLOCKS)],
    "scatter_blocks": [((real(4, 3),), BLOCKS), ((complex_(4),), BLOCKS)],
    "scan_sum": [
        ((x,), {"reverse": reverse, **ONE})
        for x in (real(4, 3), complex_(2))
        for reverse in (False, True)
    ],
    "send": [((real(4, 3),), MESSAGE), ((complex_(4),), MESSAGE)],
    "recv": [((real(4, 3),), MESSAGE), ((complex_(4),), MESSAGE)],
    "sendrecv": [
        ((x,), {"dest": peer, "source": peer, "tag": 0, **ONE})
        for x in (real(4, 3), complex_(2))
        for peer in (0, None)
    ],
    "unused": [
        ((real(4, 3),), {"shape": (4, 3), "dtype": np.dtype(float)}),
        ((complex_(2),), {"shape": (2,), "dtype": np.dtype(complex)}),
    ],
}


def _nothing(x, **_):
    return np.zeros_like(x)


REFERENCES = {name: lambda x, **_: x for name in SAMPLES} | {
    "send": _nothing,
    "recv": _nothing,
    "sendrecv": lambda x, source, **_: x if source == 0 else np.zeros_like(x),
    "unused": lambda x, shape, dtype: np.zeros((), dtype),
}
