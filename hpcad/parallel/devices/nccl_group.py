"""NCCL as CuPy offers it: counts, dtypes and operations as numbers, errors as ours.

Not yet proven on a GPU. What each call does is described in NVIDIA's NCCL documentation; the calls
are those of ``cupy.cuda.nccl`` in CuPy 14.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from hpcad.errors import CollectiveError, DeviceError
from hpcad.program.device.held_graph import HeldGraph

ABORT_SECONDS = 5.0
CAPTURED_SINCE = 20906  # 2.9.6, as ncclGetVersion counts; with CUDA 11.3, and CuPy 14 needs 12


def nccl_of(cupy: Any) -> Any:
    """CuPy's module for NCCL; its ``available`` says whether there is a library.

    CuPy does not import it by itself.
    """
    found = getattr(cupy.cuda, "nccl", None)
    return importlib.import_module("cupy.cuda.nccl") if found is None else found


def require_nccl(cupy: Any) -> Any:
    """Return CuPy's module for NCCL, where there is a library.

    Raises
    ------
    DeviceError
        CuPy finds no NCCL library.
    """
    nccl = nccl_of(cupy)
    if not nccl.available:
        raise DeviceError(
            "CuPy finds no NCCL library (libnccl.so.2); install NVIDIA's package `nvidia-nccl` "
            "for this CUDA version, or load the site's module"
        )
    return nccl


class NcclGroup:
    """One rank of an NCCL communicator. Nothing here waits for the device.

    Collective: the constructor returns when all ranks have come.

    Parameters
    ----------
    cupy : module
    size, rank : int
        In this group, one device a rank.
    unique_id : bytes
        Of ``cupy.cuda.nccl.get_unique_id()`` on one rank.
    """

    def __init__(self, cupy: Any, size: int, rank: int, unique_id: bytes) -> None:
        self._nccl = require_nccl(cupy)
        self.size, self.rank = size, rank
        self._failure = ""
        try:
            self._comm = self._nccl.NcclCommunicator(size, unique_id, rank)
        except self._nccl.NcclError as error:
            raise DeviceError(
                f"NCCL cannot connect the devices of {size} ranks ({error}); each rank needs a "
                "device of its own. NCCL_DEBUG=INFO prints what NCCL tried"
            ) from error
        # Graphs that were captured with it, to be dropped before: NCCL's end waits for theirs.
        self.before_end: list[HeldGraph] = []
        # NCCL must be gone before MPI and CUDA are, which CPython's garbage collector ignores.
        self._finalizer = weakref.finalize(self, _end, self._comm, self.before_end)

    # -- dtypes ----------------------------------------------------------------------------------

    def takes(self, dtype: Any, op: str) -> bool:
        """Whether NCCL has a reduction of this dtype (of complex numbers: the sum)."""
        return (dtype.kind != "c" or op == "sum") and self._number(dtype) is not None

    def _number(self, dtype: Any) -> int | None:
        """NCCL's number: its names are NumPy's, and that of ml_dtypes, in capitals."""
        name = {"complex64": "float32", "complex128": "float64"}.get(dtype.name, dtype.name)
        return getattr(self._nccl, f"NCCL_{name.upper()}", None)

    def _counted(self, flat: Any) -> tuple[int, Any]:
        """Elements and dtype in NCCL's numbers; a complex one is two floats."""
        return flat.size * (2 if flat.dtype.kind == "c" else 1), self._number(flat.dtype)

    def _op(self, op: str) -> int:
        return getattr(self._nccl, f"NCCL_{op.upper()}")

    # -- collectives -----------------------------------------------------------------------------
    # Arrays of no elements may have no address, and are left alone.

    def allreduce(self, flat: Any, op: str, stream: Any) -> None:
        """Reduce in place over all ranks."""
        if not flat.size:
            return
        at = flat.data.ptr
        self._call(self._comm.allReduce, at, at, *self._counted(flat), self._op(op), stream.ptr)

    def reduce(self, flat: Any, op: str, root: int, stream: Any) -> None:
        """Reduce in place on the root; the others' arrays stay as they are."""
        if not flat.size:
            return
        at = flat.data.ptr
        numbers = (*self._counted(flat), self._op(op), root)
        self._call(self._comm.reduce, at, at, *numbers, stream.ptr)

    def reduce_scatter(self, flat: Any, block: Any, op: str, stream: Any) -> None:
        """Write block ``rank`` of the reduction to ``block``, which may lie at its place."""
        if not block.size:
            return
        ends = flat.data.ptr, block.data.ptr
        self._call(self._comm.reduceScatter, *ends, *self._counted(block), self._op(op), stream.ptr)

    def allgather(self, block: Any, whole: Any, stream: Any) -> None:
        """Write all blocks to ``whole``; ``block`` may lie at its place there."""
        if not block.size:
            return
        ends = block.data.ptr, whole.data.ptr
        self._call(self._comm.allGather, *ends, block.nbytes, self._nccl.NCCL_UINT8, stream.ptr)

    def broadcast(self, flat: Any, root: int, stream: Any) -> None:
        """Overwrite with the root's."""
        if not flat.size:
            return
        at, kind = flat.data.ptr, self._nccl.NCCL_UINT8
        self._call(self._comm.broadcast, at, at, flat.nbytes, kind, root, stream.ptr)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Launch the calls of the body as one; the same calls on every rank.

        No event may be recorded inside: the work is on the stream only afterwards.
        """
        self._call(self._nccl.groupStart)
        try:
            yield
        finally:
            self._call(self._nccl.groupEnd)

    # -- errors ------------------------------------------------------------------------------------

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        self._raise_again()
        try:
            function(*arguments)
        except self._nccl.NcclError as error:
            self._fail(error)

    def check(self) -> None:
        """Raise where a collective failed after it was handed over.

        Raises
        ------
        CollectiveError
            NCCL reports an error. The communicator is aborted first, which frees kernels that hang.
        """
        self._raise_again()
        ask = getattr(self._comm, "check_async_error", None)
        if ask is None:
            return
        try:
            ask()
        except self._nccl.NcclError as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> NoReturn:
        self._failure = (
            f"NCCL failed on rank {self.rank} of {self.size}: {error}. The communicator was "
            "aborted, and device arrays under way are undefined; look for a rank that ended, a "
            "broken link (`nvidia-smi`, `dmesg`), or set NCCL_DEBUG=INFO"
        )
        self._abort()
        raise CollectiveError(self._failure) from error

    def _abort(self) -> None:
        """Abort, for a bounded time: NCCL waits for graphs to go, and they for the device."""
        self._finalizer.detach()
        _release(self.before_end)
        helper = threading.Thread(target=self._comm.abort, name="NCCL's abort", daemon=True)
        helper.start()
        helper.join(ABORT_SECONDS)

    def _raise_again(self) -> None:
        if self._failure:
            raise CollectiveError(self._failure)

    def abort(self) -> None:
        """Abort the communicator, which frees kernels that hang; any thread may."""
        if not self._failure:
            self._failure = f"NCCL's communicator was aborted on rank {self.rank} of {self.size}"
            self._abort()

    def close(self) -> None:
        """Destroy the communicator, unless that was done; on all ranks, with nothing under way."""
        self._finalizer()
        self._failure = self._failure or (
            f"NCCL's communicator of {self.size} ranks was closed; make another one"
        )

    # -- graphs ------------------------------------------------------------------------------------

    def let_go_before_end(self, graph: HeldGraph) -> None:
        """Drop a graph before the communicator ends, if it still is there."""
        self.before_end[:] = [held for held in self.before_end if held.graph is not None]
        self.before_end.append(graph)

    def capture_obstacle(self) -> str:
        """Why collectives cannot be captured into a CUDA graph; empty where they can."""
        version = int(self._nccl.get_version())
        if version < CAPTURED_SINCE:
            return f"NCCL {version} cannot be captured, {CAPTURED_SINCE} and later can"
        return ""


def _end(comm: Any, before_end: list[HeldGraph]) -> None:
    _release(before_end)
    comm.destroy()


def _release(graphs: list[HeldGraph]) -> None:
    while graphs:
        graphs.pop().release()
