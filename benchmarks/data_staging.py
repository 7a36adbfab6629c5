"""What staging costs beside a plain copy, and a distributed store beside the files.

    python benchmarks/data_staging.py [--mib 1024] [--per-node 1]
    mpirun -n 4 python benchmarks/data_staging.py --per-node 2

Shards of random float32 samples of 64 KiB are written to a temporary directory, which leaves them
in the page cache, and copied to ``/dev/shm``. So many ranks count as a node, with a directory of
its own: copies to several nodes are written to one memory here. In each of three rounds every way
has its turn.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import hpcad
from hpcad.data import DatasetWriter, DistributedStore, FieldSpec, Loader, open_dataset, stage
from hpcad.data.dataset import Dataset

ROUNDS = 3
BATCH = 64  # samples a rank
STEPS = 40
SAMPLE = (128, 128)

Seconds = dict[str, list[float]]  # of each way, in every round


def write(place: Path, mib: int) -> None:
    """A dataset of about so many MiB, in shards of 128 MiB."""
    rng = np.random.default_rng(0)
    fields = {"x": FieldSpec(SAMPLE, np.dtype("<f4")), "y": FieldSpec((), np.dtype("<i8"))}
    with DatasetWriter(place, fields, shard_samples=2048) as writer:
        for _ in range(max(1, mib // 16)):
            writer.append({"x": rng.random((256, *SAMPLE), np.float32), "y": np.arange(256)})
        writer.finish()
        writer.commit()


def measure(
    source: Path, local: Path, per_node: int, rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Seconds of each way in every round; of the reading ones, seconds a batch."""
    world = hpcad.init()
    ranks, node = world.communicator, world.rank // per_node
    dataset = open_dataset(source, ranks, verify=False)
    store = DistributedStore(dataset, ranks, node)
    found: Seconds = {}

    def timed(name: str, action: Callable[[], object], calls: int = 1) -> None:
        ranks.barrier()
        began = time.perf_counter()
        action()
        ranks.barrier()
        found.setdefault(name, []).append((time.perf_counter() - began) / calls)

    for turn in range(rounds):
        if world.is_root:
            began = time.perf_counter()
            shutil.copytree(source, local / "plain")
            found.setdefault("plain copy, one process", []).append(time.perf_counter() - began)
            shutil.rmtree(local / "plain")
        place = local / f"node{node}"
        timed("stage", lambda place=place: stage(source, place, ranks, node))
        timed("stage again (compare)", lambda place=place: stage(source, place, ranks, node))
        ranks.barrier()
        if world.rank % per_node == 0:
            shutil.rmtree(place)
        for name, data in (("batch from files", dataset), ("batch from store", store)):
            timed(name, lambda data=data, turn=turn: read(data, turn), STEPS)
    return found


def read(data: Dataset, seed: int) -> None:
    """Some batches in random order, read when asked."""
    world = hpcad.init()
    where = {"rank": world.rank, "size": world.size, "seed": seed, "prefetch": 0}
    with Loader(data, BATCH * world.size, **where) as loader:
        for _ in range(STEPS):
            next(loader)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--per-node", type=int, default=1, help="ranks that count as a node")
    options = parser.parse_args()
    world = hpcad.init()
    with (
        tempfile.TemporaryDirectory() as own,
        tempfile.TemporaryDirectory(dir="/dev/shm") as memory,
    ):
        source, local = map(Path, world.communicator.broadcast_json([own, memory]))
        if world.is_root:
            write(source / "set", options.mib)
        world.communicator.barrier()
        found = measure(source / "set", local, options.per_node)
        world.communicator.barrier()
    if world.is_root:
        print(f"{world.size} ranks, {options.per_node} a node, {options.mib} MiB")
        for name, seconds in found.items():
            unit, scale = ("ms", 1e3) if name.startswith("batch") else ("s", 1.0)
            shown = ", ".join(f"{scale * value:.2f}" for value in sorted(seconds))
            print(f"{name:<26}{shown} {unit}")


if __name__ == "__main__":
    main()
