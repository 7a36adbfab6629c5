"""Buckets: contiguous slices of a gradient arena that are reduced as one message."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hpcad.autodiff import Parameter
from hpcad.backend import Array
from hpcad.nn.arena import ParameterArena
from hpcad.parallel.communicator import Request
from hpcad.parallel.gradients.fit import Fit

MB = 10**6
LATENCY_SHARE = 0.05
SHORTEST, LONGEST = MB // 4, 32 * MB
LEAST_BUCKETS, FIRST_FRACTION = 6, 8


@dataclass
class Bucket:
    """One message of the gradient reduction.

    Attributes
    ----------
    arena : ParameterArena
    span : slice
        In elements of the arena, padding included.
    parameters : list of Parameter
        Those whose gradients lie in the span.
    pending : int
        How many of them are not final yet in this backward pass.
    request : Request or None
        The reduction under way.
    name : str
        Of its reductions, in records and messages.
    """

    arena: ParameterArena
    span: slice
    parameters: list[Parameter] = field(default_factory=list)
    pending: int = 0
    request: Request | None = None
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or f"gradients of {self.parameters[-1].name}"

    @property
    def nbytes(self) -> int:
        """Length of the message."""
        return (self.span.stop - self.span.start) * self.arena.grads.dtype.itemsize

    @property
    def gradients(self) -> Array:
        """The bucket's slice of the gradient arena."""
        return self.arena.grads.flat[self.span]

    def zero_unused(self) -> None:
        """Zero the gradients that no backward pass has written."""
        for parameter in self.parameters:
            if not parameter.fresh:
                self.arena.grads.views[parameter.name][...] = 0


@dataclass(frozen=True)
class BucketSizes:
    """How long the messages are, in bytes.

    Attributes
    ----------
    first : int
        Of the first one of a step.
    others : int
    reason : str
        A clause: why so long.
    """

    first: int
    others: int
    reason: str

    def __str__(self) -> str:
        return f"buckets of {self.others / MB:g} MB, first {self.first / MB:g} MB ({self.reason})"


def choose_sizes(
    bucket_mb: float | None, first_mb: float | None, total: int, fit: Fit | None
) -> BucketSizes:
    """The sizes that were asked for, or those that suit the network.

    A bucket is so long that latency is 5 % of its time: shorter ones cost, longer ones start later.
    But there are at least six, if they are not shorter than 0.25 MB then: the last one can hide
    behind nothing. Sizes are powers of two, so that two runs seldom choose different ones.

    Parameters
    ----------
    bucket_mb, first_mb : float or None
        In 10^6 bytes; None chooses.
    total : int
        Bytes of all gradients.
    fit : Fit or None
        Of the communicator's reductions; None where nothing is reduced.
    """
    if bucket_mb is not None:
        others, reason = int(bucket_mb * MB), "as asked for"
    elif fit is None:
        others, reason = 4 * MB, "nothing is sent"
    else:
        wanted = min(fit.bytes_at(LATENCY_SHARE), total / LEAST_BUCKETS)
        bounded = min(max(wanted, SHORTEST), LONGEST)
        others = int(MB * 2.0 ** round(math.log2(bounded / MB)))
        reason = f"chosen for reductions of {fit}"
    first = int(first_mb * MB) if first_mb is not None else max(1, others // FIRST_FRACTION)
    return BucketSizes(first, others, reason)


def make_buckets(
    arenas: list[ParameterArena], bucket_bytes: int, first_bucket_bytes: int
) -> list[Bucket]:
    """Divide arenas into buckets, in the order in which backward finishes them.

    Parameters
    ----------
    arenas : list of ParameterArena
        In the order of the forward pass; the buckets come from the end.
    bucket_bytes : int
        A bucket is closed once it holds this much. A parameter is never split.
    first_bucket_bytes : int
        Size of the first bucket of all: a small one, so that the reduction starts early.
    """
    buckets: list[Bucket] = []
    limit = first_bucket_bytes
    for arena in reversed(arenas):
        stop, itemsize = arena.grads.size, arena.grads.dtype.itemsize
        members: list[Parameter] = []
        for parameter in reversed(arena.parameters):
            members.append(parameter)
            start = arena.span(parameter).start
            if (stop - start) * itemsize >= limit or parameter is arena.parameters[0]:
                buckets.append(Bucket(arena, slice(start, stop), members))
                stop, members, limit = start, [], bucket_bytes
    return buckets


def layout(buckets: list[Bucket]) -> tuple[tuple[int, ...], ...]:
    """Bytes of each gradient of each message, in the order in which they become ready."""
    return tuple(tuple(p.value.nbytes for p in bucket.parameters) for bucket in buckets)
