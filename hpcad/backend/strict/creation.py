"""Creation of device arrays: filled by the device, or copied from the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend.strict import dispatch
from hpcad.backend.strict.answers import new_like
from hpcad.backend.strict.arrays import ndarray
from hpcad.backend.strict.blocks import drain
from hpcad.backend.strict.counts import synchronised
from hpcad.backend.strict.known import LOCK, current_stream
from hpcad.backend.strict.pinned import is_pinned


def empty(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    """Memory full of poison."""
    return ndarray(shape, dtype, order=order)


def empty_like(a: ndarray, dtype: Any = None, order: Any = "K", subok: Any = None,
               shape: Any = None) -> ndarray:  # fmt: skip
    """Memory full of poison, of the shape and type of another array."""
    like = np.empty_like(a.raw, dtype, order, shape=shape)
    return new_like(like)


def asarray(a: Any, dtype: Any = None, order: Any | None = None, *, copy: bool | None = None,
            blocking: bool = False) -> ndarray:  # fmt: skip
    """A device array of what is given: the same, or a copy of host data (counted)."""
    return array(a, dtype, copy, order or "K", blocking=blocking)


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool | None = True,
    order: Any = "K",
    subok: bool = False,
    ndmin: int = 0,
    blocking: bool = False,
) -> ndarray:
    """A device array of host data, of another device array, or of nested sequences of either.

    Host memory may be written over at once, unless it is pinned: then not until the stream has come
    so far.
    """
    if isinstance(obj, list | tuple) and any(map(dispatch.is_device, _leaves(obj))):
        found = dispatch.call(np.array, (obj,), {} if dtype is None else {"dtype": dtype})
    elif dispatch.is_device(obj):
        found = _again(obj, obj.dtype if dtype is None else np.dtype(dtype), copy, order)
    else:
        found = _from_host(np.asarray(obj, dtype, order=order), blocking)
    missing = ndmin - found.ndim
    return found[(None,) * missing] if missing > 0 else found


def _leaves(nested: Any) -> list[Any]:
    if isinstance(nested, list | tuple):
        return [leaf for each in nested for leaf in _leaves(each)]
    return [nested]


def _again(obj: ndarray, dtype: Any, copy: bool | None, order: Any) -> ndarray:
    flags = obj.raw.flags
    fits = order in ("K", "A") or (flags.c_contiguous if order == "C" else flags.f_contiguous)
    if copy is False and dtype != obj.dtype:
        raise ValueError("a copy is needed for another dtype; leave out copy=False")
    if not copy and dtype == obj.dtype and fits:
        return obj
    return obj.astype(dtype, order)


def _from_host(source: np.ndarray, blocking: bool) -> ndarray:
    if source.dtype.kind not in "biufcV":
        raise ValueError(f"Unsupported dtype {source.dtype}")
    with LOCK:
        drain()
        stream = current_stream()
        stream.refuse_capture("a copy from the host")
        found = new_like(source)
        if found.size:
            # CuPy copies other memory to pinned memory of its own first.
            ordered = source if is_pinned(source) else np.array(source)
            if blocking:
                synchronised("asarray(..., blocking=True)")
            found._fill_from(ordered.reshape(found.shape), stream, waits=False)
        return found


def asnumpy(a: Any, stream: Any = None, order: Any = "C", out: Any = None,
            *, blocking: bool = True) -> np.ndarray:  # fmt: skip
    """A copy on the host: a synchronisation."""
    if dispatch.is_device(a):
        return a.get(stream=stream, order=order, out=out, blocking=blocking)
    return np.asarray(a, order=order)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    """The same in row-major order; no copy where it is so already."""
    return asarray(a, dtype, "C")


def asfortranarray(a: Any, dtype: Any = None) -> ndarray:
    """The same in column-major order; no copy where it is so already."""
    return asarray(a, dtype, "F")


def from_dlpack(x: Any, **_: Any) -> ndarray:
    """Refused: the strict device shares no memory with other libraries."""
    raise BufferError(
        f"the strict device takes no {type(x).__name__} by DLPack: its memory is none of a GPU; "
        "use asarray() of a host array"
    )
