"""Steps of a communication-bound model with and without overlap, in turn. Started on two hosts.

    mpirun -n 2 python step_worker.py STEPS WAY [WAY ...]

WAY is ``after`` (reductions start when the backward pass has ended), or the way progress is made
during it: ``auto``, ``poll``, ``thread``. The batch is so large that computing takes a little
longer than the reductions, if the machine is left alone. Rank 0 prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

import hpcad
from hpcad import optim
from hpcad.models import MLP, MLPConfig
from hpcad.parallel import DataParallel, World
from hpcad.parallel.gradients.fit import measured_fit

WIDTH, LAYERS = 1024, 12


class Way:
    """A model that is trained in one of the ways."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.model = MLP(MLPConfig([WIDTH] * (LAYERS - 1)), WIDTH, WIDTH)
        self.model.initialize(1)
        overlap = name != "after"
        progress = name if overlap else "poll"
        self.engine = DataParallel(self.model, world, overlap=overlap, progress=progress)
        self.optimizer = optim.SGD(self.model, 1e-3)
        self.seconds: list[float] = []
        self.losses: list[float] = []

    def step(self, x: Any, y: Any, *, reduces: bool = True) -> float:
        """Take one step in all ranks together; return how long the slowest of them took."""
        self.world.communicator.barrier()
        started = time.perf_counter()
        loss = self.model.loss({"x": x, "y": y})
        if reduces:
            loss.backward()
            self.optimizer.step()
        else:
            with self.engine.no_sync():
                loss.backward()
            for parameter in self.model.parameters():
                parameter.fresh = False
        slowest = np.array([time.perf_counter() - started])
        self.losses.append(float(loss.value))
        self.world.communicator.allreduce(slowest, "max")
        return float(slowest[0])


def main() -> None:
    """Measure, and print what was found."""
    steps, names = int(sys.argv[1]), sys.argv[2:]
    world = hpcad.init()
    ways = {name: Way(world, name) for name in names}
    x, y = balanced_batch(world, ways[names[0]])
    for i in range(2 + steps):
        for way in ways.values():
            way.seconds.append(way.step(x, y))
        if i < 2:
            for way in ways.values():
                way.seconds.clear()
    final = {name: way.losses[-1] for name, way in ways.items()}
    alone = [ways[names[0]].step(x, y, reduces=False) for _ in range(steps)]
    found = {name: _found(way) for name, way in ways.items()}
    if world.is_root:
        print(
            json.dumps(
                {
                    "nodes": world.nodes,
                    "fit": str(measured_fit(world.communicator)),
                    "samples": len(x),
                    "compute": float(np.median(alone)),
                    "losses": final,
                    "ways": found,
                }
            )
        )


def balanced_batch(world: World, way: Way) -> tuple[np.ndarray, np.ndarray]:
    """Samples with which forward and backward pass take 1.25 times as long as the reductions."""
    x, y = batch(world, 256)
    way.step(x, y)
    overlap = way.engine.overlap_summary()
    assert overlap is not None
    compute = min(way.step(x, y, reduces=False) for _ in range(6))
    samples = np.array([256 * 1.25 * overlap.alone / compute])
    world.communicator.allreduce(samples, "max")
    return batch(world, int(min(max(float(samples[0]), 64.0), 4096.0)))


def batch(world: World, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Random samples of this rank."""
    rng = np.random.default_rng(world.rank)
    x = rng.standard_normal((samples, WIDTH)).astype(np.float32)
    return x, rng.integers(WIDTH, size=samples)


def _found(way: Way) -> dict[str, Any]:
    overlap = way.engine.overlap_summary()
    assert overlap is not None
    return {
        "step": float(np.median(way.seconds)),
        "steps": way.seconds,
        "how": way.engine.describe(),
        "overlap": str(overlap),
        "alone": overlap.alone,
        "exposed": overlap.exposed,
        "hidden_share": overlap.share,
    }


if __name__ == "__main__":
    main()
