"""How fast every communicator reduces, against MPI itself, PyTorch's gloo, and the memory.

    mpirun -n 2 python benchmarks/allreduce.py [--sizes 1KB,1MB,64MB] [--rounds 15] [--json FILE]

Float32 arrays, summed in place, in memory that the communicator has allocated (that is where
gradients lie); they hold zeros, since sums that grow would overflow. All ways take turns, size by
size, in one run. A call counts as long as the slowest rank needs for it; the table has medians.
GB/s are bytes of one array over time, "bus" is that times 2 (P-1)/P, what each rank must send at
least. "torch gloo" appears where PyTorch can be imported beside this MPI; its arrays are like those
of "MPI_Allreduce", and it goes over the loopback device. "numpy add" is the limit of the memory:
each rank adds 1/P of two private arrays of this size and copies the sum into the other.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from environment import describe, lines

import hpcad
from hpcad.backend import get_backend

SIZES = "1KB,16KB,128KB,1MB,8MB,64MB,256MB"
UNITS = {"KB": 1 << 10, "MB": 1 << 20}
NO_GLOO = "# torch gloo is left out: no module torch in this environment"
BUDGET_SECONDS = 0.1  # of one way in one round: short calls are repeated
MOST_CALLS = 2000


def main() -> None:
    """Measure, check the sums, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=_sizes, default=SIZES, metavar="1KB,64MB,...")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    world = hpcad.init()
    rows: list[dict[str, Any]] = []
    gloo = find_spec("torch") is not None
    makers = _makers(world, gloo)
    for text, nbytes in options.sizes.items():
        ways = {name: make(nbytes // 4) for name, make in makers.items()}
        samples = measure(world, ways, nbytes, options.rounds)
        rows.append({"size": text, "bytes": nbytes, "seconds": samples})
        if world.is_root:
            if len(rows) == 1:
                print(*lines(describe()), f"# {world.size} ranks, {world.mpi_library}", sep="\n")
                print(f"# {_version()}" if gloo else NO_GLOO)
            _print(world.size, rows[-1])
    if world.is_root and options.json:
        found = {"machine": describe(), "ranks": world.size, "mpi": world.mpi_library, "rows": rows}
        options.json.write_text(json.dumps(found, indent=1))


def _sizes(texts: str) -> dict[str, int]:
    """Bytes by text."""
    found = {}
    for text in texts.split(","):
        if text[-2:] not in UNITS or not text[:-2].isdigit():
            raise argparse.ArgumentTypeError(
                f"{text!r} is no size; write a whole number with KB or MB"
            )
        found[text] = int(text[:-2]) * UNITS[text[-2:]]
    return found


Way = Callable[[], None]
Maker = Callable[[int], Way]


def _makers(world: Any, gloo: bool) -> dict[str, Maker]:
    """By name: what makes a function that reduces once, for a number of elements."""
    from mpi4py import MPI

    from hpcad.parallel.choice import COMMUNICATORS

    def raw(count: int) -> Way:
        array, comm = _private(count), MPI.COMM_WORLD.Dup()
        return lambda: comm.Allreduce(MPI.IN_PLACE, array, MPI.SUM)

    def ours(kind: str) -> Maker:
        communicator = COMMUNICATORS[kind](MPI.COMM_WORLD.Dup(), kind)

        def make(count: int) -> Way:
            array = communicator.allocate(4 * count).view(np.float32)
            array[...] = 0
            return lambda: communicator.allreduce(array)

        return make

    def memory(count: int) -> Way:
        share = -(-count // world.size)
        a, b = np.zeros(share, np.float32), np.zeros(share, np.float32)

        def run() -> None:
            np.add(a, b, out=a)
            np.copyto(b, a)

        return run

    makers: dict[str, Maker] = {"MPI_Allreduce": raw}
    makers |= {kind: ours(kind) for kind in COMMUNICATORS}
    if gloo:
        makers["torch gloo"] = _gloo(world)
    return makers | {"numpy add": memory}


def _private(count: int) -> np.ndarray:
    """Zeros in memory of this rank's own, on a cache line."""
    return get_backend("cpu").allocate(4 * count).view(np.float32)


def _gloo(world: Any) -> Maker:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    port = world.communicator.broadcast_json(_free_port() if world.is_root else None)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", rank=world.rank, world_size=world.size)
    atexit.register(dist.destroy_process_group)

    def make(count: int) -> Way:
        tensor = torch.from_numpy(_private(count))
        return lambda: dist.all_reduce(tensor)

    return make


def _version() -> str:
    import torch

    return f"torch {torch.__version__}, gloo on {os.environ['GLOO_SOCKET_IFNAME']}"


def _free_port() -> int:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def measure(world: Any, ways: dict[str, Way], nbytes: int, rounds: int) -> dict[str, list[float]]:
    """Seconds a call of the slowest rank, one sample a round."""
    samples: dict[str, list[float]] = {name: [] for name in ways}
    calls = {name: _calls(world, way) for name, way in ways.items()}
    for turn in range(rounds):
        names = list(ways)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            world.communicator.barrier()
            started = time.perf_counter()
            for _ in range(calls[name]):
                ways[name]()
            taken = np.array([(time.perf_counter() - started) / calls[name]])
            world.communicator.allreduce(taken, "max")
            samples[name].append(float(taken[0]))
    return samples


def _calls(world: Any, way: Way) -> int:
    """How many calls fill the time of one sample; the same on every rank."""
    way()
    started = time.perf_counter()
    way()
    taken = np.array([time.perf_counter() - started])
    world.communicator.allreduce(taken, "max")
    return int(min(MOST_CALLS, max(1, BUDGET_SECONDS / taken[0])))


def _print(size: int, row: dict[str, Any]) -> None:
    nbytes = row["bytes"]
    reference = float(np.median(row["seconds"]["MPI_Allreduce"]))
    heads = ("us", "10 %", "90 %", "GB/s", "bus", "speed")
    print(f"\n{row['size']:<16}", *(f"{head:>9}" for head in heads))
    for name, samples in row["seconds"].items():
        low, median, high = np.quantile(samples, [0.1, 0.5, 0.9])
        rate = nbytes / median / 1e9
        bus = rate * 2 * (size - 1) / size
        print(
            f"{name:<16} {1e6 * median:>9.1f} {1e6 * low:>9.1f} {1e6 * high:>9.1f} "
            f"{rate:>9.2f} {bus:>9.2f} {reference / median:>9.2f}"
        )


if __name__ == "__main__":
    main()
