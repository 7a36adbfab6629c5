"""Buckets: contiguous slices of a gradient arena that are reduced as one message."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpcad.autodiff import Parameter
from hpcad.backend import Array
from hpcad.nn.arena import ParameterArena
from hpcad.parallel.communicator import Request


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
    """

    arena: ParameterArena
    span: slice
    parameters: list[Parameter] = field(default_factory=list)
    pending: int = 0
    request: Request | None = None

    @property
    def gradients(self) -> Array:
        """The bucket's slice of the gradient arena."""
        return self.arena.grads.flat[self.span]

    def zero_unused(self) -> None:
        """Zero the gradients that no backward pass has written."""
        for parameter in self.parameters:
            if not parameter.fresh:
                self.arena.grads.views[parameter.name][...] = 0


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
