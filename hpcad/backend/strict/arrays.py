"""The device array: NumPy storage that the host cannot see.

It behaves as CuPy's in what it refuses: it is not converted silently, host arrays do not mix with
it, and reading a value of it is a synchronisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from hpcad.backend.strict import dispatch, indexing
from hpcad.backend.strict.answers import view_of
from hpcad.backend.strict.blocks import bytes_at
from hpcad.backend.strict.device import Device
from hpcad.backend.strict.known import current_stream
from hpcad.backend.strict.memory import MemoryPointer
from hpcad.backend.strict.pools import allocate
from hpcad.backend.strict.transfers import Transfers
from hpcad.backend.strict.work import enqueue

_IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy "
    "array explicitly."
)


class ndarray(Transfers, NDArrayOperatorsMixin):  # noqa: N801  # CuPy's name
    """An array in device memory, with CuPy's interface.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : dtype
    memptr : MemoryPointer, optional
        Where it lies; new memory by default.
    strides : tuple of int, optional
    order : {"C", "F"}
    """

    __slots__ = ("__weakref__", "base", "data", "raw")

    raw: np.ndarray  # the storage; only work may touch it
    data: MemoryPointer
    __array_priority__ = 100

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: MemoryPointer | None = None,
        strides: Any = None,
        order: str = "C",
    ) -> None:
        plan = np.ndarray(shape, np.dtype(dtype), _NOTHING, 0, _zeros(shape))
        if memptr is None:
            memptr = allocate(plan.nbytes)
        if strides is None:
            strides = _strides(plan.shape, plan.itemsize, order)
        self.base = None
        self._lie(plan.shape, plan.dtype, memptr, strides)

    def _lie(self, shape: Any, dtype: Any, memptr: MemoryPointer, strides: Any) -> None:
        self.data = memptr
        if 0 in shape:
            self.raw = np.empty(shape, dtype)
            return
        reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
        low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
        storage = bytes_at(memptr.ptr + low, high - low + dtype.itemsize)
        self.raw = np.ndarray(shape, dtype, storage, -low, strides)

    # -- what the host may know -----------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.raw.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.raw.dtype

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next, along each axis."""
        return self.raw.strides

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.raw.size

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.raw.ndim

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.raw.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.raw.nbytes

    @property
    def flags(self) -> SimpleNamespace:
        """``c_contiguous``, ``f_contiguous``, ``owndata``, ``forc``."""
        flags = self.raw.flags
        return SimpleNamespace(
            c_contiguous=flags.c_contiguous,
            f_contiguous=flags.f_contiguous,
            forc=flags.forc,
            fnc=flags.fnc,
            owndata=self.base is None,
        )

    @property
    def device(self) -> Any:
        """Where it lies."""
        return Device(0)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "strides": None if self.raw.flags.c_contiguous else self.strides,
            "data": (self.data.ptr if self.size else 0, False),
            "version": 3,
            "stream": 1 if current_stream().ptr == 0 else current_stream().ptr,
        }

    def __len__(self) -> int:
        return len(self.raw)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    # -- what it refuses ------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(_IMPLICIT)

    def __dlpack__(self, **_: Any) -> Any:
        raise BufferError(
            "the strict device exports no arrays: its addresses are none of a GPU; use get()"
        )

    def __reduce__(self) -> Any:
        raise TypeError("arrays of the strict device are not pickled; use get()")

    # -- NumPy's protocols ----------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return dispatch.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(t, ndarray | np.ndarray) for t in types):
            return NotImplemented
        return dispatch.function(func, args, kwargs)

    # -- indexing -------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> ndarray:
        return indexing.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        indexing.setitem(self, key, value)

    def fill(self, value: Any) -> None:
        """Set all elements to one value."""
        if isinstance(value, np.ndarray):
            if value.shape != ():
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            value = value.item()
        raw = self.raw
        reads = [value.span()] if isinstance(value, ndarray) else []
        plain = value.raw if isinstance(value, ndarray) else value

        def run() -> None:
            raw[...] = plain

        enqueue("fill", reads, [self.span()], run)

    # -- views and methods ----------------------------------------------------------------

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        """The same memory as elements of another type."""
        return view_of(self, self.raw.view(self.dtype if dtype is None else dtype))

    @property
    def T(self) -> ndarray:  # noqa: N802
        """The transpose, a view."""
        return view_of(self, self.raw.T)

    @property
    def mT(self) -> ndarray:  # noqa: N802
        """Each matrix transposed, a view."""
        return view_of(self, self.raw.mT)

    @property
    def real(self) -> ndarray:
        """The real part, a view."""
        return view_of(self, self.raw.real)

    @real.setter
    def real(self, value: Any) -> None:
        self.real[...] = value

    @property
    def imag(self) -> ndarray:
        """The imaginary part: a view, or zeros."""
        return dispatch.function(np.imag, (self,), {})

    @imag.setter
    def imag(self, value: Any) -> None:
        self.imag[...] = value

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None,
        copy: bool | None = True,
    ) -> ndarray:  # fmt: skip
        """A copy with elements of another type, or this array (``copy=False``)."""
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        return dispatch.method("astype", self, (dtype, order), {})

    def copy(self, order: str = "C") -> ndarray:
        """A copy."""
        return dispatch.method("copy", self, (order,), {})

    def sort(self, axis: int = -1, **_: Any) -> None:
        """Sort in place."""
        raw = self.raw
        enqueue("sort", [self.span()], [self.span()], lambda: raw.sort(axis))

    def __getattr__(self, name: str) -> Any:
        if name not in dispatch.METHODS:
            raise AttributeError(f"arrays of the strict device have no attribute {name!r}")
        return lambda *args, **kwargs: dispatch.method(name, self, args, kwargs)


_NOTHING = np.zeros(64, np.uint8)


def _zeros(shape: Any) -> tuple[int, ...]:
    return (0,) * (1 if np.ndim(shape) == 0 else len(shape))


def _strides(shape: tuple[int, ...], itemsize: int, order: str) -> tuple[int, ...]:
    steps, step = [], itemsize
    for n in shape if order == "F" else reversed(shape):
        steps.append(step)
        step *= max(n, 1)
    return tuple(steps if order == "F" else reversed(steps))
