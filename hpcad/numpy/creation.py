"""Creation functions. What they return are constant tensors, except where a tensor goes in."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.conversion import device_backend
from hpcad.autodiff.tensor import Tensor, tensor, value_of
from hpcad.backend import Backend, backend_of, is_device_array
from hpcad.numpy.dtypes import astype, to_device
from hpcad.primitives import creation as p
from hpcad.primitives.indexing import is_tracked
from hpcad.primitives.reduction import broadcast_to

__all__ = [
    "array",
    "asarray",
    "copy",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
    "identity",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]

Shape = int | tuple[int, ...]


# -- from what is there -------------------------------------------------------------------


def asarray(obj: Any, /, dtype: Any = None, *, device: Any = None, copy: bool | None = None) -> Any:
    """Return a tensor of numbers, nested sequences, or arrays of this or another library.

    Parameters
    ----------
    obj : array or nested sequence
        Tracked tensors may stand among the elements; the result differentiates through them.
    dtype : dtype, optional
    device : optional
    copy : bool, optional
        True: always copy. False: never, but fail where it would be needed. Left out: only where
        needed; the tensor then shares memory with an array that was given, and is the tensor that
        was given.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        ``copy=False`` and a copy is needed.
    """
    if isinstance(obj, Tensor):
        return _of_tensor(obj, dtype, device, copy)
    if isinstance(obj, (list, tuple)):
        if copy is False:
            raise ValueError("asarray of a sequence must copy its elements; leave out copy=False")
        obj = p.nested(obj, dtype)
        if isinstance(obj, Tensor):
            obj = tensor(obj)
            return obj if device is None else to_device(obj, device)
    if device is None and is_device_array(obj):
        plain = backend_of(obj).xp.array(obj, dtype=dtype, copy=bool(copy))
    else:
        plain = np.asarray(obj, dtype=dtype, copy=copy)
    if plain.dtype.kind not in "biufc":
        raise TypeError(
            f"cannot make a tensor of {type(obj).__name__} with elements of dtype {plain.dtype}; "
            "numbers and booleans are needed"
        )
    return Tensor(plain if device is None else device_backend(device).asarray(plain))


def _of_tensor(x: Tensor, dtype: Any, device: Any, copy: bool | None) -> Any:
    moves = device is not None and device != x.device
    casts = dtype is not None and np.dtype(dtype) != x.dtype
    x = tensor(x)  # while a program is captured, arrays are tensors of it
    if copy is False and (moves or casts):
        raise ValueError(
            f"asarray(copy=False) of a tensor of dtype {x.dtype} on {x.device} cannot give "
            f"dtype {dtype} on {device}: that needs a copy"
        )
    if casts:
        x = astype(x, dtype)
    elif copy:
        x = p.copy(x)
    return x.to_device(device) if moves else x


def array(obj: Any, /, dtype: Any = None, *, copy: bool | None = True, ndmin: int = 0) -> Any:
    """Return a tensor with a copy of the values; see :func:`asarray`."""
    x = asarray(obj, dtype, copy=None if isinstance(obj, (list, tuple)) else copy)
    missing = ndmin - x.ndim
    return x[(None,) * missing] if missing > 0 else x


def copy(x: Any, /) -> Any:
    """Return a copy, which differentiates as ``x`` does."""
    return p.copy(tensor(x)) if isinstance(x, Tensor) else array(x)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """Return a constant tensor with the data of an array of any library that has DLPack.

    Parameters
    ----------
    x : object with ``__dlpack__``
    device : optional
        Where the result is put; left out, it stays where it is.
    copy : bool, optional
        As in :func:`asarray`.
    """
    if isinstance(x, Tensor):
        if is_tracked(x):
            x.__dlpack__()  # says why not
        x = x._array()
    source = x.__dlpack_device__()[0]
    on_host = int(source) in (1, 3)  # kDLCPU, and pinned memory
    backend: Backend = device_backend("cpu" if on_host else "gpu")
    options = {} if copy is None or not on_host else {"copy": copy}
    plain = backend.xp.from_dlpack(x, **options)
    tensor = Tensor(plain)
    return tensor if device is None else tensor.to_device(device)


# -- filled -------------------------------------------------------------------------------


def empty(shape: Shape, dtype: Any = None, *, device: Any = None) -> Tensor:
    """Return an uninitialised tensor (float64 by default)."""
    return Tensor(device_backend(device).xp.empty(shape, dtype or np.float64))


def zeros(shape: Shape, dtype: Any = None, *, device: Any = None) -> Tensor:
    """Return a tensor of zeros (float64 by default)."""
    return Tensor(device_backend(device).xp.zeros(shape, dtype or np.float64))


def ones(shape: Shape, dtype: Any = None, *, device: Any = None) -> Tensor:
    """Return a tensor of ones (float64 by default)."""
    return Tensor(device_backend(device).xp.ones(shape, dtype or np.float64))


def full(shape: Shape, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Any:
    """Return a tensor with one value everywhere; differentiable in the value.

    Parameters
    ----------
    shape : int or tuple of int
    fill_value : number or array
        Broadcast to the shape.
    dtype : dtype, optional
        That of the value when left out.
    """
    if is_tracked(fill_value):
        value = fill_value if dtype is None else astype(fill_value, dtype, copy=False)
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        return tensor(p.copy(broadcast_to(value, shape)))
    return Tensor(device_backend(device).xp.full(shape, value_of(fill_value), dtype))


def empty_like(x: Any, /, dtype: Any = None, *, device: Any = None) -> Tensor:
    """Return an uninitialised tensor of the shape of ``x``, and of its dtype and device."""
    return Tensor(_beside(x, device).xp.empty(np.shape(x), dtype or _dtype_of(x)))


def zeros_like(x: Any, /, dtype: Any = None, *, device: Any = None) -> Tensor:
    """Return a constant tensor of zeros of the shape, dtype and device of ``x``."""
    return Tensor(_beside(x, device).xp.zeros(np.shape(x), dtype or _dtype_of(x)))


def ones_like(x: Any, /, dtype: Any = None, *, device: Any = None) -> Tensor:
    """Return a constant tensor of ones of the shape, dtype and device of ``x``."""
    return Tensor(_beside(x, device).xp.ones(np.shape(x), dtype or _dtype_of(x)))


def full_like(x: Any, /, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Any:
    """Return a tensor of the shape, dtype and device of ``x`` with one value everywhere."""
    device = _beside(x, device).device
    return full(np.shape(x), fill_value, dtype or _dtype_of(x), device=device)


def _beside(x: Any, device: Any) -> Backend:
    return backend_of(value_of(x)) if device is None else device_backend(device)


def _dtype_of(x: Any) -> Any:
    return x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype


# -- the identity ------------------------------------------------------------------------


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    k: int = 0,
    dtype: Any = None,
    *,
    device: Any = None,
) -> Tensor:
    """Return a matrix with ones on the ``k``-th diagonal and zeros elsewhere."""
    columns = n_rows if n_cols is None else n_cols
    k = max(-n_rows, min(k, columns))  # NumPy's limits are those of a C integer
    return Tensor(device_backend(device).xp.eye(n_rows, columns, k, dtype or np.float64))


def identity(n: int, dtype: Any = None) -> Tensor:
    """Return the identity matrix."""
    return eye(n, dtype=dtype)
