"""One rank, or one process alone, which takes steps when data_parallel.py asks for them.

Started with one argument, a JSON object: ``socket`` (where to call the program that asks), ``side``
(``hpcad`` or ``torch``), ``case``, ``ranks``, ``rank`` (absent under mpirun), ``cores`` (one per
rank), ``store`` (a file by which PyTorch's processes meet) and ``options``. Between requests it
sleeps in the kernel, so the contenders do not disturb one another.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any


def main() -> int:
    """Answer requests until the program that asks hangs up."""
    spec = json.loads(sys.argv[1])
    rank = spec.get("rank")
    if rank is None:
        rank = _launched_rank()
    # Before any library is loaded: some size their thread pools by the cores they may run on.
    os.sched_setaffinity(0, [spec["cores"][rank]])
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(spec["socket"])
        with line.makefile("rw", encoding="utf-8") as talk:
            _say(talk, {"rank": rank})
            _serve(talk, spec, rank)
    return 0


def _serve(talk: Any, spec: dict[str, Any], rank: int) -> None:
    worker: Worker | None = None
    for text in talk:
        request = json.loads(text)
        try:
            if worker is None:
                worker = Worker(spec, rank)
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # noqa: BLE001  # the program that asked reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        _say(talk, answer)


def _say(talk: Any, what: dict[str, Any]) -> None:
    talk.write(json.dumps(what) + "\n")
    talk.flush()


def _launched_rank() -> int:
    from hpcad.parallel.launcher import detect

    found = detect(os.environ)
    if found is None or found.rank is None:
        raise SystemExit("the launcher of this rank is unknown")
    return found.rank


class Worker:
    """A rank's step and its batches."""

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        from step_cases import CASES, batches

        case = CASES[spec["case"]]
        make = {"hpcad": _hpcad, "torch": _torch}[spec["side"]]
        self.step, prepare, self.exposed = make(case, spec, rank)
        # Every rank has batches of its own: global batch i is their i-th batches together.
        self.feed = [prepare(batch) for batch in batches(case)[rank :: spec["ranks"]]]

    def losses(self, steps: int) -> dict[str, Any]:
        """Take the first steps."""
        return {"losses": [self.step(batch) for batch in self.feed[:steps]]}

    def turn(self, start: int, repeats: int) -> dict[str, Any]:
        """Take one step that is not timed (caches hold another's data) and some that are."""
        self.step(self.feed[start % len(self.feed)])
        milliseconds, exposed = [], []
        for i in range(1, repeats + 1):
            batch = self.feed[(start + i) % len(self.feed)]
            before = self.exposed()
            started = time.perf_counter()
            self.step(batch)
            milliseconds.append(1e3 * (time.perf_counter() - started))
            exposed.append(1e3 * (self.exposed() - before))
        return {"milliseconds": milliseconds, "exposed": exposed}


Made = tuple[Callable[[Any], float], Callable[[Any], Any], Callable[[], float]]


def _hpcad(case: Any, spec: dict[str, Any], _rank: int) -> Made:
    from hpcad_steps import HpcadStep

    import hpcad

    world = hpcad.init()
    if world.size != spec["ranks"]:
        raise RuntimeError(f"{spec['ranks']} ranks were started, but {world.size} are in the world")
    step = HpcadStep(case, world=world if world.size > 1 else None, **spec["options"])
    engine = step.engine
    return step, step.prepare, lambda: engine.exposed_seconds if engine else 0.0


def _torch(case: Any, spec: dict[str, Any], rank: int) -> Made:
    import torch
    from torch.nn.parallel import DistributedDataParallel
    from torch_steps import TorchStep

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    step = TorchStep(case, optimizer="fused")
    if spec["ranks"] > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{spec['store']}", rank=rank, world_size=spec["ranks"]
        )
        step.model = DistributedDataParallel(step.model, **spec["options"])
    return step, step.prepare, lambda: 0.0


if __name__ == "__main__":
    sys.exit(main())
