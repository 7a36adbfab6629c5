"""Hand-written routines in C for instructions that are neither products nor elementwise."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend import flops
from hpcad.backend.native.convolution.library import library as convolutions
from hpcad.backend.native.convolution.routines import ConvForward, ConvInput, ConvWeight
from hpcad.backend.native.routines import (
    GatherRows,
    MaxPool,
    ScatterAddRows,
    UniformRows,
    Unpool,
)
from hpcad.program.instruction import Instruction, Value

Arrays = Callable[[Value], np.ndarray]


@dataclass
class Routine:
    """A routine that is ready but for its scratch memory.

    Attributes
    ----------
    bind : callable
        ``bind(scratch)``, with the address of ``scratch_bytes`` bytes, returns the call.
    """

    bind: Callable[[int], Callable[[], Any]]
    scratch_bytes: int = 0
    flops: int = 0

    def count(self) -> None:
        """Tell those who count floating-point operations."""
        flops.count(self.flops)


def routine(instruction: Instruction, arrays: Arrays, beta: float) -> Routine | None:
    """The routine for an instruction, if there is one for its shapes, dtypes and layouts."""
    find = ROUTINES.get(instruction.name)
    return None if find is None else find(instruction, arrays, beta)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _plain(*arrays: np.ndarray) -> bool:
    return all(a.flags.c_contiguous and a.size for a in arrays)


# -- rows -----------------------------------------------------------------------------------------


def _take_rows(instruction: Instruction, arrays: Arrays, _beta: float) -> Routine | None:
    if not all(isinstance(a, Value) for a in instruction.args):
        return None
    table, index, out = (arrays(v) for v in (*instruction.args, instruction.out))
    if not _plain(table, index, out):
        return None
    width = table.size // table.shape[0]
    spec = GatherRows(str(table.dtype), str(index.dtype), table.shape[0], index.size, width)
    if not spec.supported:
        return None
    return Routine(lambda _: spec.bind(_address(table), _address(index), _address(out)))


def _add_rows(instruction: Instruction, arrays: Arrays, beta: float) -> Routine | None:
    if not all(isinstance(a, Value) for a in instruction.args):
        return None
    rows, index, out = (arrays(v) for v in (*instruction.args, instruction.out))
    if not _plain(rows, index, out):
        return None
    count = out.shape[0]
    spec = ScatterAddRows(
        str(out.dtype), str(index.dtype), count, index.size, out.size // count,
        accumulate=bool(beta),
    )  # fmt: skip
    if not spec.supported:
        return None
    return Routine(lambda _: spec.bind(_address(rows), _address(index), _address(out)))


def _uniform_rows(instruction: Instruction, arrays: Arrays, _beta: float) -> Routine | None:
    if not all(isinstance(a, Value) for a in instruction.args):
        return None
    ids, step, out = (arrays(v) for v in (*instruction.args, instruction.out))
    if not _plain(ids, step, out) or (ids.dtype, step.dtype) != (np.int64, np.int64):
        return None
    rows, width = out.shape
    spec = UniformRows(str(out.dtype), rows, width, instruction.params["key"])
    if not spec.supported:
        return None
    return Routine(lambda _: spec.bind(_address(ids), _address(step), _address(out)))


# -- pooling --------------------------------------------------------------------------------------


def _max_pool(instruction: Instruction, arrays: Arrays, _beta: float) -> Routine | None:
    image = arrays(instruction.args[0])
    best, winner = (arrays(out) for out in instruction.outs)
    spec = MaxPool(str(image.dtype), image.shape, instruction.params["size"])
    if not (_plain(image, best, winner) and spec.supported):
        return None
    return Routine(lambda _: spec.bind(_address(image), _address(best), _address(winner)))


def _unpool(instruction: Instruction, arrays: Arrays, _beta: float) -> Routine | None:
    winner = instruction.params["winner"]
    winner = arrays(winner) if isinstance(winner, Value) else winner
    g, out = arrays(instruction.args[0]), arrays(instruction.out)
    spec = Unpool(str(out.dtype), out.shape, instruction.params["size"])
    if not (_plain(g, out, winner) and spec.supported):
        return None
    return Routine(lambda _: spec.bind(_address(g), _address(winner), _address(out)))


# -- convolution ----------------------------------------------------------------------------------


def _convolvable(*arrays: np.ndarray) -> bool:
    dtypes = {str(a.dtype) for a in arrays if a.dtype != np.int8}
    (dtype,) = dtypes if len(dtypes) == 1 else ("mixed",)
    known = dtype in ("float32", "float64") and convolutions(dtype) is not None
    return known and _plain(*arrays)


def _shape(instruction: Instruction, images: Any, weight: Any) -> dict[str, Any]:
    params = instruction.params
    return {
        "images": tuple(images),
        "weight": tuple(weight),
        "stride": params["stride"],
        "padding": params["padding"],
        "dtype": str(instruction.out.dtype),
    }


def _conv(instruction: Instruction, arrays: Arrays, _beta: float) -> Routine | None:
    x, w = (arrays(v) for v in instruction.args[:2])
    bias = instruction.args[2] if len(instruction.args) > 2 else None
    outs = [arrays(out) for out in instruction.outs]
    b = arrays(bias) if isinstance(bias, Value) else None
    if not _convolvable(x, w, *outs, *([] if b is None else [b])):
        return None
    pool = instruction.name == "conv_pool"
    relu = instruction.params.get("relu", False)
    spec = ConvForward(**_shape(instruction, x.shape, w.shape), pool=pool, relu=relu)
    image, weight, result = (_address(a) for a in (x, w, outs[0]))
    extra = {"bias": 0 if b is None else _address(b), "winner": _address(outs[1]) if pool else 0}
    return Routine(lambda s: spec.bind(image, weight, result, s, **extra), spec.scratch, spec.flops)


def _conv_input(instruction: Instruction, arrays: Arrays, _beta: float) -> Routine | None:
    pooled = instruction.name == "conv_input_pooled"
    values = [arrays(v) for v in instruction.args]
    g, w, winner = (values[0], values[-1], values[1] if pooled else None)
    out = arrays(instruction.out)
    if not _convolvable(*values, out):
        return None
    spec = ConvInput(**_shape(instruction, out.shape, w.shape), pooled=pooled)
    extra = {} if winner is None else {"winner": _address(winner)}
    cotangent, weight, result = (_address(a) for a in (g, w, out))
    return Routine(
        lambda s: spec.bind(cotangent, weight, result, s, **extra), spec.scratch, spec.flops
    )


def _conv_weight(instruction: Instruction, arrays: Arrays, beta: float) -> Routine | None:
    pooled = instruction.name == "conv_weight_pooled"
    values = [arrays(v) for v in instruction.args]
    x, g = values[:2]
    out = arrays(instruction.out)
    if not _convolvable(*values, out):
        return None
    spec = ConvWeight(**_shape(instruction, x.shape, out.shape), pooled=pooled)
    winner = _address(values[2]) if pooled else 0
    image, cotangent, result = (_address(a) for a in (x, g, out))
    return Routine(
        lambda s: spec.bind(image, cotangent, result, s, beta=beta, winner=winner),
        spec.scratch, spec.flops,
    )  # fmt: skip


def _contiguous(instruction: Instruction, arrays: Arrays, _beta: float) -> Routine | None:
    x, out = arrays(instruction.args[0]), arrays(instruction.out)
    return Routine(lambda _: functools.partial(np.copyto, out, x))


ROUTINES: dict[str, Callable[[Instruction, Arrays, float], Routine | None]] = {
    "add_rows": _add_rows,
    "contiguous": _contiguous,
    "conv": _conv,
    "conv_input": _conv_input,
    "conv_input_pooled": _conv_input,
    "conv_pool": _conv,
    "conv_weight": _conv_weight,
    "conv_weight_pooled": _conv_weight,
    "max_pool_parts": _max_pool,
    "take_rows": _take_rows,
    "uniform_rows": _uniform_rows,
    "unpool": _unpool,
}
# What can add to what stands in its place, a gradient.
ACCUMULATING = ("matmul", "add_rows", "conv_weight", "conv_weight_pooled")
