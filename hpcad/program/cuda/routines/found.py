"""What a table of routines works with: phantoms of arrays, and routines with their operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hpcad.program.cuda.routines.routine import DeviceRoutine
from hpcad.program.instruction import Value
from hpcad.program.phantom import address_of

Arrays = Callable[[Value], np.ndarray]  # the phantom of a value
Found = tuple[DeviceRoutine, list[int]]  # and the addresses of its operands


def plain(*arrays: np.ndarray) -> bool:
    """Whether arrays lie in memory without gaps, and hold something."""
    return all(a.flags.c_contiguous and a.size for a in arrays)


def pointers(*arrays: np.ndarray) -> list[int]:
    """Addresses of the first elements."""
    return [address_of(array) for array in arrays]


def narrowed(routine: DeviceRoutine, places: Sequence[int]) -> DeviceRoutine:
    """The routine with nothing but the variant that these addresses allow: less to compile."""
    for number, variant in enumerate(routine.variants):
        pairs = zip(places, variant.alignment, strict=True)
        if len(routine.variants) > 1 and all(place % step == 0 for place, step in pairs):
            return replace(routine, name=f"{routine.name}_{number}", variants=(variant,))
    return routine
