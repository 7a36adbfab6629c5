"""What simulation_local.py measures on P ranks: products, memory and reductions, and no training.

    mpirun -n 4 python benchmarks/simulation_local_worker.py --bytes 4000000 --out FILE [--pin]

Products and memory are measured while all ranks do the same for a while, by what they got done: the
share of a core that a rank has counts, and not what it could do with a core of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 192  # of the matrices: three of them lie in a core's own cache
SECONDS = 0.5  # of one measurement
ROUNDS = 21  # of one length of message
FEWEST_BYTES = 1 << 10


def main() -> None:
    """Measure, and write it on rank 0."""
    options = _options()
    if options.pin:
        from hpcad.parallel.launcher import detect
        from hpcad.scaling.study.pinning import pin

        launcher = detect(os.environ)
        if launcher is not None and launcher.local_rank is not None:
            pin(launcher.local_rank, launcher.local_size or 1, options.threads)
    import hpcad

    world = hpcad.init()
    found = {
        "ranks": world.size,
        "flops": _mean(world, _products()),
        "memory_bandwidth": _mean(world, _triad(options.bytes)),
        "reductions": reductions(world, options.bytes) if world.size > 1 else [],
    }
    if world.is_root:
        options.out.write_text(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--bytes", type=int, required=True, help="of all gradients")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def _products() -> tuple[Callable[[], Any], float]:
    a, b = (np.full((SIDE, SIDE), value, np.float32) for value in (0.5, 0.25))
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out), 2.0 * SIDE**3


def _triad(nbytes: int) -> tuple[Callable[[], Any], float]:
    """``a = b + s c`` on arrays as long as the gradients: in the caches where those are."""
    count = max(nbytes // 4, FEWEST_BYTES)
    a, b, c = (np.ones(count, np.float32) for _ in range(3))

    def run() -> None:
        np.multiply(c, np.float32(3), out=a)
        np.add(a, b, out=a)

    return run, 5.0 * a.nbytes


def _mean(world: Any, work: tuple[Callable[[], Any], float]) -> float:
    """Operations or bytes per second of a rank while all ranks do the same."""
    run, amount = work
    run()
    world.communicator.barrier()
    started, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < SECONDS:
        run()
        done += 1
    total = np.array([done * amount / elapsed])
    world.communicator.allreduce(total, "sum")
    return float(total[0]) / world.size


def reductions(world: Any, longest: int) -> list[tuple[int, float]]:
    """Bytes and seconds of reductions: the median over rounds of the slowest rank's time."""
    found = []
    nbytes = FEWEST_BYTES
    while True:
        array = world.communicator.allocate(nbytes).view(np.float32)
        array[...] = 0
        seconds = []
        for _ in range(ROUNDS):
            world.communicator.barrier()
            started = time.perf_counter()
            world.communicator.iallreduce(array, "sum", "sweep").wait()
            taken = np.array([time.perf_counter() - started])
            world.communicator.allreduce(taken, "max")
            seconds.append(float(taken[0]))
        found.append((nbytes, float(np.median(seconds))))
        if nbytes >= longest:
            return found
        nbytes = min(4 * nbytes, -(-longest // 64) * 64)


if __name__ == "__main__":
    main()
