"""Copies between device arrays and the host, and the conversions that make them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from hpcad.backend.strict import host
from hpcad.backend.strict.blocks import drain, span_of
from hpcad.backend.strict.counts import COUNTS, synchronised
from hpcad.backend.strict.known import LOCK, current_stream, host_knows
from hpcad.backend.strict.pinned import is_pinned
from hpcad.backend.strict.streams import Stream
from hpcad.backend.strict.work import order as ordered


class Transfers:
    """The part of :class:`~hpcad.backend.strict.ndarray` that moves values to and from the host."""

    __slots__ = ()

    raw: np.ndarray

    def span(self) -> tuple[int, int]:
        """Address and bytes of what the elements lie in."""
        low, high = byte_bounds(self.raw)
        return low, high - low if self.raw.size else 0

    def get(
        self,
        stream: Stream | None = None,
        order: Any = "C",
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
            target = np.empty(self.raw.shape, self.raw.dtype, order) if out is None else out
            if self.raw.size == 0:
                return target
            at_once = blocking or not is_pinned(target)
            if at_once:
                synchronised("a copy to the host")
            span = span_of(*self.span(), "a copy to the host")
            count = ordered(stream, "a copy to the host", [span], [])
            COUNTS.device_to_host += 1
            COUNTS.bytes_to_host += self.raw.nbytes
            if at_once:
                target[...] = self.raw
                host_knows(stream.clock)
            else:
                host.arrives(target, self.raw.copy(), stream.ptr, count, stream.clock)
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
            if self.raw.size == 0:
                return
            source = np.asarray(arr, order="C" if self.raw.flags.c_contiguous else "F")
            self._fill_from(source, stream, waits=not is_pinned(source))

    def _fill_from(self, source: np.ndarray, stream: Stream, waits: bool) -> None:
        if waits:
            synchronised("a copy from host memory that is not pinned")
        span = span_of(*self.span(), "a copy from the host")
        count = ordered(stream, "a copy from the host", [], [span])
        COUNTS.host_to_device += 1
        COUNTS.bytes_to_device += self.raw.nbytes
        host.deliver(source, stream.clock)
        self.raw[...] = source
        if is_pinned(source):
            host.leaves(source, stream.ptr, count)
        if waits:
            host_knows(stream.clock)

    def _check_host(self, array: Any, what: str) -> None:
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{what} takes a numpy.ndarray, not {type(array).__name__}")
        if array.dtype != self.raw.dtype:
            raise TypeError(
                f"{what}: the host array has dtype {array.dtype}, this {self.raw.dtype}"
            )
        if array.shape != self.raw.shape:
            raise ValueError(
                f"{what}: the host array has shape {array.shape}, this {self.raw.shape}"
            )

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
            return f"<array of the strict device, shape {self.raw.shape}, dtype {self.raw.dtype}>"
        return repr(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)
