"""Reductions as MPI knows them, and those that it leaves open."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from mpi4py import MPI

from hpcad.backend.native.combine import UFUNCS

_KNOWN = {"sum": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN, "prod": MPI.PROD}


def mpi_op(op: str, dtype: np.dtype) -> MPI.Op:
    """MPI's operation for a reduction.

    MPI does not say what the maximum of a NaN and a number is, and libraries return either. Ours is
    NaN, as in NumPy: a rank whose loss is NaN must not be outvoted.
    """
    return _with_nan(op, dtype.str) if op in ("max", "min") and dtype.kind == "f" else _KNOWN[op]


@functools.cache
def _with_nan(op: str, dtype: str) -> MPI.Op:
    def combine(source: Any, target: Any, _datatype: MPI.Datatype) -> None:
        result = np.frombuffer(target, dtype)
        UFUNCS[op](np.frombuffer(source, dtype), result, out=result)

    return MPI.Op.Create(combine, commute=True)
