"""Kernels computed by NumPy: what compiled ones are held to, and the way where none can be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import PRIMITIVES
from hpcad.backend.half import named
from hpcad.primitives import elementwise, gamma, special  # noqa: F401  (they fill the table)
from hpcad.program.kernels.ir import Kernel, Node, Store
from hpcad.program.kernels.scalars import ROUNDINGS, computed_in

_REDUCTIONS: dict[str, Any] = {"row_sum": np.sum, "row_max": np.max, "row_min": np.min}


def interpret(kernel: Kernel, arrays: Sequence[Any], scalars: Sequence[float] = ()) -> None:
    """Compute a kernel, writing into the arrays of its stores.

    Parameters
    ----------
    kernel : Kernel
    arrays : sequence of ndarray
        One per operand, with the shape of the loop nest and the operand's strides (0 where it is
        broadcast or summed over): ``as_operand`` makes them.
    scalars : sequence of float
    """
    values: list[Any] = []
    with np.errstate(all="ignore"):
        for node in kernel.nodes:
            values.append(_value(kernel, node, values, arrays, scalars))
        results = [_result(kernel, store, values[store.node], arrays) for store in kernel.stores]
    for store, result in zip(kernel.stores, results, strict=True):
        arrays[store.operand][_once(kernel, store)] = result


def as_operand(kernel: Kernel, operand: int, memory: np.ndarray, start: int = 0) -> np.ndarray:
    """The view of flat ``memory`` that an operand is, its first element at ``start``."""
    strides = kernel.operands[operand].strides
    return np.lib.stride_tricks.as_strided(
        memory[start:], kernel.extents, [stride * memory.itemsize for stride in strides]
    )


def _value(
    kernel: Kernel, node: Node, values: list[Any], arrays: Sequence[Any], scalars: Sequence[float]
) -> Any:
    dtype = np.dtype(node.dtype)
    if node.op == "load":
        return arrays[node.detail].astype(dtype)  # always a copy
    if node.op == "literal":
        return np.asarray(node.detail, dtype)
    if node.op == "scalar":
        return np.asarray(scalars[node.detail], np.float64).astype(dtype)
    if node.op == "index":
        shape = [1] * len(kernel.extents)
        shape[node.detail] = -1
        return np.arange(kernel.extents[node.detail], dtype=dtype).reshape(shape)
    args = [values[arg] for arg in node.args]
    if node.op in _REDUCTIONS:
        full = np.broadcast_to(args[0], kernel.extents).astype(dtype)
        return _REDUCTIONS[node.op](full, axis=-1, keepdims=True)
    if node.op in ROUNDINGS:
        return args[0].astype(named(ROUNDINGS[node.op])).astype(dtype)
    if node.op.startswith("cast"):
        return args[0].astype(dtype)
    return np.asarray(PRIMITIVES[node.op].value(*args)).astype(dtype, copy=False)


def _summed_axes(kernel: Kernel, store: Store) -> tuple[int, ...]:
    strides = kernel.operands[store.operand].strides
    pairs = enumerate(zip(kernel.extents, strides, strict=True))
    return tuple(i for i, (extent, stride) in pairs if stride == 0 and extent != 1)


def _once(kernel: Kernel, store: Store) -> tuple[slice, ...]:
    """The elements of an operand that are written, each once."""
    flat = _summed_axes(kernel, store)
    return tuple(slice(0, 1) if i in flat else slice(None) for i in range(len(kernel.extents)))


def _result(kernel: Kernel, store: Store, value: Any, arrays: Sequence[Any]) -> Any:
    once = _once(kernel, store)
    place = arrays[store.operand][once]
    full = np.broadcast_to(value, kernel.extents)
    if store.reduce is None and not store.accumulate:
        return full[once].astype(place.dtype, copy=False)
    kind = np.dtype(computed_in(kernel.operands[store.operand].dtype))
    full = full.astype(kind, copy=False)
    if store.reduce is None:
        result = full[once]
    else:
        result = np.sum(full, axis=_summed_axes(kernel, store), keepdims=True, dtype=kind)
    return (place.astype(kind) + result if store.accumulate else result).astype(place.dtype)
