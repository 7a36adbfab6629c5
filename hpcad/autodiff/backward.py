"""Reverse mode from a scalar to the parameters of the ambient tape."""

from __future__ import annotations

from typing import Any

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.parameter import GradientSink
from hpcad.autodiff.state import no_grad
from hpcad.autodiff.tensor import Tensor
from hpcad.backend import Array
from hpcad.errors import DifferentiationError, ShapeError


def backward(loss: Tensor, seed: Array | None = None) -> None:
    """Pull ``seed`` back through the tape of ``loss``; see :meth:`Tensor.backward`."""
    tape = loss.trace
    if tape is None:
        raise DifferentiationError("backward() needs a tensor that was computed from parameters")
    sinks = _sinks(tape.leaves)
    with no_grad():
        tape.pull({loss.slot: _seed(loss, seed, sinks)})
        for sink in sinks:
            sink.finish()


LINKS.backward = backward


def _sinks(leaves: list[Any]) -> list[GradientSink]:
    unique = {id(leaf.sink): leaf.sink for leaf in leaves if leaf.sink is not None}
    return list(unique.values())


def _seed(loss: Tensor, seed: Array | None, sinks: list[GradientSink]) -> Array:
    if seed is None:
        if loss.value.size != 1:
            raise DifferentiationError(
                f"backward() needs a scalar, but the tensor has shape {tuple(loss.shape)}; "
                "reduce it with .sum() or .mean(), or pass the cotangent as backward(seed)"
            )
        seed = loss.value * 0 + 1
    elif tuple(seed.shape) != tuple(loss.shape):
        raise ShapeError(
            f"the seed of backward() has shape {tuple(seed.shape)}, "
            f"but the tensor has shape {tuple(loss.shape)}"
        )
    scales = {sink.seed_scale() for sink in sinks}
    if len(scales) > 1:
        raise DifferentiationError(
            "the loss depends on parameters of two data-parallel engines with different "
            "averaging; put both models into one module and one engine"
        )
    return seed * seed.dtype.type(scales.pop()) if scales else seed
