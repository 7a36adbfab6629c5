"""Uniform random numbers of rows: the primitive of that name, to the bit."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from hpcad.backend.random import Key, rows_in_numpy
from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import DeviceRoutine, Flat
from hpcad.program.cuda.routines.writing import (
    COMPUTED,
    STORED,
    blocks_for,
    bodies,
    function,
    identifier,
    index_type,
    itemsize,
    require,
)

BLOCK = 256


@functools.cache
def uniform_rows(dtype: str, rows: int, width: int, key: Key) -> DeviceRoutine:
    """What :func:`hpcad.backend.random.rows_of` computes.

    Operands: ids (rows,) and step (1,), int64 in the memory of the device, so that a graph of
    launches draws anew; out (rows, width).

    Parameters
    ----------
    dtype : str
        A floating type.
    rows, width : int
    key : two integers below 2**32
        Of the stream.

    Raises
    ------
    DeviceError
        There is no routine for this type.
    """
    require(dtype in COMPUTED, f"uniform_rows: numbers of {dtype} have no routine")
    name = identifier("uniform_rows", dtype, rows, width, key)
    operands = (
        Flat("int64", rows, "read"),
        Flat("int64", 1, "read"),
        Flat(dtype, rows * width, "write"),
    )
    work = rows * -(-width // 4)
    launch = Launch(name, (blocks_for(work, BLOCK), 1), BLOCK)
    call = (
        f"hp_uniform_rows<{STORED[dtype]}, {index_type(4 * work)}>"
        f"(p0, p1, p2, {rows}, {width}, {key[0]}u, {key[1]}u);"
    )
    source = bodies("philox.cu", "uniform_rows.cu")
    source += function(launch, operands, (), False, call)
    variant = Variant((8, 8, itemsize(dtype)), (launch,) if work else (), source)

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        ids, step, out = arrays
        numbers = rows_in_numpy(key, ids.astype(np.uint64), width, out.dtype, int(step[0]))
        out.reshape(rows, width)[...] = numbers

    return DeviceRoutine(name, (variant,), 0, (), operands, reference)
