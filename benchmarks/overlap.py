"""How much of the gradients' reduction hides behind the backward pass, compiled against eager.

    OPENBLAS_NUM_THREADS=1 mpirun -n 2 python benchmarks/overlap.py [--json FILE]

An MLP of four 1024 x 1024 layers (4.2 million parameters, 16.8 MB of float32 gradients), 256
samples per rank, Adam. The four ways take their steps in turn, in one run. A step counts as long as
the slowest rank needs for it; "exposed" is the time that rank 0 waits for reductions at the end of
its backward pass, and "alone" leaves the reductions out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from environment import describe, lines

import hpcad
from hpcad import optim
from hpcad.models import MLP, MLPConfig
from hpcad.parallel import DataParallel, World
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

WIDTH, SAMPLES, RATE = 1024, 256, 1e-4


class Way:
    """One way to take the same steps, with a model of its own."""

    def __init__(self, world: World, *, compiled: bool, reduces: bool = True) -> None:
        self.world, self.reduces = world, reduces
        self.model = MLP(MLPConfig([WIDTH] * 3), WIDTH, WIDTH)
        self.model.initialize(1)
        self.engine = DataParallel(self.model, world)
        self.optimizer = optim.Adam(self.model, RATE)
        self.run: Callable[..., Any] = self.step
        if compiled:
            self.run = Compiled(self.step, Options(strict=True, ahead=True))
        self.seconds: list[float] = []
        self.exposed: list[float] = []
        self.losses: list[float] = []

    def step(self, x: Any, y: Any) -> Any:
        loss = self.model.loss({"x": x, "y": y})
        if self.reduces:
            loss.backward()
        else:
            with self.engine.no_sync():
                loss.backward()
        self.optimizer.step()
        return loss.detach()

    def measure(self, x: Any, y: Any) -> None:
        """Take one step, in all ranks together."""
        self.world.communicator.barrier()
        self.engine.exposed_seconds = 0.0
        started = time.perf_counter()
        self.losses.append(float(self.run(x, y)))
        slowest = np.array([time.perf_counter() - started])
        self.exposed.append(self.engine.exposed_seconds)
        self.world.communicator.allreduce(slowest, "max")
        self.seconds.append(float(slowest[0]))

    def forget(self) -> None:
        """Leave out what was measured so far."""
        self.seconds.clear()
        self.exposed.clear()


def main() -> None:
    """Measure, check that both computed the same, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    world = hpcad.init()
    ways = {
        "eager": Way(world, compiled=False),
        "compiled": Way(world, compiled=True),
        "eager, alone": Way(world, compiled=False, reduces=False),
        "compiled, alone": Way(world, compiled=True, reduces=False),
    }
    rng = np.random.default_rng(world.rank)
    x = rng.standard_normal((SAMPLES, WIDTH)).astype(np.float32)
    y = rng.integers(WIDTH, size=SAMPLES)
    for i in range(5 + options.steps):
        for way in ways.values():
            if i == 5:
                way.forget()
            way.measure(x, y)
    first = [ways[name].losses[:10] for name in ("compiled", "eager")]  # then rounding grows
    np.testing.assert_allclose(*first, rtol=1e-5)
    if world.is_root:
        _print(world, ways)
        if options.json:
            found = {n: {"seconds": w.seconds, "exposed": w.exposed} for n, w in ways.items()}
            options.json.write_text(json.dumps({"machine": describe(), "ways": found}, indent=1))


def _print(world: World, ways: dict[str, Way]) -> None:
    print(*lines(describe()), sep="\n")
    megabytes = sum(arena.grads.flat.nbytes for arena in ways["eager"].engine.arenas) / 1e6
    buckets = len(ways["eager"].engine.buckets)
    print(f"# {world.size} ranks, {megabytes:.1f} MB of gradients in {buckets} messages, ms")
    print(f"{'way':<16} {'step median':>12} {'10 %':>8} {'exposed median':>15} {'10 %':>8}")
    for name, way in ways.items():
        numbers = [
            1e3 * float(np.quantile(samples, q))
            for samples in (way.seconds, way.exposed)
            for q in (0.5, 0.1)
        ]
        print("{:<16} {:>12.2f} {:>8.2f} {:>15.2f} {:>8.2f}".format(name, *numbers))


if __name__ == "__main__":
    main()
