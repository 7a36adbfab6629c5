"""A BLAS library: its entry points, how wide its integers are, how many threads it uses."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcad.backend.gemm.spec import DTYPES

LETTERS = dict(zip(DTYPES, "sdcz", strict=True))
# OpenBLAS can be built with a prefix and a suffix on all its names; NumPy's wheels carry both.
_DECORATIONS = (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "_64"), ("", ""))

Opener = Callable[[], ctypes.CDLL]


@dataclass(frozen=True, eq=False)
class Library:
    """A loaded library.

    Attributes
    ----------
    name : str
        What it is called in choices and messages.
    path : str
    version : str
    api : {"cblas", "dnnl"}
    bits : int
        Of the integers it takes.
    gemm, gemv : dict
        Address of the function for each dtype; ``gemv`` may be empty.
    get_threads, set_threads : int
        Addresses, 0 where it has none; ``int f(void)`` and ``void f(int)``.
    per_thread : bool
        The number of threads belongs to the calling thread.
    concurrent : bool
        Several threads may call it at once.
    handle : ctypes.CDLL
        Keeps it loaded.
    """

    name: str
    path: str
    version: str
    api: str
    bits: int
    gemm: dict[str, int]
    gemv: dict[str, int]
    get_threads: int
    set_threads: int
    per_thread: bool
    concurrent: bool
    handle: ctypes.CDLL = field(repr=False)

    @property
    def identity(self) -> str:
        """Changes when the library does."""
        try:
            status = os.stat(self.path)
            stamp = f"{status.st_size}-{status.st_mtime_ns}"
        except OSError:
            stamp = "?"
        return f"{self.path} {self.version} {stamp}"


def inspect(name: str, handle: ctypes.CDLL) -> Library | None:
    """What ``handle`` offers; ``None`` where it has neither ``cblas_sgemm`` nor ``dnnl_sgemm``.

    A handle finds the names of the libraries that it was linked to as well, so that of a module
    that calls BLAS will do.
    """
    for prefix, suffix in _DECORATIONS:
        gemm = _table(handle, f"{prefix}cblas_%sgemm{suffix}")
        if "float32" in gemm:
            return _cblas(name, handle, gemm, prefix, suffix)
    sgemm = _address(handle, "dnnl_sgemm")
    if not sgemm:
        return None
    get, set_, per_thread = _openmp(handle)
    return Library(
        name=name,
        path=_home(sgemm),
        version=_dnnl_version(handle),
        api="dnnl",
        bits=64,
        gemm={"float32": sgemm},
        gemv={},
        get_threads=get,
        set_threads=set_,
        per_thread=per_thread,
        concurrent=True,
        handle=handle,
    )


def _cblas(
    name: str, handle: ctypes.CDLL, gemm: dict[str, int], prefix: str, suffix: str
) -> Library:
    config = _text(handle, f"{prefix}openblas_get_config{suffix}")
    get, set_, per_thread = _thread_controls(handle, prefix, suffix)
    parallel = getattr(handle, f"{prefix}openblas_get_parallel{suffix}", None)
    return Library(
        name=name,
        path=_home(gemm["float32"]),
        version=config or _version(handle),
        api="cblas",
        bits=64 if "64" in suffix or "USE64BITINT" in config else 32,
        gemm=gemm,
        gemv=_table(handle, f"{prefix}cblas_%sgemv{suffix}"),
        get_threads=get,
        set_threads=set_,
        per_thread=per_thread,
        # OpenBLAS built without threads has, as a rule, no locks around its buffers either.
        concurrent=parallel is None or parallel() != 0,
        handle=handle,
    )


def _thread_controls(handle: ctypes.CDLL, prefix: str, suffix: str) -> tuple[int, int, bool]:
    """Addresses of reader and setter, and whether they speak of the calling thread alone."""
    known = (
        (f"{prefix}openblas_get_num_threads{suffix}", f"{prefix}openblas_set_num_threads{suffix}"),
        ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads_Local"),
        ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
    )
    for position, names in enumerate(known):
        get, set_ = (_address(handle, name) for name in names)
        if get and set_:
            return get, set_, position > 0
    return _openmp(handle)


def _openmp(handle: ctypes.CDLL) -> tuple[int, int, bool]:
    get, set_ = (_address(handle, f"omp_{name}") for name in ("get_max_threads", "set_num_threads"))
    return (get, set_, True) if get and set_ else (0, 0, False)


def _table(handle: ctypes.CDLL, pattern: str) -> dict[str, int]:
    found = {dtype: _address(handle, pattern % letter) for dtype, letter in LETTERS.items()}
    return {dtype: address for dtype, address in found.items() if address}


def _address(handle: ctypes.CDLL, name: str) -> int:
    function = getattr(handle, name, None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


# -- what a library says of itself --------------------------------------------------------------


def _text(handle: ctypes.CDLL, name: str) -> str:
    function = getattr(handle, name, None)
    if function is None:
        return ""
    function.restype = ctypes.c_char_p
    return (function() or b"").decode(errors="replace").strip()


def _version(handle: ctypes.CDLL) -> str:
    buffer = ctypes.create_string_buffer(256)
    if (mkl := getattr(handle, "MKL_Get_Version_String", None)) is not None:
        mkl(buffer, len(buffer))
        return buffer.value.decode(errors="replace").strip()
    return _text(handle, "bli_info_get_version_str") or "unknown version"


def _dnnl_version(handle: ctypes.CDLL) -> str:
    handle.dnnl_version.restype = ctypes.POINTER(ctypes.c_int * 3)
    return "oneDNN " + ".".join(map(str, handle.dnnl_version().contents))


class _DlInfo(ctypes.Structure):
    _fields_ = (
        ("fname", ctypes.c_char_p),
        ("fbase", ctypes.c_void_p),
        ("sname", ctypes.c_char_p),
        ("saddr", ctypes.c_void_p),
    )


def _home(address: int) -> str:
    """Path of the library that holds a function."""
    info = _DlInfo()
    process: Any = ctypes.CDLL(None)
    if not process.dladdr(ctypes.c_void_p(address), ctypes.byref(info)) or not info.fname:
        return "?"
    return str(Path(os.fsdecode(info.fname)).resolve())


@contextlib.contextmanager
def started_with(threads: int) -> Iterator[None]:
    """While a library is loaded in the block, it starts no more threads than these.

    OpenBLAS starts one per core of the machine otherwise, in every rank.
    """
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = before or str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OPENBLAS_NUM_THREADS"]
