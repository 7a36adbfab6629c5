"""Kernels that convert to half precision and back, and numbers that are hard to convert."""

from __future__ import annotations

import numpy as np

from hpcad.backend.half import named
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

HALVES = ("bfloat16", "float16")


def conversion(source: str, target: str, count: int) -> Kernel:
    """``target[i] = source[i]``."""
    loaded = "float32" if source in HALVES else source
    nodes = (Node("load", (), loaded, 0),)
    operands = (Operand(source, (1,)), Operand(target, (1,)))
    return Kernel((count,), operands, (), nodes, (Store(0, 1),))


def rounding(source: str, half: str, count: int) -> Kernel:
    """A number of type ``source``, rounded within the kernel and written as float32."""
    nodes = (Node("load", (), source, 0), Node(f"round_{half}", (0,), "float32"))
    operands = (Operand(source, (1,)), Operand("float32", (1,)))
    return Kernel((count,), operands, (), nodes, (Store(1, 1),))


def every_half(half: str) -> np.ndarray:
    """All 65536 bit patterns."""
    return np.arange(1 << 16, dtype=np.uint16).view(named(half))


def hard_to_round(half: str, dtype: str) -> np.ndarray:
    """Every half, every tie between two halves, and the numbers just beside each tie.

    Of float64 also numbers so close to a tie that float32 takes them for it; then numbers that
    are too large or too small for the format, and NaNs with payloads that rounding cuts off.
    """
    with np.errstate(all="ignore"):
        finite = np.sort(every_half(half)[: 1 << 15].astype(np.float64))  # of which sign is +
        finite = finite[np.isfinite(finite)]
        beyond = 2 * finite[-1] - finite[-2]  # where the next half would be
        ties = (finite + np.append(finite[1:], beyond)) / 2
        near = ties.astype(np.float32)
        beside = [np.nextafter(near, np.float32(to)).astype(np.float64) for to in (0, np.inf)]
        if dtype == "float64":
            beside += [np.nextafter(ties, to) for to in (0, np.inf)]
        other = np.array([0, np.inf, np.nan, 1e-46, 1e-45, 1e-40, 3e38, 65504, 65519.99, 65520])
        positive = np.concatenate([finite, ties, *beside, other]).astype(dtype)
    return np.concatenate([positive, -positive, _nans(dtype)])


def _nans(dtype: str) -> np.ndarray:
    if dtype == "float64":
        return np.array([0x7FF0000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    return np.array([0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)


def same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal to the bit, signs of zeros included; a NaN may have any sign and payload."""
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)
    bits = f"u{expected.itemsize}"
    np.testing.assert_array_equal(found[~nan].view(bits), expected[~nan].view(bits))
