"""What simulation_local.py measures on P ranks: products, memory and reductions, and no training.

    mpirun -n 4 python benchmarks/simulation_local_worker.py --bytes 4000000 --out FILE [--pin]

Products and memory are measured while all ranks do the same for a while, by what they got done: the
share of a core that a rank has counts, and not what it could do with a core of its own. Reductions
follow products that take one rank as long as a step of the study.
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
ROUNDS = 15
FEWEST_BYTES = 1 << 10


def main() -> None:
    """Measure, and write it on rank 0."""
    options = _options()
    if options.pin:
        _pin(options.threads)
    import hpcad

    world = hpcad.init()
    rate = _mean(world, _products())
    products = max(1, round(options.seconds * (options.flops or rate) / _products()[1]))
    alone, reduced = reductions(world, products, options.bytes)
    found = {
        "ranks": world.size,
        "flops": rate,
        "memory_bandwidth": _mean(world, _triad(options.bytes)),
        "computing": alone,
        "reductions": reduced,
    }
    if world.is_root:
        options.out.write_text(json.dumps(found))


def _pin(threads: int) -> None:
    """Keep this rank on cores of its own, as a study does; all ranks are on this machine."""
    from hpcad.parallel.launcher import detect
    from hpcad.scaling.study.pinning import pin

    launcher = detect(os.environ)
    if launcher is not None and launcher.local_rank is not None:
        pin(launcher.local_rank, launcher.size or 1, threads)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--bytes", type=int, required=True, help="of all gradients")
    parser.add_argument(
        "--seconds", type=float, default=0.002, help="of computing before a reduction, on one rank"
    )
    parser.add_argument("--flops", type=float, help="per second, of one rank alone")
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


def reductions(world: Any, products: int, nbytes: int) -> tuple[float, list[tuple[int, float]]]:
    """Seconds of the products alone, and bytes and seconds of reductions that follow them.

    As in a training step: every rank computes, and then all reduce. What a reduction takes is what
    it adds, and so is waiting for ranks whose core has had others to serve. Medians over rounds of
    the slowest rank's time; the ways take turns.
    """
    multiply, _ = _products()
    arrays = [None]
    for size in (FEWEST_BYTES, -(-nbytes // 64) * 64) if world.size > 1 else ():
        arrays.append(world.communicator.allocate(size).view(np.float32))
        arrays[-1][...] = 0
    seconds: list[list[float]] = [[] for _ in arrays]
    for _ in range(ROUNDS):
        for array, found in zip(arrays, seconds, strict=True):
            world.communicator.barrier()
            started = time.perf_counter()
            for _ in range(products):
                multiply()
            if array is not None:
                world.communicator.iallreduce(array, "sum", "sweep").wait()
            taken = np.array([time.perf_counter() - started])
            world.communicator.allreduce(taken, "max")
            found.append(float(taken[0]))
    alone, *others = (float(np.median(found)) for found in seconds)
    sizes = [array.nbytes for array in arrays if array is not None]
    return alone, [(n, max(t - alone, 1e-6)) for n, t in zip(sizes, others, strict=True)]


if __name__ == "__main__":
    main()
