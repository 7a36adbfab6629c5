"""Cores of their own for the ranks of one machine.

A rank that the system moves from core to core measures the moves as well. Launchers can bind, but
each has words of its own for it; here the ranks bind themselves, before they start threads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_TASKS = Path("/proc/self/task")


def pin(local_rank: int, local_size: int, threads: int) -> list[int] | None:
    """Keep this process, with the threads that it has, on cores of its own.

    Returns
    -------
    list of int or None
        The cores; None where there are too few for all ranks, and nothing was done.
    """
    allowed = whole_cores_first(sorted(os.sched_getaffinity(0)), siblings())
    mine = share(allowed, local_rank, local_size, threads)
    if mine is None:
        return None
    for task in _TASKS.iterdir():  # NumPy has started the threads of its BLAS already
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), mine)
    return sorted(mine)


def share(
    allowed: Sequence[int], local_rank: int, local_size: int, threads: int
) -> list[int] | None:
    """Which cores a rank gets; None where they do not suffice for all.

    >>> share([0, 1, 2, 3], local_rank=1, local_size=2, threads=2)
    [2, 3]
    """
    if local_size * threads > len(allowed):
        return None
    return list(allowed[local_rank * threads : (local_rank + 1) * threads])


def whole_cores_first(cpus: Sequence[int], groups: Sequence[Sequence[int]]) -> list[int]:
    """Order processors so that no two of the first ones are hardware threads of one core.

    >>> whole_cores_first([0, 1, 2, 3], [[0, 1], [2, 3]])
    [0, 2, 1, 3]
    """
    place = {cpu: number for group in groups for number, cpu in enumerate(sorted(group))}
    return sorted(cpus, key=lambda cpu: (place.get(cpu, 0), cpu))


def siblings() -> list[list[int]]:
    """The hardware threads of every core; empty where the system does not tell."""
    found = set()
    for path in _CPUS.glob("cpu[0-9]*/topology/thread_siblings_list"):
        with contextlib.suppress(OSError, ValueError):
            found.add(tuple(_numbers(path.read_text(encoding="ascii"))))
    return [list(group) for group in sorted(found)]


def _numbers(text: str) -> list[int]:
    """The numbers of a list such as ``0-2,8``."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found
