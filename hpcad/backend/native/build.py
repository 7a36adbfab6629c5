"""From C source to a loaded library, through the cache on disk."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import logging
import os
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpcad.backend.native.cache import cache_directory, intact, lock_directory, seal
from hpcad.backend.native.compiler import HEADERS, CompilationError, Compiler, find_compiler

log = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds to wait for another process of this node that compiles the same


def build(source: str, name: str, include: Sequence[Path] = ()) -> ctypes.CDLL | None:
    """Compile ``source``, or find it compiled, and load it.

    Parameters
    ----------
    source : str
        C11; it may include the headers beside this file.
    name : str
        Begins the names of the files in the cache: the library, and the source for reading.
    include : sequence of Path
        More directories with headers.

    Returns
    -------
    ctypes.CDLL or None
        ``None`` where there is no compiler, or it refused; a warning in the log says why.
    """
    compiler = find_compiler()
    if compiler is None:
        return None
    directories = (HEADERS, *include)
    library = cache_directory() / f"{name}-{_key(source, directories, compiler)}.so"
    return _load(library) or _load_compiled(library, source, directories, compiler)


def _key(source: str, directories: tuple[Path, ...], compiler: Compiler) -> str:
    """Everything that the machine code depends on."""
    headers = [_headers(directory) for directory in directories]
    parts = (source, *headers, *compiler.command, *compiler.flags, compiler.version, _cpu())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


@functools.cache
def _headers(directory: Path) -> str:
    return "\0".join(path.read_text() for path in sorted(directory.glob("*.h")))


@functools.cache
def _cpu() -> str:
    """Model and instruction sets: nodes of one cluster share homes but not always processors."""
    wanted = ("model name", "cpu family", "model", "flags", "Features", "CPU part", "cpu")
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        lines = []
    return "\n".join([platform.machine(), *(li for li in lines if li.split("\t")[0] in wanted)])


def _load(library: Path) -> ctypes.CDLL | None:
    if not intact(library):
        return None
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        log.debug("%s is compiled anew: %s", library, error)
        return None


def _load_compiled(
    library: Path, source: str, directories: tuple[Path, ...], compiler: Compiler
) -> ctypes.CDLL | None:
    """Compile, unless another process of this node has done so meanwhile."""
    with alone(library.stem):
        if (loaded := _load(library)) is not None:
            return loaded
        try:
            _compile(library, source, directories, compiler)
            return ctypes.CDLL(str(library))
        except (CompilationError, OSError) as error:
            log.warning("%s could not be compiled; NumPy computes instead: %s", library.stem, error)
            return None


def _compile(library: Path, source: str, directories: tuple[Path, ...], compiler: Compiler) -> None:
    """Nobody ever sees half a file: it is renamed when it is complete."""
    mine = f".{os.getpid()}-{time.monotonic_ns()}"
    text, code = library.with_suffix(f"{mine}.c"), library.with_suffix(f"{mine}.so")
    try:
        text.write_text(source)
        compiler.compile(text, code, directories)
        seal(code)
        text.replace(library.with_suffix(".c"))
        code.replace(library)
    finally:
        text.unlink(missing_ok=True)
        code.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold the lock of this node on ``name``.

    After :data:`PATIENCE` seconds, and where there are no locks, go on without: two compilations
    of one source do no harm.
    """
    directory = lock_directory()
    if directory is None:
        yield
        return
    with (directory / f"{name}.lock").open("w") as file:
        deadline = time.monotonic() + PATIENCE
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                log.info("another process still compiles %s; not waiting any longer", name)
                break
            time.sleep(0.01)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
