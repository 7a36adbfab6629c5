"""What a training step does on one rank: work in its order, and the gradients that come out of it.

A workload knows nothing of machines. Its work is a row of pieces (the steps of a captured program,
the layers of a described model), each with operations and bytes that grow with the batch in a
straight line. Its gradients say after which piece of the backward pass x
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from hpcad.errors import ConfigError
from hpcad.scaling.simulation.machine import Device

Array = np.ndarray[Any, Any]
Reduction = Literal["overlapped", "blocking", "sharded"]


@dataclass(frozen=True, eq=False)
class Work:
    """Pieces of computation, in order.

    Attributes
    ----------
    flops, nbytes : array of float64, shape (pieces, 2)
        Floating-point operations, and bytes read and written: those of any batch, and those of
        every sample besides.
    """

    flops: Array
    nbytes: Array

    def __len__(self) -> int:
        return len(self.flops)

    def seconds(self, device: Device, samples: float) -> Array:
        """Of each piece: the longer of its operations and its bytes, and the overhead.

        The roofline of Williams, Waterman & Patterson 2009 (doi:10.1145/1498765.1498785).
        """
        flops = self.flops @ [1.0, samples] / device.flops
        nbytes = self.nbytes @ [1.0, samples] / device.memory_bandwidth
        return np.asarray(np.maximum(np.maximum(flops, nbytes), 0.0) + device.overhead)


def work(flops: Sequence[float], nbytes: Sequence[float], per_sample: bool = True) -> Work:
    """Work of pieces whose operations and bytes are all of a sample's, or all of any batch."""
    column = 1 if per_sample else 0
    tables = np.zeros((2, len(flops), 2))
    tables[0, :, column], tables[1, :, column] = flops, nbytes
    return Work(tables[0], tables[1])


@dataclass(frozen=True)
class Gradient:
    """A gradient, or several that are reduced as one message.

    Attributes
    ----------
    nbytes : int
    after : int
        Pieces of the backward pass that must be done before.
    """

    nbytes: int
    after: int


@dataclass(frozen=True, eq=False)
class Workload:
    """A training step of one rank.

    Attributes
    ----------
    name : str
    batch : int
        Samples of a rank that it was captured, described or measured with.
    forward, backward, optimizer : Work
    gradients : tuple of Gradient
        In the order in which they are reduced.
    measured_seconds : float or None
        What a step of one rank takes without others at ``batch``, where that was measured. The
        modelled times of all pieces are then scaled to it.
    bucket_bytes : (float, float) or None
        Gradients are gathered into messages of at least so many bytes: the first one, and others.
        None: each gradient is a message, unless a simulation chooses for its machine.
    fusion : (float, float) or None
        Bytes and seconds: messages are made while the step runs, as Horovod does; see
        :mod:`hpcad.scaling.simulation.fusion`.
    reduction : {"overlapped", "blocking", "sharded"}
        During the backward pass; after it; or parameters are gathered before each layer's passes,
        and gradients scattered after them (see :mod:`hpcad.scaling.simulation.schedule`).
    layer_bytes : tuple of (float, float)
        Sharded: bytes of the parameters that are gathered for each layer, and of the gradients
        that are scattered, in the order of the forward pass.
    parameters : int
    state_bytes : float
        Of a checkpoint.
    sample_bytes : float
        Of a sample in storage.
    notes : tuple of str
        What was assumed.
    """

    name: str
    batch: float
    forward: Work
    backward: Work
    optimizer: Work
    gradients: tuple[Gradient, ...]
    measured_seconds: float | None = None
    bucket_bytes: tuple[float, float] | None = None
    fusion: tuple[float, float] | None = None
    reduction: Reduction = "overlapped"
    layer_bytes: tuple[tuple[float, float], ...] = ()
    parameters: int = 0
    state_bytes: float = 0.0
    sample_bytes: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def gradient_bytes(self) -> int:
        """What each rank brings to the reductions of a step."""
        return sum(gradient.nbytes for gradient in self.gradients)

    def seconds(
        self, device: Device, samples: float, alone: Device | None = None
    ) -> tuple[Array, Array, Array]:
        """Times of the pieces of forward pass, backward pass and update.

        Parameters
        ----------
        device : Device
            What is left of it while the other ranks of the node compute.
        samples : float
            Of a rank.
        alone : Device, optional
            What the step was measured on; ``device`` when left out.
        """
        if samples < 1:
            raise ConfigError(
                f"{self.name}: {samples:g} samples a rank; give a larger batch, or fewer ranks"
            )
        scale = self._scale(alone or device)
        passes = (self.forward, self.backward, self.optimizer)
        found = [scale * part.seconds(device, samples) for part in passes]
        return found[0], found[1], found[2]

    def _scale(self, device: Device) -> float:
        if self.measured_seconds is None:
            return 1.0
        passes = (self.forward, self.backward, self.optimizer)
        modelled = sum(float(part.seconds(device, self.batch).sum()) for part in passes)
        return self.measured_seconds / modelled

    def messages(self) -> list[Gradient]:
        """The gradients as they are reduced: gathered into buckets, in their order.

        The rule is that of :func:`hpcad.parallel.gradients.buckets.make_buckets`: a bucket is
        closed once it holds its least number of bytes, and starts when all its gradients are there
        and all buckets before it were started.
        """
        if self.bucket_bytes is None:
            return _in_order(self.gradients)
        first, others = self.bucket_bytes
        found: list[Gradient] = []
        nbytes, after, limit = 0, 0, first
        for gradient in self.gradients:
            nbytes, after = nbytes + gradient.nbytes, max(after, gradient.after)
            if nbytes >= limit:
                found.append(Gradient(nbytes, after))
                nbytes, limit = 0, others
        if nbytes:
            found.append(Gradient(nbytes, after))
        return _in_order(found)

    def with_buckets(self, first: float, others: float) -> Workload:
        """The same with messages of other lengths."""
        return replace(self, bucket_bytes=(first, others), fusion=None)


def _in_order(messages: Sequence[Gradient]) -> list[Gradient]:
    """No message starts before the one before it."""
    latest, found = 0, []
    for message in messages:
        latest = max(latest, message.after)
        found.append(Gradient(message.nbytes, latest))
    return found
