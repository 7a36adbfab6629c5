"""Which BLAS libraries there are.

``HPCAD_BLAS`` names them, separated by colons: a path, the name of a library (``mkl_rt``,
``blis-mt``, ``dnnl``, ``sci_cray``), or one of the words ``numpy``, ``scipy``,
``scipy-openblas32``. Without it the candidates are the libraries of these three words, as far as
they are newer than NumPy's. NumPy's own is always among them, so ``HPCAD_BLAS=numpy`` leaves only
that.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from hpcad.backend.gemm.check import mistakes
from hpcad.backend.gemm.library import Library, inspect, started_with
from hpcad.backend.native.threads import threads
from hpcad.errors import ConfigError

log = logging.getLogger(__name__)

NUMPY, SCIPY, WHEEL = "numpy", "scipy", "scipy-openblas32"


def libraries() -> tuple[Library, ...]:
    """All candidates, NumPy's own first where its entry points can be found.

    Raises
    ------
    ConfigError
        ``HPCAD_BLAS`` names a library that cannot be loaded, has no ``cblas_sgemm`` or
        ``dnnl_sgemm``, or computes wrong products.
    """
    return _libraries(os.environ.get("HPCAD_BLAS", ""))


def numpy_library() -> Library | None:
    """The library under ``np.matmul``; ``None`` where NumPy has been built without one."""
    return _numpy_library()


@functools.cache
def _libraries(wish: str) -> tuple[Library, ...]:
    found = [own] if (own := _numpy_library()) is not None else []
    names = [name for name in wish.split(":") if name]
    for name in names or (WHEEL, SCIPY):
        library = _named(name) if names else _at_hand(name)
        if library is None or library.path in {other.path for other in found}:
            continue
        if names or not _has_newer(found, library):
            found.append(library)
    return tuple(found)


def _has_newer(found: list[Library], library: Library) -> bool:
    """Whether an OpenBLAS at least as new is there: measuring an older one is lost time."""
    versions = [_openblas(other) for other in found]
    return any(version >= _openblas(library) for version in versions if version)


def _openblas(library: Library) -> tuple[int, ...]:
    match = re.match(r"OpenBLAS (\d+(?:\.\d+)*)", library.version)
    return tuple(map(int, match[1].split("."))) if match else ()


@functools.cache
def _numpy_library() -> Library | None:
    # Names are looked up in what this module was linked to, so that no path has to be guessed.
    module = importlib.import_module("numpy._core._multiarray_umath")
    library = inspect(NUMPY, ctypes.CDLL(module.__file__))
    if library is None or (wrong := mistakes(library)):
        log.info(
            "NumPy's own BLAS cannot be called from here: %s", wrong if library else "no cblas"
        )
        return None
    return library


def _at_hand(name: str) -> Library | None:
    """A library that Python packages brought; nothing is wrong where they did not."""
    for path in _packaged(name):
        try:
            library = _opened(name, path)
        except OSError as error:
            log.info("%s cannot be loaded: %s", path, error)
            continue
        if library is not None and not (wrong := mistakes(library)):
            return library
        log.warning("the BLAS of %s is not used: %s", path, wrong if library else "no cblas_sgemm")
    return None


def _packaged(name: str) -> Iterator[Path]:
    package, folder = {SCIPY: ("scipy", "../scipy.libs"), WHEEL: ("scipy_openblas32", "lib")}[name]
    spec = find_spec(package)
    if spec is not None and spec.origin:
        yield from sorted((Path(spec.origin).parent / folder).glob("libscipy_openblas*.so*"))


# -- libraries that were named ------------------------------------------------------------------


def _named(name: str) -> Library | None:
    if name == NUMPY:
        return _numpy_library()
    tried = []
    for place in _places(name):
        try:
            library = _opened(name, place)
        except OSError as error:
            tried.append(f"  {place}: {error}")
            continue
        if library is None:
            tried.append(f"  {place}: has neither cblas_sgemm nor dnnl_sgemm")
        elif wrong := mistakes(library):
            raise ConfigError(f"HPCAD_BLAS names {place}, which computes wrong products: {wrong}")
        else:
            return library
    raise ConfigError(
        f"HPCAD_BLAS names {name!r}, which is not to be had. Tried:\n"
        + ("\n".join(tried) or "  nothing: no such package is installed")
        + "\nGive the path of a shared library, or a name that the loader finds (LD_LIBRARY_PATH)."
    )


def _places(name: str) -> Iterator[str | Path]:
    """Where a library of that name may be."""
    if name in (SCIPY, WHEEL):
        yield from _packaged(name)
        return
    if "/" in name or ".so" in name or ".dylib" in name:
        yield os.path.expanduser(name)
        return
    yield f"lib{name}.so"
    # Wheels of MKL and oneDNN put their libraries there, with a number behind their names.
    yield from sorted(Path(sys.prefix, "lib").glob(f"lib{name}.so*"))
    if (found := ctypes.util.find_library(name)) is not None:
        yield found


def _opened(name: str, place: str | Path) -> Library | None:
    with started_with(threads()):
        return inspect(Path(name).name, ctypes.CDLL(str(place)))
