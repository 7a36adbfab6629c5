"""Indexing of device arrays: views, gathers, assignments, and which of them the host waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.backend.strict.counts import synchronised
from hpcad.backend.strict.dispatch import SCALARS, apply_at, call, is_device, storage
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller
from hpcad.backend.strict.known import current_stream
from hpcad.backend.strict.work import enqueue

if TYPE_CHECKING:
    from hpcad.backend.strict.arrays import ndarray


def getitem(array: ndarray, key: Any) -> Any:
    """``array[key]``: a view, or a copy for keys with arrays."""
    key = on_device(key)
    _check_mask(key, "an index by a mask")
    return call(_take, (array, key), {}, name="indexing")


def _take(raw: np.ndarray, key: Any) -> Any:
    key = _parts(key)
    return raw[key if any(k is Ellipsis for k in key) else (*key, ...)]  # never a scalar


def setitem(array: ndarray, key: Any, value: Any) -> None:
    """``array[key] = value``."""
    key = on_device(key)
    if not is_device(value):
        if isinstance(value, np.ndarray):
            if value.ndim and not _has_array(key):
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            value = value.item() if value.ndim == 0 else on_device(value)
        elif isinstance(value, list | tuple):
            if not _has_array(key):
                raise TypeError("a list is not assigned to a device array; use asarray() first")
            value = on_device(value)
        elif not isinstance(value, SCALARS):
            raise TypeError(f"a {type(value).__name__} cannot be assigned to a device array")
    if is_device(value) and _has_mask(key):
        _check_mask(key, "an assignment of an array by a mask")
    inputs: list[Any] = []
    where = storage(key, inputs, "an assignment")
    plain = storage(value, inputs, "an assignment")
    raw = array.raw
    part = array if _has_array(key) else getitem(array, key)

    unordered = _has_array(key) and is_device(value) and value.size > 1

    def run() -> None:
        raw[where] = plain
        if unordered:
            _check_repeats(raw, where, plain)

    enqueue("an assignment", [x.span() for x in inputs], [part.span()], run)


def _check_repeats(raw: np.ndarray, where: Any, values: np.ndarray) -> None:
    """Refuse different values for one element: which of them a GPU stores is undefined.

    NumPy stores the last one, so every element must be found to hold what was meant for it.
    """
    stored = raw[where]
    meant = np.broadcast_to(values, stored.shape).astype(raw.dtype)
    if not np.array_equal(stored, meant, equal_nan=raw.dtype.kind in "fc"):
        raise StrictDeviceError(
            f"an assignment at {line_of_caller()} has repeated indices with different values; a "
            "GPU stores any of them, NumPy the last: make the indices unique, or add with add.at"
        )


def on_device(key: Any) -> Any:
    """Arrays and lists of the host in an index, moved to the device, as CuPy does."""
    from hpcad.backend.strict.creation import asarray

    if isinstance(key, tuple):
        return tuple(on_device(k) if isinstance(k, np.ndarray | list) else k for k in key)
    return asarray(key) if isinstance(key, np.ndarray | list) else key


def _parts(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _has_array(key: Any) -> bool:
    return any(is_device(k) for k in _parts(key))


def _has_mask(key: Any) -> bool:
    return any(is_device(k) and k.dtype == bool for k in _parts(key))


def _check_mask(key: Any, what: str) -> None:
    if _has_mask(key):
        current_stream().refuse_capture(f"{what}, whose count the host must read,")
        synchronised(what)


def at(called: np.ufunc, array: ndarray, indices: Any, *values: Any) -> None:
    """``ufunc.at``: in place, repeated indices count repeatedly."""
    apply_at(called, array, on_device(indices), *values)
