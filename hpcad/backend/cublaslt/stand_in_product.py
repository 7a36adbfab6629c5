"""What the stand-in for cuBLASLt computes: the numbers that descriptors ask for."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hpcad.backend.cublaslt.enums import (
    EPILOGUES,
    Compute,
    Epilogue,
    Operation,
    Status,
    Type,
    numpy_type,
)
from hpcad.backend.cublaslt.problem import reach

Span = tuple[int, int]
View = Callable[[int, int], np.ndarray]
_BY_NUMBER = {end.number: (name, end) for name, end in EPILOGUES.items()}

_FROM_EIGHTS = {Type.bfloat16, Type.float16, Type.float32}

# Operands -> results; https://docs.nvidia.com/cuda/cublas/#cublasltmatmul, tables of types.
_TYPES = {
    (Type.float64, Type.float64): {Type.float64},
    (Type.float32, Type.float32): {Type.float32},
    (Type.float16, Type.float16): {Type.float16, Type.float32},
    (Type.bfloat16, Type.bfloat16): {Type.bfloat16, Type.float32},
    (Type.float8_e4m3fn, Type.float8_e4m3fn): _FROM_EIGHTS,
    (Type.float8_e4m3fn, Type.float8_e5m2): _FROM_EIGHTS,
    (Type.float8_e5m2, Type.float8_e4m3fn): _FROM_EIGHTS,
}


@dataclass(frozen=True)
class Operands:
    """The attributes of a description and of four layouts."""

    what: dict[str, int]
    a: dict[str, int]
    b: dict[str, int]
    c: dict[str, int]
    d: dict[str, int]

    @property
    def end(self) -> Epilogue:
        """What is known of the epilogue."""
        return _BY_NUMBER[self.what["epilogue"]][1]

    @property
    def beside(self) -> list[int]:
        """Addresses of bias and aux, where the epilogue has them."""
        pointers = {"bias_pointer": self.end.bias, "aux_pointer": self.end.aux}
        return [self.what[name] for name, used in pointers.items() if used]

    @property
    def scales(self) -> list[int]:
        """Addresses of the factors of A and B; 0 where there is none."""
        return [self.what[f"scale_pointer_{x}"] for x in "ab"]

    @property
    def depth(self) -> int:
        return self.a["rows" if self.what["trans_a"] else "columns"]

    @property
    def bias_length(self) -> int:
        """Bias lies along the rows of D; sums of B over k along its columns."""
        return self.d["columns" if self.what["epilogue"] == 512 else "rows"]

    def workspace(self, parts: int) -> int:
        """Bytes that an algorithm with this many parts of the sum needs."""
        return 0 if parts == 1 else 4 * parts * self.d["rows"] * self.d["columns"]

    def factors(self, alpha: int, beta: int) -> tuple[float, float]:
        """Read from host memory."""
        kind = ctypes.c_double if self.what["scale_type"] == Type.float64 else ctypes.c_float
        return kind.from_address(alpha).value, kind.from_address(beta).value


def fits(operands: Operands) -> int:
    """Whether descriptors agree with each other, as a status."""
    o, what = operands, operands.what
    if what["epilogue"] not in _BY_NUMBER or o.c != o.d:
        return Status.INVALID_VALUE
    turned = [
        (x["columns"], x["rows"]) if trans == Operation.T else (x["rows"], x["columns"])
        for x, trans in ((o.a, what["trans_a"]), (o.b, what["trans_b"]))
    ]
    (rows, depth), (deep, columns) = turned
    if (rows, columns) != (o.d["rows"], o.d["columns"]) or depth != deep:
        return Status.INVALID_VALUE
    if any(x["ld"] < x["rows"] or min(x["rows"], x["columns"]) < 1 for x in (o.a, o.b, o.d)):
        return Status.INVALID_VALUE
    if len({x["batch"] for x in (o.a, o.b, o.d)}) > 1 or o.a["order"] or o.b["order"]:
        return Status.INVALID_VALUE
    if any(pointer == 0 for pointer in o.beside):
        return Status.INVALID_VALUE
    if o.end.aux and (what["aux_ld"] < rows or what["aux_ld"] % 8 or what["aux_batch_stride"] % 8):
        return Status.INVALID_VALUE
    if o.end.bias == "write" and o.d["batch"] > 1:
        return Status.NOT_SUPPORTED
    return Status.SUCCESS if _typed(o) and _eight(o) else Status.NOT_SUPPORTED


def _eight(o: Operands) -> bool:
    """Of 8-bit types Hopper knows one layout, and whole 16 bytes; only they have factors."""
    if not Type(o.a["type"]).name.startswith("float8"):
        return not any(o.scales)
    turned = (o.what["trans_a"], o.what["trans_b"]) == (Operation.T, Operation.N)
    sides = (o.d["rows"], o.d["columns"], o.depth, o.a["ld"], o.b["ld"])
    return turned and not any(side % 16 for side in sides)


def _typed(o: Operands) -> bool:
    known = o.d["type"] in _TYPES.get((Type(o.a["type"]), Type(o.b["type"])), ())
    double = o.a["type"] == Type.float64
    computes = {Compute.float64} if double else {Compute.float32}
    if o.a["type"] == Type.float32:
        computes.add(Compute.tf32)
    scale = Type.float64 if double else Type.float32
    return known and o.what["compute_type"] in computes and o.what["scale_type"] == scale


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
        span = (o.what["aux_pointer"], _extent(_aux(o)))
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
    a = a.swapaxes(1, 2) if o.what["trans_a"] == Operation.T else a
    b = b.swapaxes(1, 2) if o.what["trans_b"] == Operation.T else b
    a, b = a.astype(wide), b.astype(wide)
    if o.what["compute_type"] == Compute.tf32:
        a, b = _tf32(a), _tf32(b)
    bounds = [o.depth * i // parts for i in range(parts + 1)]
    x = np.zeros(d.shape, wide)
    for first, last in pairwise(bounds):
        x += np.matmul(a[..., first:last], b[:, first:last])
    for pointer in filter(None, o.scales):
        x *= memory(pointer, 4).view(np.float32)
    x *= wide(factors[0])
    if factors[1] != 0.0:
        x += wide(factors[1]) * c.astype(wide)
    d[...] = _end(memory, o, a, b, x)


def _end(memory: View, o: Operands, a: Any, b: Any, x: np.ndarray) -> np.ndarray:
    """The epilogue: what is stored, after what it reads and writes beside it."""
    name, _ = _BY_NUMBER[o.what["epilogue"]]
    dtype = _dtype(o.d["type"])
    bias: Any = None
    aux: Any = None
    if o.end.bias:
        address, length = o.what["bias_pointer"], o.bias_length
        bias = memory(address, length * dtype.itemsize).view(dtype)
    if o.end.aux:
        aux = _matrices(memory, o.what["aux_pointer"], _aux(o))
    if bias is not None and o.end.bias == "read":
        x = x + bias.astype(x.dtype)[:, None]
    if aux is not None and o.end.aux == "write":
        aux[...] = x
    if name.startswith("relu"):
        x = np.maximum(x, 0)
    elif name.startswith("gelu"):
        x = _gelu(x)
    elif name.startswith("dgelu"):
        x = x * _gelu_slope(aux.astype(x.dtype))
    if bias is not None and o.end.bias == "write":
        sums = {"BGRADA": a[0].sum(1), "BGRADB": b[0].sum(0)}
        bias[...] = sums.get(name, x[0].sum(1))
    return x


def _aux(o: Operands) -> dict[str, int]:
    return o.d | {"ld": o.what["aux_ld"], "batch_stride": o.what["aux_batch_stride"]}


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


def _tf32(x: np.ndarray) -> np.ndarray:
    """Rounded to 10 bits of mantissa."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


_ROOT = math.sqrt(2 / math.pi)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(_ROOT * (x + 0.044715 * x**3)))


def _gelu_slope(x: np.ndarray) -> np.ndarray:
    t = np.tanh(_ROOT * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * _ROOT * (1 + 3 * 0.044715 * x**2)
