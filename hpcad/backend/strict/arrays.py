"""The device array: NumPy storage that the host cannot see.

It behaves as CuPy's in what it refuses: it is not converted silently, host arrays do not mix with
it, and reading a value of it is a synchronisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.lib.mixins import NDArrayOperatorsMixin

from hpcad.backend.strict import dispatch, host
from hpcad.backend.strict.counts import COUNTS, synchronised
from hpcad.backend.strict.errors import StrictDeviceError, line_of_caller
from hpcad.backend.strict.memory import Memory, MemoryPointer, allocate, bytes_at, drain, span_of
from hpcad.backend.strict.streams import LOCK, Stream, current_stream, host_knows
from hpcad.backend.strict.work import enqueue, order

_IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy "
    "array explicitly."
)


class ndarray(NDArrayOperatorsMixin):  # noqa: N801  # CuPy's name
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
        from hpcad.backend.strict.device import Device

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

    def span(self) -> tuple[int, int]:
        """Address and bytes of what the elements lie in."""
        if self.size == 0:
            return self.data.ptr, 0
        low, high = byte_bounds(self.raw)
        return low, high - low

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

    # -- copies between the host and the device -------------------------------------------

    def get(
        self,
        stream: Stream | None = None,
        order: str = "C",
        out: np.ndarray | None = None,
        blocking: bool = True,
    ) -> np.ndarray:
        """Copy the array to the host.

        Parameters
        ----------
        stream : Stream, optional
        order : {"C", "F", "A"}
        out : ndarray, optional
            Of the same shape and dtype, contiguous.
        blocking : bool
            False: the copy arrives in ``out``, which should be pinned, when the host has waited for
            the stream. Otherwise, and where ``out`` is not pinned, it is a synchronisation.
        """
        stream = current_stream() if stream is None else stream
        if out is not None:
            self._check_host(out, "get(out=...)")
            if not out.flags.forc:
                raise RuntimeError(
                    "`out` cannot be specified when copying to non-contiguous ndarray"
                )
        with LOCK:
            drain()
            stream.refuse_capture("a copy to the host")
            target = np.empty(self.shape, self.dtype, order) if out is None else out
            if self.size == 0:
                return target
            at_once = blocking or not host.is_pinned(target)
            if at_once:
                synchronised("a copy to the host")
            span = span_of(*self.span(), "a copy to the host")
            count = order_(stream, "a copy to the host", [span], [])
            COUNTS.device_to_host += 1
            COUNTS.bytes_to_host += self.nbytes
            if at_once:
                target[...] = self.raw
                host_knows(stream.clock)
            else:
                host.arrives(target, self.raw.copy(), stream.ptr, count)
            return target

    def set(self, arr: np.ndarray, stream: Stream | None = None) -> None:
        """Copy a host array of the same shape and dtype here.

        From pinned memory the host does not wait, and must leave the memory alone until the stream
        has come so far; from other memory it is a synchronisation.
        """
        stream = current_stream() if stream is None else stream
        self._check_host(arr, "set()")
        if not self.raw.flags.forc:
            raise RuntimeError("Cannot set to non-contiguous array")
        with LOCK:
            drain()
            stream.refuse_capture("a copy from the host")
            if self.size == 0:
                return
            source = np.asarray(arr, order="C" if self.raw.flags.c_contiguous else "F")
            self._fill_from(source, stream, waits=not host.is_pinned(source))

    def _fill_from(self, source: np.ndarray, stream: Stream, waits: bool) -> None:
        if waits:
            synchronised("a copy from host memory that is not pinned")
        span = span_of(*self.span(), "a copy from the host")
        count = order_(stream, "a copy from the host", [], [span])
        COUNTS.host_to_device += 1
        COUNTS.bytes_to_device += self.nbytes
        host.deliver(source, stream.clock)
        self.raw[...] = source
        if host.is_pinned(source):
            host.leaves(source, stream.ptr, count)
        if waits:
            host_knows(stream.clock)

    def _check_host(self, array: Any, what: str) -> None:
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{what} takes a numpy.ndarray, not {type(array).__name__}")
        if array.dtype != self.dtype:
            raise TypeError(f"{what}: the host array has dtype {array.dtype}, this {self.dtype}")
        if array.shape != self.shape:
            raise ValueError(f"{what}: the host array has shape {array.shape}, this {self.shape}")

    def item(self, *args: Any) -> Any:
        """The single value as a Python scalar: a synchronisation."""
        return self.get().item(*args)

    def tolist(self) -> Any:
        """The values as nested lists: a synchronisation."""
        return self.get().tolist()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __repr__(self) -> str:
        if current_stream().capture is not None:
            return f"<array of the strict device, shape {self.shape}, dtype {self.dtype}>"
        return repr(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    # -- NumPy's protocols ----------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return dispatch.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(t, ndarray | np.ndarray) for t in types):
            return NotImplemented
        return dispatch.function(func, args, kwargs)

    # -- indexing -------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> ndarray:
        return dispatch.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        dispatch.setitem(self, key, value)

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
        return dispatch.view_of(self, self.raw.view(self.dtype if dtype is None else dtype))

    @property
    def T(self) -> ndarray:  # noqa: N802
        """The transpose, a view."""
        return dispatch.view_of(self, self.raw.T)

    @property
    def mT(self) -> ndarray:  # noqa: N802
        """Each matrix transposed, a view."""
        return dispatch.view_of(self, self.raw.mT)

    @property
    def real(self) -> ndarray:
        """The real part, a view."""
        return dispatch.view_of(self, self.raw.real)

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

    # -- work in place by operators is the ufunc with out= (the mixin does that) ----------


order_ = order  # get() has a parameter of that name
_NOTHING = np.zeros(64, np.uint8)


def _zeros(shape: Any) -> tuple[int, ...]:
    return (0,) * (1 if np.ndim(shape) == 0 else len(shape))


def _strides(shape: tuple[int, ...], itemsize: int, order: str) -> tuple[int, ...]:
    steps, step = [], itemsize
    for n in shape if order == "F" else reversed(shape):
        steps.append(step)
        step *= max(n, 1)
    return tuple(steps if order == "F" else reversed(steps))


def owner_of(array: ndarray) -> Any:
    """The memory that an array lies in."""
    memory = array.data.mem
    return memory if isinstance(memory, Memory) else None


def refuse_while_capturing(what: str, why: str) -> None:
    """Raise :class:`StrictDeviceError` while the current stream captures."""
    stream = current_stream()
    if stream.capture is not None:
        raise StrictDeviceError(
            f"{what} at {line_of_caller()} while stream {stream.ptr} captures: {why}"
        )
