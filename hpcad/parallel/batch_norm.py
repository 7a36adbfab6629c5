"""Batch normalisation over the batches of all ranks."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import backend_of
from hpcad.nn.batch_norm import BatchNorm
from hpcad.nn.module import Module
from hpcad.parallel.collectives import allreduce
from hpcad.parallel.communicator import Communicator
from hpcad.primitives.elementwise import cast
from hpcad.primitives.joining import concatenate


class SyncBatchNorm(BatchNorm):
    """:class:`hpcad.nn.BatchNorm` with mean and variance over the global batch.

    Collective in training: every rank calls it equally often, those without samples with arrays of
    0 rows (:func:`hpcad.parallel.join` makes them). It equals ``BatchNorm`` of the concatenated
    batch, for values, derivatives of any order in both modes, and running averages, which are the
    same on every rank.

    Parameters
    ----------
    width, momentum, eps
        See :class:`hpcad.nn.BatchNorm`.
    communicator : Communicator, optional
        That of the world when left out.

    Notes
    -----
    Two sums over ranks each way, of ``width + 1`` and ``width`` numbers in float64: first of the
    values and their number, then of the squared deviations from the mean of all. So uneven
    batches are weighted exactly, and nothing cancels where the mean is large.

    Where parameters are used on some ranks only, make the engine with ``overlap=False``: each rank
    would otherwise start its gradients' reductions elsewhere between these sums.
    """

    def __init__(
        self,
        width: int,
        momentum: float = 0.1,
        eps: float = 1e-5,
        communicator: Communicator | None = None,
    ) -> None:
        super().__init__(width, momentum, eps)
        self.communicator = communicator

    def __deepcopy__(self, memo: dict[int, Any]) -> Module:
        """A layer of its own, among the same ranks."""
        memo[id(self.communicator)] = self.communicator
        return super().__deepcopy__(memo)

    def added_up(self, count: int, total: Any) -> tuple[Any, Any]:
        """The number of samples on all ranks, and their sum."""
        own = backend_of(value_of(total)).asarray(np.array([count], np.float64))
        both = self.added(concatenate([cast(total, dtype=np.float64), own]))
        samples = both[-1]
        return samples.detach() if isinstance(samples, Tensor) else samples, both[:-1]

    def added(self, squares: Any) -> Any:
        """The sum over ranks, in float64."""
        return allreduce(cast(squares, dtype=np.float64), "sum", self.communicator)


def synchronized(model: Module, communicator: Communicator | None = None) -> Module:
    """Turn every ``BatchNorm`` of a model into a :class:`SyncBatchNorm`, in place.

    Do it before an engine or an optimizer is made for the model. Parameters and running averages
    stay the same objects.

    Returns
    -------
    Module
        The model itself; another one only where it is a ``BatchNorm``.
    """
    return _converted(model, communicator, {})


def _converted(node: Any, communicator: Communicator | None, known: dict[int, Any]) -> Any:
    if id(node) in known:  # shared layers stay shared
        return known[id(node)]
    if type(node) is BatchNorm:
        twin = SyncBatchNorm.__new__(SyncBatchNorm)
        vars(twin).update(vars(node), communicator=communicator)
        known[id(node)] = twin
        return twin
    known[id(node)] = node
    if isinstance(node, Module):
        for name, child in list(vars(node).items()):
            found = _converted(child, communicator, known)
            if found is not child:
                setattr(node, name, found)
    elif isinstance(node, (list, dict)):
        for key, child in node.items() if isinstance(node, dict) else list(enumerate(node)):
            node[key] = _converted(child, communicator, known)
    elif type(node) is tuple:
        parts = tuple(_converted(child, communicator, known) for child in node)
        if any(a is not b for a, b in zip(parts, node, strict=True)):
            return parts
    return node
