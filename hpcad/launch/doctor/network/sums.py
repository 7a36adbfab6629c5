"""What an allreduce costs, on the communicator that training uses.

The bus bandwidth is the allreduce's bytes per second times 2 (n - 1) / n: what each of n ranks must
at least send, whatever the algorithm, so it can be compared with the bandwidth of a link and
between numbers of ranks. It is what nccl-tests print under that name
(https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from hpcad.backend import get_backend
from hpcad.errors import HpcadError
from hpcad.launch.doctor.facts import Sum
from hpcad.parallel import World, device
from hpcad.parallel.devices.choice import device_choice

SIZES = (8, 1 << 16, 1 << 22)  # bytes
_REPEATS = 5
_BUDGET = 0.2  # seconds for a size
_NAME = "measuring allreduce"


def on_hosts(world: World) -> list[Sum]:
    """Sums of arrays in host memory; none in a world of one. Collective, equal on all ranks."""
    if world.size == 1:
        return []
    where = f"host memory, communicator {world.communicator.kind!r}"
    return _measured(world.communicator, world.communicator, where)


def on_devices(world: World) -> tuple[list[Sum], str]:
    """Sums of arrays on devices, the way that training would take; and why there are none.

    Collective, equal on all ranks. Takes the device of this rank. Not yet proven on a GPU.
    """
    if world.size == 1:
        return [], ""
    try:
        if device.choose("auto", world.local_rank, world.communicator) == "cpu":
            return [], ""
        choice = device_choice(world.communicator, get_backend("gpu").xp)
    except HpcadError as error:  # on every rank
        return [], str(error)
    return _measured(choice.timed, world.communicator, f"devices, {choice.reason}"), ""


def _measured(reducer: Any, host: Any, where: str) -> list[Sum]:
    memory = reducer.allocate(SIZES[-1]).view(np.float32)
    return [Sum(where, n, _seconds(reducer, host, memory[: n // 4])) for n in SIZES]


def _seconds(reducer: Any, host: Any, array: Any) -> float:
    """Of the slowest rank, the best of a few, of which the first opens connections."""
    best, spent = np.inf, 0.0
    for i in range(1 + _REPEATS):
        host.barrier(_NAME)
        started = time.perf_counter()
        reducer.allreduce(array, "sum", _NAME)
        slowest = np.array([time.perf_counter() - started])
        host.allreduce(slowest, "max", _NAME)
        spent += float(slowest[0])
        best = min(best, float(slowest[0]))
        if i and spent > _BUDGET:
            break
    return best
