"""One point of a scaling study: the program that runs on every rank.

    mpirun -n P python benchmarks/scaling_worker.py --model mlp --batch 256 --out FILE

strong_scaling.py and weak_scaling.py start it. Rank 0 writes the samples of all ranks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from scaling_cases import CASES, make_batches, part
from threadpoolctl import threadpool_info

import hpcad
from hpcad import optim
from hpcad.backend.allocator import keep_large_blocks
from hpcad.parallel import DataParallel

PARTS = ("forward", "backward", "exposed", "optimizer")
LEARNING_RATE = 1e-4


def main() -> None:
    """Warm up, time the steps, gather what every rank saw."""
    options = _options()
    keep_large_blocks()
    world = hpcad.init()
    case = CASES[options.model]
    model = case.make()
    model.initialize(1)
    engine = DataParallel(model, world)
    optimizer = optim.Adam(model, LEARNING_RATE)
    mine = part(options.batch, world.rank, world.size)
    weight = len(mine) / options.batch
    batches = make_batches(case, options.batch, mine)
    losses, seconds = [], []
    parts: dict[str, list[float]] = {name: [] for name in PARTS}
    for k in range(options.warmup + options.steps):
        batch = batches[k % len(batches)]
        world.communicator.barrier("start of a step")
        began = time.perf_counter()
        loss, spent = _step(model, engine, optimizer, batch, weight * world.size)
        whole = time.perf_counter() - began
        losses.append(float(loss) * weight)
        if k >= options.warmup:
            seconds.append(whole)
            for name in PARTS:
                parts[name].append(spent[name])
    found = {
        "seconds": seconds, "losses": losses, **parts, "samples": len(mine), "host": world.host,
        "parameters": _digest(engine),
        "blas_threads": [e["num_threads"] for e in threadpool_info() if e["user_api"] == "blas"],
    }  # fmt: skip
    ranks = world.communicator.gather_json(found, "samples of a scaling point")
    if world.is_root:
        result = {"ranks": world.size, "mpi": world.mpi_library, "per_rank": ranks}
        Path(options.out).write_text(json.dumps(result))


def _step(
    model: Any, engine: DataParallel, optimizer: optim.Optimizer, batch: Any, scale: float
) -> tuple[Any, dict[str, float]]:
    """One step as the trainer takes it; its loss, and the seconds of its parts."""
    times = [time.perf_counter()]
    loss = model.loss(batch)
    # The engine averages over ranks; the scale makes that the mean over all samples.
    scaled = loss * scale
    times.append(time.perf_counter())
    scaled.backward()
    times.append(time.perf_counter())
    optimizer.step()
    times.append(time.perf_counter())
    forward, backward, update = (b - a for a, b in pairwise(times))
    exposed, engine.exposed_seconds = engine.exposed_seconds, 0.0
    return loss, {
        "forward": forward,
        "backward": backward - exposed,
        "exposed": exposed,
        "optimizer": update,
    }


def _digest(engine: DataParallel) -> str:
    """Digest of all parameters: the ranks must end with the same bits."""
    digest = hashlib.blake2b(digest_size=16)
    for arena in engine.arenas:
        digest.update(arena.values.flat)
    return digest.hexdigest()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=CASES, required=True)
    parser.add_argument("--batch", type=int, required=True, help="of all ranks together")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--out", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
