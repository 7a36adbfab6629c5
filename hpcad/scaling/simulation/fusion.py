"""Messages of whatever is ready: how Horovod gathers gradients.

When the one before is done, the next message takes all gradients that are ready by then, up to the
length of a buffer, and at least one; a thread looks for them once in a cycle (Sergeev & Del Balso
2018, arXiv:1802.05799; horovod/horovod, docs/tensor-fusion.rst). So the messages depend on the
machine, unlike buckets. They are those of a rank that nothing slows down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hpcad.scaling.simulation.workload import Array, Gradient


def fused(
    gradients: Sequence[Gradient],
    backward: Array,
    seconds: Callable[[float], float],
    limit: float,
    cycle: float,
) -> tuple[Gradient, ...]:
    """The messages of a backward pass.

    Parameters
    ----------
    gradients
        In the order in which they become ready.
    backward
        Seconds of the pieces of the backward pass, of shape (pieces,).
    seconds
        Of an allreduce of so many bytes.
    limit : float
        Bytes of the buffer.
    cycle : float
        Seconds between two looks; 0: at once.
    """
    done = [0.0, *backward.cumsum()]
    found, at, free = [], 0, 0.0
    while at < len(gradients):
        start = max(free, done[gradients[at].after])
        if cycle:
            start = math.ceil(start / cycle - 1e-9) * cycle
        nbytes, after = gradients[at].nbytes, gradients[at].after
        at += 1
        while at < len(gradients) and done[gradients[at].after] <= start:
            if nbytes + gradients[at].nbytes > limit:
                break
            nbytes, after = nbytes + gradients[at].nbytes, max(after, gradients[at].after)
            at += 1
        found.append(Gradient(nbytes, after))
        free = start + seconds(nbytes)
    return tuple(found)
