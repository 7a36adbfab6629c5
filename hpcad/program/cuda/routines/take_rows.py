"""``out[i] = table[index[i]]``: rows of a table, an embedding."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import DeviceRoutine, Flat
from hpcad.program.cuda.routines.writing import (
    BITS,
    STORED,
    blocks_for,
    bodies,
    function,
    identifier,
    index_type,
    itemsize,
    require,
    vector_of,
)

BLOCK = 256
INDICES = ("int32", "int64")


@functools.cache
def take_rows(
    dtype: str, index_dtype: str, rows: int, count: int, width: int, faults: bool = False
) -> DeviceRoutine:
    """The routine that gathers rows.

    Operands: table (rows, width), index (count,), out (count, width) and, with ``faults``, one
    int64 that must be 0 beforehand.

    Parameters
    ----------
    dtype : str
        Any type of 1, 2, 4 or 8 bytes.
    index_dtype : str
        ``"int32"`` or ``"int64"``; negative indices count from the end.
    rows, count, width : int
    faults : bool
        Whether to report indices that mean no row. Then ``count - fault`` is the first such place,
        if ``fault`` is not 0. Their rows are filled with set bits in any case (NaN, or -1).

    Raises
    ------
    DeviceError
        There is no routine for these types.
    """
    require(index_dtype in INDICES, f"take_rows: indices must be int32 or int64, not {index_dtype}")
    require(itemsize(dtype) in BITS, f"take_rows: elements of {dtype} have no routine")
    name = identifier("take_rows", dtype, index_dtype, rows, count, width, faults)
    operands = [
        Flat(dtype, rows * width, "read"),
        Flat(index_dtype, count, "read"),
        Flat(dtype, count * width, "write"),
    ] + [Flat("int64", 1, "update")] * faults
    size = itemsize(dtype)
    widest = next(n for n in (16, 8, 4, 2, 1) if width * size % n == 0)
    variants = tuple(
        _variant(f"{name}_b{piece}", operands, piece, rows, count, width * size // piece)
        for piece in dict.fromkeys((widest, size))
        if piece >= size
    )

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        table, index, out = arrays[0].reshape(rows, width), arrays[1], arrays[2]
        place = np.where(index < 0, index + rows, index)
        wrong = (place < 0) | (place >= rows)
        result = table[np.where(wrong, 0, place)] if rows else np.empty((count, width), table.dtype)
        result.view(np.uint8).reshape(count, width * size)[wrong] = 0xFF
        out.reshape(count, width)[...] = result
        report(arrays[3:], wrong)

    return DeviceRoutine(name, variants, 0, (), tuple(operands), reference)


def report(faults: list[np.ndarray], wrong: np.ndarray) -> None:
    """What :func:`hp_complain` leaves: how far from the end the first wrong place is."""
    if faults and wrong.any():
        faults[0][0] = max(int(faults[0][0]), wrong.size - int(np.argmax(wrong)))


def _variant(
    entry: str, operands: list[Flat], piece: int, rows: int, count: int, pieces: int
) -> Variant:
    kind, index = index_type(rows * pieces, count * pieces), STORED[operands[1].dtype]
    launch = Launch(entry, (blocks_for(count * pieces, BLOCK), 1), BLOCK)
    fault = "(uint64_t *)p3" if len(operands) > 3 else "(uint64_t *)0"
    call = (
        f"hp_take_rows<{vector_of(piece)}, {kind}, {index}>"
        f"(p0, p1, p2, {fault}, {rows}, {count}, {pieces});"
    )
    source = bodies("take_rows.cu") + function(launch, operands, (), False, call)
    alignment = tuple(
        piece if number in (0, 2) else itemsize(operand.dtype)
        for number, operand in enumerate(operands)
    )
    return Variant(alignment, (launch,) if count * pieces else (), source)
