"""From CUDA C++ to machine code of a device, through the cache on disk.

The cache is that of native kernels (:mod:`hpcad.backend.native`). No GPU is needed to compile.
Where many ranks need the same code at the same time, one compiles and the others are sent it
(:func:`exchanging`).
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol

from hpcad.backend.native.build import alone
from hpcad.backend.native.cache import cache_directory, content, seal
from hpcad.errors import DeviceError
from hpcad.program.cuda.nvrtc import Nvrtc, find_nvrtc

log = logging.getLogger(__name__)

# No contraction of a * b + c into one rounding: kernels then equal those of the CPU. Division and
# square root are rounded correctly, and denormal numbers kept, by default.
OPTIONS = ("-std=c++17", "--fmad=false")


class Exchange(Protocol):
    """What gets machine code from other ranks."""

    def code(self, key: str, make: Callable[[], bytes]) -> bytes:
        """The code that ``key`` names: made here, or by another rank that needs it, too."""

    def failed(self, error: Exception) -> None:
        """Tell the others that this rank will not go on."""


_EXCHANGE: ContextVar[Exchange | None] = ContextVar("exchange of machine code", default=None)


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """Get code through ``exchange`` inside of the block, and wait for no lock of a file system."""
    token = _EXCHANGE.set(exchange)
    try:
        yield
    finally:
        _EXCHANGE.reset(token)


def compile_cubin(source: str, architecture: str, name: str, nvrtc: Nvrtc | None = None) -> bytes:
    """Compile ``source``, or find it compiled.

    Parameters
    ----------
    source : str
        CUDA C++ that includes no files.
    architecture : str
        ``"sm_80"``, ``"sm_90"``...
    name : str
        Begins the names of the files in the cache: the code, and the source for reading.
    nvrtc : Nvrtc, optional
        The one to use; the newest here, if not given.

    Raises
    ------
    DeviceError
        There is no NVRTC here.
    hpcad.backend.native.compiler.CompilationError
        It refused the source.
    """
    nvrtc = nvrtc or require_nvrtc()
    options = (f"--gpu-architecture={architecture}", *OPTIONS)
    parts = (source, *options, *map(str, nvrtc.version))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    path = cache_directory() / f"{name}-{architecture}-{key}.cubin"

    def made() -> bytes:
        found = content(path)
        if found is None:
            found, _ = nvrtc.compile(source, f"{path.stem}.cu", options)
            _remember(path, source, found)
        return found

    exchange = _EXCHANGE.get()
    if exchange is not None:
        return exchange.code(path.name, made)
    found = content(path)
    if found is not None:
        return found
    with alone(path.stem):
        return made()


def require_nvrtc(newest: int | None = None) -> Nvrtc:
    """The newest NVRTC here that code for a driver of CUDA ``newest`` can come from.

    Raises
    ------
    DeviceError
    """
    nvrtc = find_nvrtc(newest)
    if nvrtc is None:
        which = "" if newest is None else f" of CUDA {newest} or older"
        error = DeviceError(
            f"kernels for a GPU are compiled by NVRTC{which}, which is not to be found; install "
            "`pip install 'hpcad[cuda13]'` (or cuda12), load the CUDA module, or name the library "
            "with HPCAD_NVRTC=/path/to/libnvrtc.so"
        )
        exchange = _EXCHANGE.get()
        if exchange is not None:
            exchange.failed(error)
        raise error
    return nvrtc


def _remember(path: Path, source: str, code: bytes) -> None:
    """Nobody ever sees half a file: it is renamed when it is complete."""
    mine = f".{os.getpid()}-{time.monotonic_ns()}"
    text, binary = path.with_suffix(f"{mine}.cu"), path.with_suffix(f"{mine}.cubin")
    try:
        text.write_text(source)
        binary.write_bytes(code)
        seal(binary)
        text.replace(path.with_suffix(".cu"))
        binary.replace(path)
    except OSError as error:
        log.warning("%s could not be kept in the cache: %s", path.name, error)
    finally:
        text.unlink(missing_ok=True)
        binary.unlink(missing_ok=True)
