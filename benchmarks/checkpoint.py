"""Saving a checkpoint: hpcad, torch.save and PyTorch DCP, and what the disk gives, in one run.

    python benchmarks/checkpoint.py [--megabytes 256] [--rounds 12] [--directory DIR] [--json FILE]
    mpirun -n 2 python -m mpi4py benchmarks/checkpoint.py

All save the same arrays (40 of float32), round by round in turn, each into a fresh directory, and
all end with `fsync`. *raw* writes the same bytes in order with `pwrite`, through the page
cache and past it, and does nothing else: the first is the limit that a checkpoint is measured
against. Under mpirun each rank of raw and of hpcad writes its share; torch.save is rank 0's alone,
and DCP is left out, since it would need a process group of its own.

The asynchronous save runs beside steps: matrix products of as many operations as the passes of a
network with these parameters over ``--samples`` samples (6 per parameter and sample), and then a
change of all arrays, as an optimizer makes it. Its *stall* is all the time in calls of the store,
waiting included; *copied* is the stall where all arrays are copied before `save` returns, because
the caller lends none. Steps beside a save and without one are printed as well.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import environment
import numpy as np
from interleaved import in_turn, summarise

import hpcad
from hpcad.checkpoint import CheckpointStore
from hpcad.checkpoint.disk import DISK
from hpcad.checkpoint.saving.part_writer import page_aligned
from hpcad.checkpoint.slices import describe, divide, values

ARRAYS = 40
SIDE = 768  # of the matrices of a step
BLOCK = 8 << 20


class Bench:
    """The contenders; every method that saves returns milliseconds, and all ranks call it."""

    def __init__(self, directory: Path, megabytes: int, samples: int) -> None:
        self.world = hpcad.init()
        self.communicator = self.world.communicator
        self.root = directory
        count = megabytes * 1_000_000 // ARRAYS // 4
        random = np.random.default_rng(0)
        self.arrays = {
            f"parameters/w{i}": random.standard_normal(count, np.float32) for i in range(ARRAYS)
        }
        self.nbytes = sum(array.nbytes for array in self.arrays.values())
        share = divide(describe(self.arrays), self.communicator.size)[self.communicator.rank]
        self.share = values(self.arrays, share)
        total = sum(len(piece) for piece in self.share)
        self.staged = page_aligned(-(-total // 4096) * 4096)
        self.factors = random.standard_normal((SIDE, SIDE), np.float32)
        self.products = max(1, round(6 * samples * self.nbytes / 4 / (2 * SIDE**3)))
        self.waited = self._store("waited")
        self.lent = self._store("lent")
        self.copied = self._store("copied")
        self.plain_step_ms: list[float] = []
        self.beside_step_ms: list[float] = []
        self.until_published_ms: list[float] = []

    # -- limits ---------------------------------------------------------------------------------

    def raw(self, turn: int) -> list[float]:
        """Write the bytes of this rank with pwrite and fsync."""
        path = self._fresh("raw") / f"{self.world.rank}"

        def write() -> None:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            offset = 0
            for piece in self.share:
                _write(descriptor, piece, offset)
                offset += len(piece)
            os.fsync(descriptor)
            os.close(descriptor)

        return [self._timed(write)]

    def raw_direct(self, turn: int) -> list[float]:
        """Write as many bytes past the page cache, from memory that lies as that needs it."""
        path = self._fresh("direct") / f"{self.world.rank}"

        def write() -> None:
            descriptor = DISK.create(path, direct=True)
            for begin in range(0, len(self.staged), BLOCK):
                _write(descriptor, self.staged[begin : begin + BLOCK], begin)
            os.fsync(descriptor)
            os.close(descriptor)

        return [self._timed(write)]

    # -- hpcad ----------------------------------------------------------------------------------

    def synchronous(self, turn: int) -> list[float]:
        """Save and wait."""
        self._fresh("waited")
        return [self._timed(lambda: self.waited.save(turn, self.arrays, {}))]

    def asynchronous(self, turn: int) -> list[float]:
        """Save beside steps; returns the stall."""
        self._fresh("lent")
        stall, total = self._beside(self.lent, turn, lent=list(self.arrays))
        self.until_published_ms.append(total)
        return [stall]

    def asynchronous_copied(self, turn: int) -> list[float]:
        """Save beside steps, copying everything at once; returns the stall."""
        self._fresh("copied")
        return [self._beside(self.copied, turn, lent=())[0]]

    def _beside(
        self, store: CheckpointStore, turn: int, lent: Sequence[str]
    ) -> tuple[float, float]:
        self.communicator.barrier()
        self.plain_step_ms += [self._step(None) for _ in range(2)]
        self.communicator.barrier()  # ranks meet in every step, in the reduction of gradients
        store.save(turn, self.arrays, {}, wait=False, lent=lent)
        saved = None
        while saved is None:
            self.beside_step_ms.append(self._step(store))
            self.communicator.barrier()
            saved = store.poll()
        stall = np.array([saved.held_seconds, saved.seconds])
        self.communicator.allreduce(stall, "max")
        return 1e3 * float(stall[0]), 1e3 * float(stall[1])

    def _step(self, store: CheckpointStore | None) -> float:
        """Compute for a while as a step of training does, and change all arrays in the end."""
        began = time.perf_counter()
        for _ in range(self.products):
            self.factors @ self.factors
        if store is not None:
            store.reclaim()
        for array in self.arrays.values():
            np.negative(array, out=array)
        return 1e3 * (time.perf_counter() - began)

    # -- PyTorch --------------------------------------------------------------------------------

    def torch_save(self, torch: Any) -> Callable[[int], list[float]]:
        """torch.save by rank 0, with fsync."""
        tensors = {name: torch.from_numpy(array) for name, array in self.arrays.items()}

        def turn(turn: int) -> list[float]:
            path = self._fresh("torch") / "a.pt"

            def write() -> None:
                if self.world.is_root:
                    with open(path, "wb") as file:
                        torch.save(tensors, file)
                        file.flush()
                        os.fsync(file.fileno())

            return [self._timed(write)]

        return turn

    def dcp(self, torch: Any) -> Callable[[int], list[float]]:
        """torch.distributed.checkpoint of one process, with its own fsync."""
        import torch.distributed.checkpoint as dcp

        tensors = {name: torch.from_numpy(array) for name, array in self.arrays.items()}

        def turn(turn: int) -> list[float]:
            writer = dcp.FileSystemWriter(self._fresh("dcp"), sync_files=True)
            return [self._timed(lambda: dcp.save(tensors, storage_writer=writer, no_dist=True))]

        return turn

    # -- common ---------------------------------------------------------------------------------

    def _store(self, name: str) -> CheckpointStore:
        return CheckpointStore(self.root / name, communicator=self.communicator)

    def _fresh(self, name: str) -> Path:
        """Return an empty directory; what was removed and written before is on the disk."""
        path = self.root / name
        self.communicator.barrier()
        if self.world.is_root:
            for other in self.root.iterdir():
                shutil.rmtree(other)
            path.mkdir()
            os.sync()
        self.communicator.barrier()
        return path

    def _timed(self, work: Callable[[], Any]) -> float:
        """Milliseconds until the last rank is done."""
        self.communicator.barrier()
        began = time.perf_counter()
        work()
        self.communicator.barrier()
        return 1e3 * (time.perf_counter() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--samples", type=int, default=32, help="per step beside a save")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--directory", type=Path, help="on the file system to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(arguments)
    world = hpcad.init()
    with tempfile.TemporaryDirectory(dir=options.directory) as own:
        root = Path(world.communicator.broadcast_json(own))
        bench = Bench(root, options.megabytes, options.samples)
        contenders = _contenders(bench)
        facts = environment.describe() | {
            "ranks": world.size,
            "bytes": bench.nbytes,
            "arrays": ARRAYS,
            "samples": options.samples,
            "file_system": _file_system(root),
        }
        if world.is_root:
            print("\n".join(environment.lines(facts)))
            print(f"# {world.size} ranks, {ARRAYS} arrays, {bench.nbytes / 1e6:.0f} MB, "
                  f"{facts['file_system']}, {options.rounds} rounds")  # fmt: skip
        samples = in_turn(list(contenders.values()), options.rounds, warmup=2)
        world.communicator.barrier()
    if not world.is_root:
        return 0
    rows = summarise(list(contenders), samples)
    _print_table(rows, samples, bench)
    if options.json:
        environment.write_json(
            options.json,
            {
                "environment": facts,
                "rows": rows,
                "samples_ms": {
                    n: s.ravel().tolist() for n, s in zip(contenders, samples, strict=True)
                },
                "steps_ms": {"alone": bench.plain_step_ms, "beside": bench.beside_step_ms},
                "until_published_ms": bench.until_published_ms,
            },
        )
    return 0


def _contenders(bench: Bench) -> dict[str, Callable[[int], list[float]]]:
    found: dict[str, Callable[[int], list[float]]] = {
        "hpcad, waited for": bench.synchronous,
        "raw pwrite + fsync": bench.raw,
        "raw, past the page cache": bench.raw_direct,
        "hpcad beside steps: stall": bench.asynchronous,
        "hpcad beside steps: stall, copied": bench.asynchronous_copied,
    }
    try:
        import torch
    except ImportError as error:
        if bench.world.is_root:
            print(f"# without PyTorch: {error}", file=sys.stderr)
        return found
    found[f"torch.save {torch.__version__} + fsync"] = bench.torch_save(torch)
    if bench.world.size == 1:
        found["torch DCP, sync_files"] = bench.dcp(torch)
    return found


def _print_table(rows: list[dict[str, Any]], samples: np.ndarray, bench: Bench) -> None:
    print(f"\n{'':<38}{'ms':>9}{'p10':>9}{'p90':>9}{'GB/s':>8}   hpcad waited for / it")
    for row in rows:
        rate = bench.nbytes / row["median"] / 1e6
        low, high = row["ratio_interval"]
        print(f"{row['name']:<38}{row['median']:>9.1f}{row['p10']:>9.1f}{row['p90']:>9.1f}"
              f"{rate:>8.2f}   {row['ratio']:.2f} [{low:.2f}, {high:.2f}]")  # fmt: skip
    medians = {row["name"]: row["median"] for row in rows}
    whole = medians["hpcad, waited for"]
    print(f"\nwrite bandwidth: {100 * medians['raw pwrite + fsync'] / whole:.0f} % of raw, "
          f"{100 * medians['raw, past the page cache'] / whole:.0f} % of raw past the page cache\n"
          f"stall: {100 * medians['hpcad beside steps: stall'] / whole:.1f} % of the save that is "
          f"waited for; {100 * medians['hpcad beside steps: stall, copied'] / whole:.1f} % where "
          f"everything is copied first\n"
          f"a step takes {np.median(bench.plain_step_ms):.1f} ms alone and "
          f"{np.median(bench.beside_step_ms):.1f} ms beside a save")  # fmt: skip


def _write(descriptor: int, data: np.ndarray, offset: int) -> None:
    while len(data):
        written = os.pwrite(descriptor, data.data, offset)
        data, offset = data[written:], offset + written


def _file_system(path: Path) -> str:
    """Return the type of the file system that `path` lies on."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [m for m in mounts if path.resolve().is_relative_to(m[1])]
    return max(inside, key=lambda m: len(m[1]))[2]


if __name__ == "__main__":
    sys.exit(main())
