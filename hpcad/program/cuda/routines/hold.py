"""Keeping a stream busy for some time, so that the host can be seen to run ahead of it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import DeviceRoutine

# %globaltimer counts nanoseconds; on most cards it moves on once a microsecond.
SOURCE = """
extern "C" __global__ void __launch_bounds__(1) hp_hold(const int64_t s0)
{
    uint64_t start, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while ((int64_t)(now - start) < s0);
}
"""


@functools.cache
def hold() -> DeviceRoutine:
    """The routine that does nothing for so many nanoseconds, its one run-time scalar (int64).

    It has no operands. Measurements use it: what is given to the stream behind it lies ready when
    it ends, so that times between events are those of the device and not of the host.
    """
    variant = Variant((), (Launch("hp_hold", (1, 1), 1),), SOURCE)
    return DeviceRoutine("hp_hold", (variant,), 0, ("int64",), (), _nothing)


def _nothing(_arrays: list[np.ndarray], _scalars: list[Any]) -> None:
    """What it computes."""
