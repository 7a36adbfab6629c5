"""Reverse mode from a scalar to the parameters of the ambient tape."""

from __future__ import annotations

import numpy as np

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.parameter import GradientSink, Parameter
from hpcad.autodiff.reverse import Pull
from hpcad.autodiff.state import effect, no_grad
from hpcad.autodiff.tensor import Tensor
from hpcad.backend import Array
from hpcad.errors import DifferentiationError, ShapeError


def backward(loss: Tensor, seed: Array | None = None, retain: bool = False) -> None:
    """Pull ``seed`` back through the tape of ``loss``; see :meth:`Tensor.backward`."""
    tape = loss.follower
    if tape is None:
        raise DifferentiationError("backward() needs a tensor that was computed from parameters")
    seed = _checked_seed(loss, seed)
    records, uses = tape.cut([loss.slot], retain)
    leaves = tape.leaves_of(uses)
    sink = _sink(leaves)
    try:
        with no_grad():
            if sink is not None:
                seed = seed * seed.dtype.type(effect(sink.seed_scale, answer=True))
            pull = Pull(tape, {loss.slot: seed})
            if retain:
                pull.announce(records, uses)
            else:
                pull.consume(records, uses)
            if sink is not None:
                effect(sink.finish)
    except BaseException:
        # Half a gradient is none: the next pass overwrites it.
        for leaf in leaves:
            leaf.fresh = False
        raise


LINKS.backward = backward


def _sink(leaves: list[Parameter]) -> GradientSink | None:
    """The one engine of the leaves. With two, ranks could meet their messages in other orders."""
    unique = {id(leaf.sink): leaf.sink for leaf in leaves if leaf.sink is not None}
    if len(unique) > 1:
        raise DifferentiationError(
            "the loss depends on parameters of two data-parallel engines; put both models into "
            "one module, and make one engine for it"
        )
    return next(iter(unique.values()), None)


def _checked_seed(loss: Tensor, seed: Array | None) -> Array:
    if seed is None:
        if loss.size != 1:
            raise DifferentiationError(
                f"backward() needs a scalar, but the tensor has shape {tuple(loss.shape)}; "
                "reduce it with .sum() or .mean(), or pass the cotangent as backward(seed)"
            )
        return np.ones_like(loss.value)
    if not hasattr(seed, "shape"):
        seed = np.asarray(seed, loss.dtype)
    if tuple(seed.shape) != tuple(loss.shape):
        raise ShapeError(
            f"the seed of backward() has shape {tuple(seed.shape)}, "
            f"but the tensor has shape {tuple(loss.shape)}"
        )
    if seed.dtype.kind == "c" and loss.dtype.kind != "c":
        raise DifferentiationError(
            f"the seed of backward() has dtype {seed.dtype}, but the tensor has dtype "
            f"{loss.dtype}; pass the real part of the seed"
        )
    return seed
