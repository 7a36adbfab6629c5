"""One contender of gpu_step.py in a process of its own; it answers requests as step_worker.py."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

from gpu_cases import batches, from_dict
from step_worker import serve


class GpuWorker:
    """A contender and its batches, which lie in the memory of the device."""

    def __init__(self, spec: dict[str, Any]) -> None:
        case = from_dict(spec["case"])
        self.step = importlib.import_module(spec["module"]).make(case, **spec["options"])
        self.feed = [self.step.prepare(batch) for batch in batches(case)]
        self.requests = {
            "losses": self.losses,
            "turn": self.turn,
            "counts": lambda: self.step.counts(),
            "profile": lambda steps: self.step.profile(steps),
            "roofs": lambda rounds: self.step.roofs(rounds),
            "memory": lambda: self.step.memory(),
        }

    def losses(self, steps: int) -> dict[str, Any]:
        """Take the first steps, and say how long they took with what is compiled in them."""
        started = time.perf_counter()
        losses = [self.step.value(self.step(batch)) for batch in self.feed[:steps]]
        return {"losses": losses, "seconds": time.perf_counter() - started}

    def turn(self, start: int, repeats: int) -> dict[str, Any]:
        """Take a step that is not timed, then some in a row, as a training does: without a look."""
        self.step(self.feed[start % len(self.feed)])
        self.step.wait()
        started = time.perf_counter()
        for i in range(1, repeats + 1):
            self.step(self.feed[(start + i) % len(self.feed)])
        self.step.wait()
        return {"milliseconds": [1e3 * (time.perf_counter() - started) / repeats]}


if __name__ == "__main__":
    sys.exit(serve(GpuWorker))
