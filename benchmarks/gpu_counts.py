"""What a step makes the host wait for, and how often it allocates."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hpcad.program.cuda.launch import load
from hpcad.program.cuda.routines.hold import hold

HELD = 0.5  # seconds; a step that waits for the device takes longer than that


def counts_of(xp: Any, step: Callable[[], object]) -> dict[str, Any]:
    """Take a step while the device is held back, and see whether the host comes back before it.

    CUDA tells nobody how often it was waited for. But a step that waits for anything on its stream
    cannot return while the stream is held by a kernel that takes half a second, and one that
    does return has not waited.

    Returns
    -------
    dict
        ``waits`` (bool), ``host_seconds`` (that the step took to give its work to the device),
        ``allocations``; on the strict device, which does count, the counts as well.
    """
    device, released = xp.cuda.Device(), xp.cuda.Event()
    held = load([hold()], xp)[0].bind([], [int(1e9 * HELD)])
    step()  # what is measured, loaded or captured at first use
    step()
    device.synchronize()
    held()
    released.record()
    allocate, count = xp.cuda.get_allocator(), [0]

    def counted(nbytes: int) -> Any:
        count[0] += 1
        return allocate(nbytes)

    strict = getattr(xp, "COUNTS", None)
    before = strict.copy() if strict is not None else None
    started = time.perf_counter()
    with xp.cuda.using_allocator(counted):
        answer = step()
    seconds = time.perf_counter() - started
    waits = bool(released.done)
    found = {"waits": waits, "host_seconds": seconds, "allocations": count[0]}
    if strict is not None and before is not None:
        found |= vars(strict - before)  # the strict device is never behind, so it does not wait
        found["waits"] = found["synchronisations"] > 0
    device.synchronize()
    del answer
    return found
