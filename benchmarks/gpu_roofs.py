"""What the card itself reaches in this run: a plain copy, and one large product."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gpu_timer import DeviceTimer, copy_works

from hpcad.backend.cublaslt import bind_product
from hpcad.backend.half import named

DRAWN = 1 << 20  # numbers that are drawn; longer arrays repeat them
COPIED = 512 << 20  # bytes
SIDE = 8192  # of the matrices


def repeated(xp: Any, drawn: np.ndarray, count: int) -> Any:
    """Return a flat device array of ``count`` elements: those drawn, over and over."""
    block = xp.asarray(drawn)
    if count <= drawn.size:
        return block[:count]
    flat = xp.empty(count, drawn.dtype)
    for start in range(0, count, drawn.size):
        flat[start : start + drawn.size] = block[: min(drawn.size, count - start)]
    return flat


def normal(xp: Any, shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    """Return normal numbers: products of zeros take less power, and run faster."""
    drawn = np.random.default_rng(seed).standard_normal(DRAWN, np.float32).astype(named(dtype))
    return repeated(xp, drawn, math.prod(shape)).reshape(shape)


def roofs(xp: Any, rounds: int) -> dict[str, list[float]]:
    """Measure what no kernel and no product of this run can be expected to exceed by much.

    Returns
    -------
    dict
        ``copy_bytes_per_second`` (read and written, each byte counted twice) and
        ``gemm_flops_per_second`` (bfloat16, 8192 x 8192 x 8192, random numbers), a sample a round.
    """
    timer, copies = DeviceTimer(xp), copy_works(xp, COPIED)
    a, b = (normal(xp, (SIDE, SIDE), "bfloat16", seed) for seed in (1, 2))
    product = bind_product(xp, a, b, xp.empty((SIDE, SIDE), a.dtype))
    found: dict[str, list[float]] = {"copy_bytes_per_second": [], "gemm_flops_per_second": []}
    often, seldom = timer.repeats_for(copies), timer.repeats_for([product]) if product else 0
    for _ in range(rounds):
        found["copy_bytes_per_second"].append(2 * COPIED / timer.seconds(copies, often))
        if product:
            seconds = timer.seconds([product], seldom)
            found["gemm_flops_per_second"].append(2 * SIDE**3 / seconds)
    return found
