"""cuBLASLt by ctypes: the functions that hpcad calls, with their C types.

Descriptors are made and read without a GPU; a handle needs one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

from hpcad.backend.cublaslt.enums import Status
from hpcad.errors import DeviceError

_status, _int, _size = ctypes.c_int, ctypes.c_int, ctypes.c_size_t
_pointer, _out, _bytes = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p

_set = (_status, (_pointer, _int, _bytes, _size))
_get = (_status, (_pointer, _int, _bytes, _size, ctypes.POINTER(_size)))
_destroy = (_status, (_pointer,))

# Function -> its type and those of its arguments.
SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "cublasLtGetVersion": (_size, ()),
    "cublasLtGetStatusName": (ctypes.c_char_p, (_int,)),
    "cublasLtCreate": (_status, (_out,)),
    "cublasLtDestroy": _destroy,
    "cublasLtMatmulDescCreate": (_status, (_out, _int, _int)),
    "cublasLtMatmulDescDestroy": _destroy,
    "cublasLtMatmulDescSetAttribute": _set,
    "cublasLtMatmulDescGetAttribute": _get,
    "cublasLtMatrixLayoutCreate": (
        _status,
        (_out, _int, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64),
    ),
    "cublasLtMatrixLayoutDestroy": _destroy,
    "cublasLtMatrixLayoutSetAttribute": _set,
    "cublasLtMatrixLayoutGetAttribute": _get,
    "cublasLtMatmulPreferenceCreate": (_status, (_out,)),
    "cublasLtMatmulPreferenceDestroy": _destroy,
    "cublasLtMatmulPreferenceSetAttribute": _set,
    "cublasLtMatmulPreferenceGetAttribute": _get,
    # handle, description, layouts of A, B, C, D, preference, how many, results, found
    "cublasLtMatmulAlgoGetHeuristic": (_status, (*[_pointer] * 7, _int, _pointer, _pointer)),
    # handle, description, layouts of A, B, C, D, algorithm, result
    "cublasLtMatmulAlgoCheck": (_status, (*[_pointer] * 6, _pointer, _pointer)),
    # handle, description, alpha, A, its layout, B, its layout, beta, C, its layout, D, its
    # layout, algorithm, workspace, its bytes, stream
    "cublasLtMatmul": (_status, (*[_pointer] * 14, _size, _pointer)),
}


class Library(Protocol):
    """What loads as cuBLASLt: the library itself, or its stand-in.

    Attributes
    ----------
    path : str
    version : tuple of int
        (13, 1, 1).
    functions : dict
        Name -> function, as in :data:`SIGNATURES`.
    """

    path: str
    version: tuple[int, int, int]
    functions: dict[str, Callable[..., Any]]


class CublasLt:
    """A loaded cuBLASLt; see :class:`Library`.

    Raises
    ------
    OSError, AttributeError
        The file is not there, or is another library.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        loaded = ctypes.CDLL(path)
        self.functions: dict[str, Callable[..., Any]] = {}
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
            self.functions[name] = function
        self.version = version_of(self.functions["cublasLtGetVersion"]())


def version_of(number: int) -> tuple[int, int, int]:
    """``CUBLAS_VERSION`` as three numbers: 130101 is 13.1.1, and 120805 is 12.8.5."""
    return number // 10000, number // 100 % 100, number % 100


class CublasLtError(DeviceError):
    """A call of cuBLASLt that did not succeed.

    Attributes
    ----------
    status : int
        ``cublasStatus_t``.
    """

    def __init__(self, function: str, status: int, library: Library) -> None:
        name = library.functions["cublasLtGetStatusName"](status)
        said = name.decode() if isinstance(name, bytes) else f"status {status}"
        version = ".".join(map(str, library.version))
        super().__init__(
            f"{function} of cuBLASLt {version} ({library.path}) failed: {said}; {_advice(status)}"
        )
        self.status = status


def _advice(status: int) -> str:
    if status == Status.NOT_INITIALIZED:
        return "no GPU can be reached from this process; see `nvidia-smi` and --gpus of the job"
    if status == Status.ALLOC_FAILED:
        return "the device has no memory left; take a smaller batch"
    if status == Status.EXECUTION_FAILED:
        return "an earlier kernel may have failed: run with CUDA_LAUNCH_BLOCKING=1"
    return "this is a defect of hpcad, please report it with the shapes and dtypes"


def call(library: Library, function: str, *arguments: Any) -> None:
    """Call a function and raise what it reports."""
    status = library.functions[function](*arguments)
    if status != Status.SUCCESS:
        raise CublasLtError(function, status, library)
