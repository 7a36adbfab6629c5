"""Where libcublasLt is."""

from __future__ import annotations

import functools
import os

from hpcad.backend.cublaslt.binding import CublasLt
from hpcad.backend.native.nvidia import find_library
from hpcad.errors import DeviceError

VARIABLE = "HPCAD_CUBLASLT"


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
    return find_library("libcublasLt.so", CublasLt, VARIABLE, wish, newest)
