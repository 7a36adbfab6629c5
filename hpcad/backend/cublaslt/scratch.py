"""Memory on which products are timed: random numbers, as zeros take a GPU less power and time."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend.cublaslt.enums import numpy_type
from hpcad.backend.cublaslt.problem import Problem, reaches

MOST = 1 << 22  # different numbers; longer operands repeat them
SIZE = 0.01  # of the numbers: sums that are added up many times stay finite in half precision
_SPACE = 256


def scratch(xp: Any, problem: Problem) -> tuple[list[Any], tuple[int, ...]]:
    """Operands of a problem, aligned as it says and not better.

    Returns
    -------
    list of arrays
        What holds the memory.
    tuple of int
        Addresses of A, B, D, bias and aux; 0 where there is none.
    """
    p, found = problem, reaches(problem)
    types = {"a": p.type_a, "b": p.type_b}
    memory, pointers = [], []
    for name, alignment in zip(("a", "b", "d", "bias", "aux"), p.alignment, strict=True):
        if name not in found:
            pointers.append(0)
            continue
        held = filled(xp, found[name], types.get(name, p.type_d), alignment)
        memory.append(held)
        pointers.append(held.data.ptr + alignment)
    return memory, tuple(pointers)


def filled(xp: Any, count: int, name: str, alignment: int = 0) -> Any:
    """Bytes that hold ``count`` random numbers of a type from ``alignment`` on."""
    numbers = np.random.default_rng(0).standard_normal(min(count, MOST), np.float32)
    pattern = xp.asarray((SIZE * numbers).astype(numpy_type(name)).view(np.uint8))
    nbytes = pattern.size // min(count, MOST) * count
    held = xp.zeros(nbytes + _SPACE, np.uint8)
    for start in range(0, nbytes, pattern.size):
        part = min(pattern.size, nbytes - start)
        held[alignment + start : alignment + start + part] = pattern[:part]
    return held
