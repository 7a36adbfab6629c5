"""What the stand-in for cuBLASLt was told by descriptors, and whether they agree."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from hpcad.backend.cublaslt.enums import (
    EPILOGUES,
    MASK_BITS,
    Compute,
    Epilogue,
    Operation,
    Status,
    Type,
)

BY_NUMBER = {end.number: (name, end) for name, end in EPILOGUES.items()}

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
        return BY_NUMBER[self.what["epilogue"]][1]

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
    if what["epilogue"] not in BY_NUMBER or o.c != o.d:
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
    step = MASK_BITS if o.end.mask else 8
    if o.end.aux and (
        what["aux_ld"] < rows or what["aux_ld"] % step or what["aux_batch_stride"] % 8
    ):
        return Status.INVALID_VALUE
    if (o.end.bias == "write" or o.end.mask) and o.d["batch"] > 1:
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
