"""A stand-in for cuBLASLt on the strict device.

It has the functions of the library, keeps the descriptors that are set, and computes with NumPy
what they say: wrong layouts, leading dimensions, strides or epilogues give wrong numbers, or the
status that the library documents. Where the library is silent about what it refuses, it is
strict. It says nothing about which algorithms a GPU has, or how fast they are.
"""

from __future__ import annotations

import ctypes
import itertools
import struct
import threading
from collections.abc import Callable
from typing import Any

from hpcad.backend.cublaslt.enums import (
    ALGORITHM_BYTES,
    DESCRIPTION,
    LAYOUT,
    PREFERENCE,
    Attributes,
    HeuristicResult,
    Reduction,
    Status,
)
from hpcad.backend.cublaslt.stand_in_operands import Operands, fits
from hpcad.backend.cublaslt.stand_in_product import product, spans

KINDS: dict[str, Attributes] = {
    "MatmulDesc": DESCRIPTION,
    "MatrixLayout": LAYOUT,
    "MatmulPreference": PREFERENCE,
}
DEFAULTS = {
    "MatmulDesc": {"epilogue": 1, "bias_type": -1},
    "MatrixLayout": {"batch": 1},
    "MatmulPreference": {"reductions": 7, **{f"alignment_{x}": 256 for x in "abcd"}},
}
VERSION = 130100
_MARK = 0x4E495F444E415453  # begins an algorithm of the stand-in

# Number, parts of the sum, how they are added, bytes of alignment that it needs.
ALGORITHMS = (
    (1, 2, Reduction.IN_PLACE, 16),
    (2, 1, Reduction.NONE, 16),
    (3, 2, Reduction.COMPUTE_TYPE, 16),
    (4, 1, Reduction.NONE, 1),
)


class StandIn:
    """What loads as cuBLASLt on the strict device (:class:`~.binding.Library`).

    Parameters
    ----------
    xp : module
        With ``enqueue`` and ``host_view``.
    """

    path = "the stand-in of hpcad"
    version = (13, 1, 0)

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._numbers = itertools.count(1)
        self._objects: dict[int, tuple[str, dict[str, int]]] = {}
        self._lock = threading.Lock()
        self.functions: dict[str, Callable[..., Any]] = {
            "cublasLtGetVersion": lambda: VERSION,
            "cublasLtGetStatusName": lambda status: f"CUBLAS_STATUS_{_name(status)}".encode(),
            "cublasLtCreate": lambda out: self._new(out, "handle", {}),
            "cublasLtDestroy": self._destroy,
            "cublasLtMatmulDescCreate": self._new_description,
            "cublasLtMatrixLayoutCreate": self._new_layout,
            "cublasLtMatmulPreferenceCreate": lambda out: self._new(out, "MatmulPreference", {}),
            "cublasLtMatmulAlgoGetHeuristic": self._heuristic,
            "cublasLtMatmulAlgoCheck": self._check,
            "cublasLtMatmul": self._matmul,
        }
        for kind in KINDS:
            self.functions |= {
                f"cublasLt{kind}Destroy": self._destroy,
                f"cublasLt{kind}SetAttribute": self._set,
                f"cublasLt{kind}GetAttribute": self._get,
            }

    # -- objects --------------------------------------------------------------------------------

    def _new(self, out: Any, kind: str, attributes: dict[str, int]) -> int:
        number = next(self._numbers)
        empty = dict.fromkeys(KINDS.get(kind, {}), 0)
        self._objects[number] = (kind, empty | DEFAULTS.get(kind, {}) | attributes)
        out._obj.value = number
        return Status.SUCCESS

    def _new_description(self, out: Any, compute: int, scale: int) -> int:
        attributes = {"compute_type": int(compute), "scale_type": int(scale)}
        return self._new(out, "MatmulDesc", attributes)

    def _new_layout(self, out: Any, dtype: int, rows: int, columns: int, ld: int) -> int:
        attributes = {"type": int(dtype), "rows": rows, "columns": columns, "ld": ld}
        return self._new(out, "MatrixLayout", attributes)

    def _destroy(self, number: int) -> int:
        return Status.INVALID_VALUE if self._objects.pop(number, None) is None else Status.SUCCESS

    def _set(self, number: int, attribute: int, content: Any, size: int) -> int:
        name, kind = self._attribute(number, attribute)
        if kind is None or size != ctypes.sizeof(kind):
            return Status.INVALID_VALUE
        self._objects[number][1][name] = kind.from_buffer_copy(bytes(content._obj)).value
        return Status.SUCCESS

    def _get(self, number: int, attribute: int, content: Any, size: int, written: Any) -> int:
        name, kind = self._attribute(number, attribute)
        if kind is None or size != ctypes.sizeof(kind):
            return Status.INVALID_VALUE
        content._obj.value = self._objects[number][1][name]
        written._obj.value = size
        return Status.SUCCESS

    def _attribute(self, number: int, attribute: int) -> tuple[str, Any]:
        kind, _ = self._objects.get(number, ("", {}))
        for name, (known, c_type) in KINDS.get(kind, {}).items():
            if known == attribute:
                return name, c_type
        return "", None

    def _read(self, kind: str, number: int) -> dict[str, int]:
        """The attributes of an object that is alive."""
        found, attributes = self._objects[number]
        if found != kind:
            raise TypeError(f"cuBLASLt was given a {found} where it takes a {kind}")
        return attributes

    def _operands(self, what: int, a: int, b: int, c: int, d: int) -> Operands:
        layouts = (dict(self._read("MatrixLayout", x)) for x in (a, b, c, d))
        return Operands(dict(self._read("MatmulDesc", what)), *layouts)

    # -- algorithms -----------------------------------------------------------------------------

    def _heuristic(
        self, handle: int, what: int, a: int, b: int, c: int, d: int,
        preference: int, wanted: int, results: int, found: int,
    ) -> int:  # fmt: skip
        operands, wish = (
            self._operands(what, a, b, c, d),
            self._read("MatmulPreference", preference),
        )
        status = fits(operands)
        if wanted < 1 or status != Status.SUCCESS:
            return status or Status.INVALID_VALUE
        aligned = min(wish[f"alignment_{x}"] for x in "abcd")
        aligned = min([aligned, *map(_alignment, operands.beside)])
        count = 0
        for number, parts, reduction, alignment in ALGORITHMS:
            workspace = operands.workspace(parts)
            allowed = reduction == Reduction.NONE or reduction & wish["reductions"]
            if allowed and alignment <= aligned and workspace <= wish["workspace"]:
                if count == wanted:
                    break
                place = results + count * ctypes.sizeof(HeuristicResult)
                result = HeuristicResult.from_address(place)
                result.algorithm[:] = struct.unpack("8Q", _pack(number))
                result.workspace, result.state, result.waves = workspace, Status.SUCCESS, 1.0
                count += 1
        ctypes.c_int.from_address(found).value = count
        return Status.SUCCESS if count else Status.NOT_SUPPORTED

    def _check(
        self, handle: int, what: int, a: int, b: int, c: int, d: int, algorithm: int, result: int
    ) -> int:
        operands, known = self._operands(what, a, b, c, d), _unpack(_words(algorithm))
        if known is None:
            return Status.INVALID_VALUE
        HeuristicResult.from_address(result).workspace = operands.workspace(known[1])
        return fits(operands)

    # -- the product ----------------------------------------------------------------------------

    def _matmul(
        self, handle: int, what: int, alpha: int, a: int, of_a: int, b: int, of_b: int,
        beta: int, c: int, of_c: int, d: int, of_d: int,
        algorithm: Any, memory: int, memory_bytes: int, stream: int,
    ) -> int:  # fmt: skip
        self._read("handle", handle)
        operands, known = self._operands(what, of_a, of_b, of_c, of_d), _unpack(bytes(algorithm))
        status = fits(operands)
        if status != Status.SUCCESS or known is None:
            return status or Status.INVALID_VALUE
        _, parts, _, alignment = known
        workspace = operands.workspace(parts)
        pointers = (a, b, c, d, *operands.beside)
        if workspace > memory_bytes or any(pointer % alignment for pointer in pointers):
            return Status.INVALID_VALUE
        factors = operands.factors(alpha, beta)  # read now, not when the product runs
        reads, writes = spans(operands, (a, b, c, d), factors)
        if workspace:
            writes.append((memory, workspace))

        def run() -> None:
            product(self._xp.host_view, operands, (a, b, c, d), factors, parts)

        self._xp.enqueue("cublasLtMatmul", reads, writes, run, stream=self._stream(stream))
        return Status.SUCCESS

    def _stream(self, pointer: int) -> Any:
        current = self._xp.cuda.get_current_stream()
        if current.ptr != pointer:
            raise ValueError("the stand-in for cuBLASLt enqueues on the current stream only")
        return current


def _name(status: int) -> str:
    return Status(status).name if status in set(Status) else str(status)


def _alignment(pointer: int) -> int:
    return pointer & -pointer


def _pack(number: int) -> bytes:
    return struct.pack("8Q", _MARK, number, *[0] * 6)


def _words(address: int) -> bytes:
    return ctypes.string_at(address, ALGORITHM_BYTES)


def _unpack(data: bytes) -> tuple[int, int, Reduction, int] | None:
    mark, number, *rest = struct.unpack("8Q", data)
    known = {algorithm[0]: algorithm for algorithm in ALGORITHMS}
    return known.get(number) if mark == _MARK and not any(rest) else None
