"""The differentiable collectives as functions of one array, and losses made of them."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import parallel
from hpcad.autodiff import grad, hvp, vhp

# -- the collectives, as functions of an array (2 * size, 3) and a communicator --------------------


def _last(c):
    return c.size - 1


def _line(x, c):
    """To the next rank; nobody sends to the first, nor does the last send."""
    behind = c.rank + 1 if c.rank + 1 < c.size else None
    return parallel.sendrecv(x, behind, c.rank - 1 if c.rank else None, c)


def _one_message(x, c):
    """From the first rank to the last."""
    parts = [x]
    if c.rank == 0:
        parts.append(parallel.send(x, _last(c), c))
    if c.rank == _last(c):
        parts.append(parallel.recv(x, 0, c))
    return hnp.concatenate(parts)


LINEAR = {
    "allreduce": lambda x, c: parallel.allreduce(x, "sum", c),
    "allreduce mean": lambda x, c: parallel.allreduce(x, "mean", c),
    "reduce": lambda x, c: parallel.reduce(x, _last(c), c),
    "bcast": lambda x, c: parallel.bcast(x, _last(c), c),
    "gather": lambda x, c: parallel.gather(x, _last(c), c),
    "scatter": lambda x, c: parallel.scatter(x, _last(c), c),
    "allgather": lambda x, c: parallel.allgather(x, c),
    "reduce_scatter": lambda x, c: parallel.reduce_scatter(x, c),
    "alltoall": lambda x, c: parallel.alltoall(x, c),
    "scan": lambda x, c: parallel.scan(x, c),
    "reversed scan": lambda x, c: parallel.scan(x, c, reverse=True),
    "ring": lambda x, c: parallel.sendrecv(x, (c.rank + 1) % c.size, (c.rank - 1) % c.size, c),
    "line": _line,
    "send and recv": _one_message,
}
OTHERS = {
    "max": lambda x, c: parallel.allreduce(x, "max", c),
    "min": lambda x, c: parallel.allreduce(x, "min", c),
    "prod": lambda x, c: parallel.allreduce(x, "prod", c),
}
ALL = LINEAR | OTHERS
linear = pytest.mark.parametrize("name", LINEAR)
every = pytest.mark.parametrize("name", ALL)


def array(comm, seed, shape=None, dtype=float):
    """Numbers of this rank, no two alike."""
    rng = np.random.default_rng(100 * seed + comm.rank)
    x = rng.uniform(0.5, 1.5, shape or (2 * comm.size, 3))
    return (x + 1j * rng.uniform(0.5, 1.5, x.shape) if dtype is complex else x).astype(dtype)


def over_ranks(comm, value):
    total = np.array(value)
    comm.allreduce(total)
    return total[()]


def close(x, y, tolerance=1e-10):
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def by_reverse_over_reverse(f, x, v):
    return grad(lambda y: hnp.sum(grad(f)(y) * v))(x)


NESTINGS = {
    "forward over reverse": hvp,
    "reverse over forward": vhp,
    "reverse over reverse": by_reverse_over_reverse,
}


def loss_of(name, comm):
    """The loss of this rank: every rank weighs what it received otherwise."""

    def loss(x):
        y = ALL[name](hnp.sin(x), comm)
        return hnp.sum((comm.rank + 1) * y**3)

    return loss
