"""What bytes and accuracy sums of gradients in half precision have, against exact ones.

    mpirun -n 2 python benchmarks/half_precision.py [--json FILE]

Sums over the ranks by the ``mpi`` communicator, all ranks on one machine or not, of

- normal numbers, 10^6 on each rank;
- gradients of an MLP on the digits (64-256-256-10, 16 samples per rank), after 0, 10, 50 and 200
  steps, each array by itself.

The error is |sum - exact| / |exact| in Euclid's norm, where exact is the sum in float64. Its bound
is that of two roundings, u (|g_0| + ... + |g_W-1|) / |exact| + u, so that it grows where gradients
of different ranks cancel; that of exact sums has a rounding for each rank but one. An error above
its bound ends the program with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environment import describe, lines
from mpi4py import MPI

import hpcad
from hpcad import nn, optim
from hpcad.backend.native.half import FORMATS
from hpcad.models import MLP, MLPConfig
from hpcad.parallel.gradients.half_reducer import half_reducer_of
from hpcad.parallel.mpi import MpiCommunicator

WAYS = {"exact (float32)": 2.0**-24} | {name: half.roundoff for name, half in FORMATS.items()}
COUNT, SAMPLES, RATE, TRIES = 1_000_000, 16, 1e-3, 5
LOOKS = (0, 10, 50, 200)  # steps


@dataclass
class Sums:
    """What one way made of several sums.

    Attributes
    ----------
    errors, bounds : list of float
    sent : int
        Bytes from this rank to others.
    seconds : float
        Of the slowest rank.
    """

    errors: list[float]
    bounds: list[float]
    sent: int = 0
    seconds: float = 0.0


class Bench:
    """Sums of the same numbers in every way."""

    def __init__(self) -> None:
        self.group = MpiCommunicator(MPI.COMM_WORLD.Dup(), "half precision")
        self.half = {name: half_reducer_of(self.group, half) for name, half in FORMATS.items()}

    def measure(self, arrays: list[np.ndarray]) -> dict[str, Sums]:
        """Sum up each array in each way."""
        found = {way: Sums([], []) for way in WAYS}
        for array in arrays:
            exact = array.astype(np.float64)
            norms = np.array([np.linalg.norm(exact)])
            self.group.allreduce(exact)
            self.group.allreduce(norms)
            whole = float(np.linalg.norm(exact))
            if whole == 0.0:
                continue
            for way, u in WAYS.items():
                total = self._timed(way, array, found[way])
                found[way].errors.append(float(np.linalg.norm(total - exact)) / whole)
                roundings = self.group.size - 1 if way not in FORMATS else 1
                found[way].bounds.append(roundings * u * (float(norms[0]) / whole + 1))
        return found

    def _timed(self, way: str, array: np.ndarray, sums: Sums) -> np.ndarray:
        best = np.array([np.inf])
        reducer: Any = self.half.get(way, self.group)
        before = getattr(reducer, "bytes_sent", 0)
        for _ in range(TRIES):
            total = array.copy()
            self.group.barrier()
            started = time.perf_counter()
            reducer.iallreduce(total).wait()
            best[0] = min(best[0], time.perf_counter() - started)
        self.group.allreduce(best, "max")
        sums.seconds += float(best[0])
        if way in FORMATS:
            sums.sent += (reducer.bytes_sent - before) // TRIES
        else:
            sums.sent += 2 * (self.group.size - 1) * array.nbytes // self.group.size
        return total


def gradients(world: Any, group: MpiCommunicator) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Gradients of this rank's samples, while all ranks train on the exact mean."""
    data = hpcad.open_dataset("builtin:digits/train", world.communicator)
    model = MLP(MLPConfig([256, 256]), 64, 10)
    model.initialize(1)
    optimizer = optim.Adam(model, RATE)
    rng = np.random.default_rng([1, world.rank])
    for step in range(max(LOOKS) + 1):
        batch = data.read(rng.integers(len(data), size=SAMPLES))
        x = (batch["x"].reshape(SAMPLES, -1) / 16).astype(np.float32)
        nn.cross_entropy(model(x), batch["y"]).backward()
        if step in LOOKS:
            yield step, [np.ascontiguousarray(p.grad).ravel().copy() for p in model.parameters()]
        for parameter in model.parameters():
            group.allreduce(parameter.grad)
            parameter.grad[...] /= world.size
        optimizer.step()


def main() -> None:
    """Measure, print a table, check the bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    world = hpcad.init()
    if world.size == 1:
        sys.exit("one rank sends nothing; start this under mpirun -n 2")
    bench = Bench()
    normal = np.random.default_rng([0, world.rank]).standard_normal(COUNT, np.float32)
    found = {"normal numbers": bench.measure([normal])}
    for step, arrays in gradients(world, bench.group):
        found[f"MLP, step {step}"] = bench.measure(arrays)
    if world.is_root:
        _print(world, found)
        if options.json:
            text = {of: {way: asdict(sums) for way, sums in ways.items()}
                    for of, ways in found.items()}  # fmt: skip
            options.json.write_text(json.dumps({"machine": describe(), "sums": text}, indent=1))
    within = [
        error <= 1.001 * bound
        for ways in found.values()
        for sums in ways.values()
        for error, bound in zip(sums.errors, sums.bounds, strict=True)
    ]
    sys.exit(0 if all(within) else "an error is larger than its bound")


def _print(world: Any, found: dict[str, dict[str, Sums]]) -> None:
    print(*lines(describe()), sep="\n")
    print(f"# {world.size} ranks, {world.mpi_library}")
    head = f"{'bytes sent':>10} {'of exact':>8} {'mean error':>10} {'largest':>9} {'bound':>9}"
    print(f"{'sums of':<16} {'sent in':<16} {head} {'ms':>7}")
    for of, ways in found.items():
        exact = next(iter(ways.values()))
        for way, sums in ways.items():
            at = int(np.argmax(sums.errors))
            print(
                f"{of:<16} {way:<16} {sums.sent:>10} {sums.sent / exact.sent:>7.1%} "
                f"{np.mean(sums.errors):>10.2e} {sums.errors[at]:>9.2e} {sums.bounds[at]:>9.2e} "
                f"{1e3 * sums.seconds:>7.2f}"
            )


if __name__ == "__main__":
    main()
