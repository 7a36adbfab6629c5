"""How long this process took to start. Imports nothing itself, so that it can measure imports."""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path

_STAT = Path("/proc/self/stat")
_FIELD_OF_START = 19  # of what follows the name of the program, in clock ticks since boot

# What a training needs; `import hpcad` itself loads nothing.
_ROOMS = ("hpcad.training", "hpcad.models", "hpcad.checkpoint")


def measure() -> dict[str, float]:
    """Seconds of the start, of importing NumPy, and of importing what a training needs of hpcad.

    To be called before anything else has imported them; what is there already takes no time.
    """
    start = _since_start()
    return {"start": start, "numpy": _importing("numpy"), "hpcad": _importing(*_ROOMS)}


def _since_start() -> float:
    """Seconds since this program was started; 0 where the system does not tell."""
    try:
        fields = _STAT.read_text().rpartition(")")[2].split()
        began = int(fields[_FIELD_OF_START]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)


def _importing(*names: str) -> float:
    began = time.perf_counter()
    for name in names:
        importlib.import_module(name)
    return time.perf_counter() - began
