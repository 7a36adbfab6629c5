"""One contender in a process of its own, which takes steps when step_time.py asks for them.

Started by step_pool.py with one argument, a JSON object: ``case``, ``module`` and ``options`` (what
makes the contender), ``cores`` (the only ones it may run on), ``threads`` and ``clock``. Requests
and answers are lines of JSON on standard input and output; what libraries print goes to standard
error.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

# The processor time of all threads together does not count the time in which other programs had
# the cores: a way to compare single threads on a machine that is busy.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> int:
    """Answer requests until standard input ends."""
    return serve(Worker)


def serve(make: Callable[[dict[str, Any]], Any]) -> int:
    """Answer the requests of what ``make`` makes of the process's argument, as its ``requests``."""
    spec = json.loads(sys.argv[1])
    # Before any library is loaded: some size their thread pools by the cores they may run on.
    os.sched_setaffinity(0, spec["cores"])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker: Any = None
    requests: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if worker is None:
                worker = make(spec)
                requests |= worker.requests
            answer = requests[request.pop("do")](**request)
        except Exception as error:  # noqa: BLE001  # the program that asked reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


class Worker:
    """The contender and its batches."""

    def __init__(self, spec: dict[str, Any]) -> None:
        from step_cases import CASES, batches

        case = CASES[spec["case"]]
        make = importlib.import_module(spec["module"]).make
        self.clock = CLOCKS[spec["clock"]]
        self.step = make(case, spec["threads"], **spec["options"])
        self.feed = [self.step.prepare(batch) for batch in batches(case)]
        self.requests = {
            "losses": self.losses,
            "turn": self.turn,
            "profile": self.profile,
            "memory": memory,
        }

    def losses(self, steps: int) -> dict[str, Any]:
        """Take the first steps; the first of their times contain what is compiled on first use."""
        losses, seconds = [], []
        for batch in self.feed[:steps]:
            started = time.perf_counter()
            losses.append(self.step(batch))
            seconds.append(time.perf_counter() - started)
        return {"losses": losses, "seconds": seconds}

    def turn(self, start: int, repeats: int) -> dict[str, Any]:
        """Take one step that is not timed (caches hold another's data) and some that are."""
        self.step(self.feed[start % len(self.feed)])
        milliseconds = []
        busy = time.process_time()
        began = time.perf_counter()
        for i in range(1, repeats + 1):
            batch = self.feed[(start + i) % len(self.feed)]
            started = self.clock()
            self.step(batch)
            milliseconds.append(1e3 * (self.clock() - started))
        cores = (time.process_time() - busy) / (time.perf_counter() - began)
        return {"milliseconds": milliseconds, "cores": cores}

    def profile(self, steps: int) -> dict[str, Any]:
        """Where the time of a step goes; empty where the contender cannot say."""
        found = getattr(self.step, "profile", None)
        return {"kinds": found(steps) if found else []}


def memory() -> dict[str, Any]:
    """Most memory that the process ever held, in bytes, and its page faults."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"peak_bytes": 1024 * usage.ru_maxrss, "minor_faults": usage.ru_minflt}


if __name__ == "__main__":
    sys.exit(main())
