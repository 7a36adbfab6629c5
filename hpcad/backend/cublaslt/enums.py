"""The numbers of cuBLASLt's interface, and the epilogues by name.

Source: NVIDIA, *cuBLAS*, chapter "Using the cuBLASLt API",
https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api, and the header ``cublasLt.h`` of
CUDA 13. The values have not changed since CUDA 12.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np


class Status(IntEnum):
    """``cublasStatus_t``."""

    SUCCESS = 0
    NOT_INITIALIZED = 1
    ALLOC_FAILED = 3
    INVALID_VALUE = 7
    ARCH_MISMATCH = 8
    MAPPING_ERROR = 11
    EXECUTION_FAILED = 13
    INTERNAL_ERROR = 14
    NOT_SUPPORTED = 15


class Type(IntEnum):
    """``cudaDataType``, under the names that NumPy and ml_dtypes give the types."""

    float32 = 0
    float64 = 1
    float16 = 2
    bfloat16 = 14
    float8_e4m3fn = 28
    float8_e5m2 = 29


@functools.cache
def type_name(dtype: np.dtype) -> str:
    """``dtype.name``, which NumPy puts together anew each time, for some microseconds."""
    return dtype.name


def numpy_type(name: str) -> np.dtype:
    """The NumPy dtype of a :class:`Type`; bfloat16 and 8-bit types come from ml_dtypes."""
    if name in ("float16", "float32", "float64"):
        return np.dtype(name)
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name))


class Compute(IntEnum):
    """``cublasComputeType_t``: the precision of products and sums."""

    float32 = 68
    float64 = 70
    tf32 = 77


class Operation(IntEnum):
    """``cublasOperation_t``."""

    N = 0
    T = 1


class Reduction(IntFlag):
    """``cublasLtReductionScheme_t``: how parts of a sum that ran in parallel are added."""

    NONE = 0
    IN_PLACE = 1
    COMPUTE_TYPE = 2
    OUTPUT_TYPE = 4


# Attribute -> number and C type.
Attributes = dict[str, tuple[int, type]]

# cublasLtMatmulDescAttributes_t
DESCRIPTION: Attributes = {
    "compute_type": (0, ctypes.c_int32),
    "scale_type": (1, ctypes.c_int32),
    "pointer_mode": (2, ctypes.c_int32),
    "trans_a": (3, ctypes.c_int32),
    "trans_b": (4, ctypes.c_int32),
    "epilogue": (7, ctypes.c_uint32),
    "bias_pointer": (8, ctypes.c_uint64),
    "bias_batch_stride": (10, ctypes.c_int64),
    "aux_pointer": (11, ctypes.c_uint64),
    "aux_ld": (12, ctypes.c_int64),
    "aux_batch_stride": (13, ctypes.c_int64),
    "scale_pointer_a": (17, ctypes.c_uint64),
    "scale_pointer_b": (18, ctypes.c_uint64),
    "bias_type": (26, ctypes.c_int32),
}

# cublasLtMatrixLayoutAttribute_t
LAYOUT: Attributes = {
    "type": (0, ctypes.c_uint32),
    "order": (1, ctypes.c_int32),
    "rows": (2, ctypes.c_uint64),
    "columns": (3, ctypes.c_uint64),
    "ld": (4, ctypes.c_int64),
    "batch": (5, ctypes.c_int32),
    "batch_stride": (6, ctypes.c_int64),
}

# cublasLtMatmulPreferenceAttributes_t
PREFERENCE: Attributes = {
    "workspace": (1, ctypes.c_uint64),
    "reductions": (3, ctypes.c_uint32),
    "alignment_a": (5, ctypes.c_uint32),
    "alignment_b": (6, ctypes.c_uint32),
    "alignment_c": (7, ctypes.c_uint32),
    "alignment_d": (8, ctypes.c_uint32),
}

ALGORITHM_BYTES = 64  # sizeof(cublasLtMatmulAlgo_t)


class HeuristicResult(ctypes.Structure):
    """``cublasLtMatmulHeuristicResult_t``."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * (ALGORITHM_BYTES // 8)),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


MASK_BITS = 128  # rows of a mask begin at multiples of so many bits


def mask_shape(rows: int, columns: int) -> tuple[int, int]:
    """Shape of the array of bytes that holds one bit for each element of a row-major matrix."""
    return rows, -(-columns // MASK_BITS) * MASK_BITS // 8


@dataclass(frozen=True)
class Epilogue:
    """What is done to ``x = alpha * a @ b + beta * c`` before it is stored.

    Attributes
    ----------
    number : int
        ``cublasLtEpilogue_t``.
    bias : {"", "read", "write"}
        A vector that is added, or that receives a gradient.
    aux : {"", "read", "write"}
        A matrix beside the result.
    mask : bool
        Whether that holds one bit per element: where ``x`` was positive.
    """

    number: int
    bias: str = ""
    aux: str = ""
    mask: bool = False


# What they compute, for a row-major c of shape (m, n), is said in bind_product.
EPILOGUES = {
    "": Epilogue(1),
    "relu": Epilogue(2),
    "bias": Epilogue(4, bias="read"),
    "relu_bias": Epilogue(6, bias="read"),
    "relu_aux": Epilogue(130, aux="write", mask=True),
    "relu_aux_bias": Epilogue(134, bias="read", aux="write", mask=True),
    "drelu": Epilogue(136, aux="read", mask=True),
    "drelu_bgrad": Epilogue(152, bias="write", aux="read", mask=True),
    "gelu": Epilogue(32),
    "gelu_bias": Epilogue(36, bias="read"),
    "gelu_aux": Epilogue(160, aux="write"),
    "gelu_aux_bias": Epilogue(164, bias="read", aux="write"),
    "dgelu": Epilogue(192, aux="read"),
    "dgelu_bgrad": Epilogue(208, bias="write", aux="read"),
    # Named after the operand of the library: sums of its A over k, as long as D has rows,
    # and of its B, as long as D has columns.
    "BGRADA": Epilogue(256, bias="write"),
    "BGRADB": Epilogue(512, bias="write"),
}
