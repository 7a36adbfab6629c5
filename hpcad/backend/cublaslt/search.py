"""Where libcublasLt is."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

from hpcad.backend.cublaslt.binding import CublasLt
from hpcad.errors import DeviceError

VARIABLE = "HPCAD_CUBLASLT"
_TOOLKITS = ("/usr/local/cuda", "/opt/cuda")
_NAMES = ("libcublasLt.so.13", "libcublasLt.so.12")
_LIBRARY = re.compile(r"libcublasLt\.so\.(\d+)$")


def find_cublaslt(newest: int | None = None) -> CublasLt | None:
    """The newest cuBLASLt here; None where there is none.

    ``HPCAD_CUBLASLT`` names one; else it is looked for in NVIDIA's wheels, in the CUDA toolkit
    (``CUDA_HOME``, ``CUDA_PATH``), and where the dynamic linker looks.

    Parameters
    ----------
    newest : int, optional
        The CUDA version (its first number) of the driver.

    Raises
    ------
    DeviceError
        What ``HPCAD_CUBLASLT`` names cannot be loaded.
    """
    return _find(os.environ.get(VARIABLE, ""), newest)


def require_cublaslt(newest: int | None = None) -> CublasLt:
    """As :func:`find_cublaslt`; an error where there is none."""
    found = find_cublaslt(newest)
    if found is None:
        fitting = "" if newest is None else f" for a driver of CUDA {newest}"
        raise DeviceError(
            f"no cuBLASLt{fitting} was found, which multiplies matrices on the GPU; install CuPy "
            "with its libraries (`pip install 'hpcad[cuda13]'` or cuda12), set CUDA_HOME to a CUDA "
            f"toolkit, or name the file libcublasLt.so in {VARIABLE}"
        )
    return found


@functools.cache
def _find(wish: str, newest: int | None) -> CublasLt | None:
    for path in [wish] if wish else _candidates():
        try:
            library = CublasLt(path)
        except (OSError, AttributeError) as error:
            if wish:
                raise DeviceError(
                    f"{VARIABLE}={wish} cannot be loaded as cuBLASLt ({error}); name the file "
                    "libcublasLt.so of a CUDA toolkit, or unset it"
                ) from error
            continue
        if newest is None or library.version[0] <= newest:
            return library
    return None


def _candidates() -> Iterator[str]:
    """Paths and names of libraries, those of newer toolkits first."""
    found: dict[str, int] = {}
    for folder in _folders():
        for path in folder.glob("libcublasLt.so.*"):
            if matched := _LIBRARY.search(path.name):
                found[str(path)] = int(matched[1])
    yield from sorted(found, key=lambda path: -found[path])
    yield from _NAMES


def _folders() -> Iterator[Path]:
    wheels = importlib.util.find_spec("nvidia")
    for place in (wheels.submodule_search_locations or []) if wheels is not None else []:
        yield from Path(place).glob("*/lib")
    for setting in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(setting):
            yield Path(os.environ[setting], "lib64")
    yield from (Path(toolkit, "lib64") for toolkit in _TOOLKITS)
