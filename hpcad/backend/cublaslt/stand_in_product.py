"""What the stand-in for cuBLASLt computes: the numbers that descriptors ask for."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from hpcad.backend.cublaslt.enums import Compute, Operation, Type, numpy_type
from hpcad.backend.cublaslt.problem import reach
from hpcad.backend.cublaslt.stand_in_operands import BY_NUMBER, Operands
from hpcad.errors import DeviceError

Span = tuple[int, int]
View = Callable[[int, int], np.ndarray]


def spans(
    o: Operands, pointers: tuple[int, int, int, int], factors: tuple[float, float]
) -> tuple[list[Span], list[Span]]:
    """What is read and what is written: addresses and bytes."""
    a, b, c, d = (
        (pointer, _extent(x)) for pointer, x in zip(pointers, (o.a, o.b, o.c, o.d), strict=True)
    )
    reads, writes = [a, b, *((pointer, 4) for pointer in o.scales if pointer)], [d]
    if factors[1] != 0.0:
        reads.append(c)
    itemsize = _dtype(o.d["type"]).itemsize
    if o.end.bias:
        span = (o.what["bias_pointer"], o.bias_length * itemsize)
        (writes if o.end.bias == "write" else reads).append(span)
    if o.end.aux:
        span = (o.what["aux_pointer"], _mask_bytes(o) if o.end.mask else _extent(_aux(o)))
        (writes if o.end.aux == "write" else reads).append(span)
    return reads, writes


def product(
    memory: View, o: Operands, pointers: tuple[int, int, int, int],
    factors: tuple[float, float], parts: int,
) -> None:  # fmt: skip
    """Compute, in the precision that the description names."""
    wide: Any = np.float64 if o.what["compute_type"] == Compute.float64 else np.float32
    a, b, c, d = (
        _matrices(memory, pointer, x)
        for pointer, x in zip(pointers, (o.a, o.b, o.c, o.d), strict=True)
    )
    if _overlap(a, d) or _overlap(b, d):
        raise DeviceError(
            "a product by cuBLASLt where the result lies in an operand: what is read is then not "
            "defined; write to other memory, and copy"
        )
    a = a.swapaxes(1, 2) if o.what["trans_a"] == Operation.T else a
    b = b.swapaxes(1, 2) if o.what["trans_b"] == Operation.T else b
    a, b = a.astype(wide, copy=False), b.astype(wide, copy=False)
    if o.what["compute_type"] == Compute.tf32:
        a, b = tf32(a), tf32(b)
    bounds = [o.depth * i // parts for i in range(parts + 1)]
    rows, columns = b.swapaxes(1, 2), a.swapaxes(1, 2)  # as they lie, which NumPy is faster with
    sums = [np.matmul(rows[..., i:j], columns[:, i:j]) for i, j in pairwise(bounds)]
    x = functools.reduce(np.add, sums).swapaxes(1, 2)
    for pointer in filter(None, o.scales):
        x *= memory(pointer, 4).view(np.float32)
    x *= wide(factors[0])
    if factors[1] != 0.0:
        x += wide(factors[1]) * c.astype(wide)
    d[...] = _end(memory, o, a, b, x)


def _overlap(one: np.ndarray, other: np.ndarray) -> bool:
    try:
        return np.shares_memory(one, other, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return False  # undecided; strides that interleave without touching come to this


def _end(memory: View, o: Operands, a: Any, b: Any, x: np.ndarray) -> np.ndarray:
    """The epilogue: what is stored, after what it reads and writes beside it."""
    name, _ = BY_NUMBER[o.what["epilogue"]]
    dtype = _dtype(o.d["type"])
    bias: Any = None
    aux: Any = None
    if o.end.bias:
        address, length = o.what["bias_pointer"], o.bias_length
        bias = memory(address, length * dtype.itemsize).view(dtype)
    if o.end.mask:
        aux = memory(o.what["aux_pointer"], _mask_bytes(o))
    elif o.end.aux:
        aux = _matrices(memory, o.what["aux_pointer"], _aux(o))
    if bias is not None and o.end.bias == "read":
        x = x + bias.astype(x.dtype)[:, None]
    if aux is not None and o.end.aux == "write":
        aux[...] = _bits(o, x[0] > 0) if o.end.mask else x
    if name.startswith("relu"):
        x = np.maximum(x, 0)
    elif name.startswith("gelu"):
        x = _gelu(x)
    elif name.startswith("dgelu"):
        x = x * _gelu_slope(aux.astype(x.dtype))
    elif name.startswith("drelu"):
        x = np.where(_positive(o, aux), x, 0)
    if bias is not None and o.end.bias == "write":
        sums = {"BGRADA": a[0].sum(1), "BGRADB": b[0].sum(0)}
        bias[...] = sums.get(name, x[0].sum(1))
    return x


def _aux(o: Operands) -> dict[str, int]:
    return o.d | {"ld": o.what["aux_ld"], "batch_stride": o.what["aux_batch_stride"]}


def _mask_bytes(o: Operands) -> int:
    return o.d["columns"] * o.what["aux_ld"] // 8


def _bits(o: Operands, positive: np.ndarray) -> np.ndarray:
    """A mask; the order of its bits is the library's own affair, and may be another on a GPU."""
    wide = np.zeros((o.d["columns"], o.what["aux_ld"]), bool)
    wide[:, : o.d["rows"]] = positive.T
    return np.packbits(wide, axis=1, bitorder="little").reshape(-1)


def _positive(o: Operands, mask: np.ndarray) -> np.ndarray:
    """What a mask says, shape (rows, columns)."""
    rows = np.unpackbits(mask.reshape(o.d["columns"], -1), axis=1, bitorder="little")
    return rows[:, : o.d["rows"]].T.astype(bool)


def _extent(x: dict[str, int]) -> int:
    """Bytes from the first element to behind the last."""
    elements = reach(x["rows"], x["columns"], x["ld"], x["batch"], x["batch_stride"])
    return elements * _dtype(x["type"]).itemsize


def _matrices(memory: View, address: int, x: dict[str, int]) -> np.ndarray:
    """View of shape (batch, rows, columns)."""
    dtype = _dtype(x["type"])
    shape = (x["batch"], x["rows"], x["columns"])
    steps = tuple(step * dtype.itemsize for step in (x["batch_stride"], 1, x["ld"]))
    return np.ndarray(shape, dtype, memory(address, _extent(x)), 0, steps)


def _dtype(number: int) -> np.dtype:
    return numpy_type(Type(number).name)


def tf32(x: np.ndarray) -> np.ndarray:
    """Rounded to 10 bits of mantissa."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


_ROOT = math.sqrt(2 / math.pi)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(_ROOT * (x + 0.044715 * x**3)))


def _gelu_slope(x: np.ndarray) -> np.ndarray:
    t = np.tanh(_ROOT * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * _ROOT * (1 + 3 * 0.044715 * x**2)
