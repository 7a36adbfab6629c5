"""Reading samples in random order: raw preadv, hpcad, h5py and PyTorch's DataLoader, side by side.

    python benchmarks/data_loading.py [--megabytes 1024] [--rounds 7] [--json FILE]

One rank reads float32 samples of 64 KiB in batches of 32, all in the same random order from the
same HDF5 shards, which are made in a temporary directory and removed afterwards. All ways must give
the same sums batch for batch, or the program ends with code 1. First from the page cache, then
after the files were dropped from it. At the end: how long it takes to resume in the middle of 10^8
samples (``data_resume.py``).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import data_resume
import environment
import numpy as np
from data_ways import FIELD, Batches, Files, ways
from interleaved import in_turn
from medians import median_interval, ratio_interval

from hpcad.data import pack
from hpcad.data.sources import array_source

SAMPLE = 16384  # float32, 64 KiB
BATCH = 32
COLD_BATCHES = 64  # of a turn after the files were dropped


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and return the exit code."""
    options = _options(arguments)
    facts = environment.describe() | {"megabytes": options.megabytes, "rounds": options.rounds}
    try:
        import torch

        torch.set_num_threads(1)
        facts["torch"] = torch.__version__
    except ImportError:
        print("data_loading: PyTorch is not installed here; its rows are left out", file=sys.stderr)
    print("\n".join(environment.lines(facts)))
    results: dict[str, Any] = {"environment": facts}
    contenders = ways("torch" in facts)
    with tempfile.TemporaryDirectory(prefix="hpcad-data-", dir=options.directory) as folder:
        files = make(Path(folder) / "set", options.megabytes)
        wrong = differing(files, contenders)
        if wrong:
            print(f"refused: other data than {next(iter(contenders))}: {wrong}", file=sys.stderr)
            return 1
        results["warm"] = measure(files, contenders, options.rounds, warm)
        table("from the page cache", results["warm"])
        if options.cold_rounds:
            results["cold"] = measure(files, contenders, options.cold_rounds, cold)
            table("from the disk (dropped by posix_fadvise)", results["cold"])
    if options.resume:
        results["resume"] = data_resume.measure(options.directory)
        data_resume.table(results["resume"])
    if options.json:
        environment.write_json(options.json, results)
    return 0


def make(directory: Path, megabytes: int, sample: int = SAMPLE, batch: int = BATCH) -> Files:
    """Pack random samples."""
    count = (megabytes << 20) // (4 * sample)
    x = np.random.default_rng(0).standard_normal((count, sample), np.float32)
    pack(array_source({FIELD: x}), directory)
    return Files(directory, batch)


def differing(files: Files, contenders: dict[str, Callable[[Files], Batches]]) -> list[str]:
    """Names of those that do not give the same batches as the first."""
    sums = {name: [_sum(batch) for batch in way(files)] for name, way in contenders.items()}
    expected = next(iter(sums.values()))
    return [name for name, found in sums.items() if found != expected]


def measure(
    files: Files,
    contenders: dict[str, Callable[[Files], Batches]],
    rounds: int,
    turn: Callable[[Files, Callable[[Files], Batches]], tuple[float, int]],
) -> list[dict[str, Any]]:
    """Let all take turns; one row for each."""

    def timed(way: Callable[[Files], Batches]) -> Callable[[int], list[float]]:
        def run(_round: int) -> list[float]:
            seconds, nbytes = turn(files, way)
            return [1e9 * seconds / nbytes]  # per GB

        return run

    samples = in_turn([timed(way) for way in contenders.values()], rounds, warmup=1)
    rows = []
    for name, mine in zip(contenders, samples, strict=True):
        middle, low, high = median_interval(mine.ravel())
        share = ratio_interval(samples[0], mine)
        rates = {"median": 1 / middle, "low": 1 / high, "high": 1 / low}
        rows.append({"name": name, "gb_per_s": rates, "share": share, "samples": mine.tolist()})
    return rows


def warm(files: Files, way: Callable[[Files], Batches]) -> tuple[float, int]:
    """Seconds and bytes of all batches after the first, for which files and workers start."""
    batches = way(files)
    next(batches)
    nbytes, started = 0, time.perf_counter()
    for batch in batches:
        nbytes += batch.nbytes
    return time.perf_counter() - started, nbytes


def cold(files: Files, way: Callable[[Files], Batches]) -> tuple[float, int]:
    """Seconds and bytes of some batches, from files that were just dropped; the start included."""
    files.forget()
    nbytes, started = 0, time.perf_counter()
    batches = way(files)
    for _, batch in zip(range(COLD_BATCHES), batches, strict=False):
        nbytes += batch.nbytes
    seconds = time.perf_counter() - started
    del batches  # ends the threads and processes
    return seconds, nbytes


def table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rates, with 95 % intervals, and shares of the limit."""
    width = max(len(row["name"]) for row in rows)
    print(f"\n{title}\n{'':{width}}  {'GB/s':>7}  {'95 %':>15}  {'of raw':>7}  {'95 %':>13}")
    for row in rows:
        rate, share = row["gb_per_s"], row["share"]
        between = f"{rate['low']:6.3f} .. {rate['high']:5.3f}"
        print(
            f"{row['name']:{width}}  {rate['median']:7.3f}  {between}"
            f"  {share[0]:7.3f}  {share[1]:.3f} .. {share[2]:.3f}"
        )
    medians = {row["name"]: row["gb_per_s"]["median"] for row in rows}
    for name, rate in medians.items():
        if name.startswith("DataLoader"):
            ratios = [medians[way] / rate for way in ("hpcad Loader", "raw os.preadv loop")]
            print("{} x and {} x as fast: hpcad Loader and raw, over {}".format(
                *(f"{ratio:.1f}" for ratio in ratios), name))  # fmt: skip


def _sum(batch: Any) -> int:
    return int(np.asarray(batch).view(np.uint32).sum(dtype=np.uint64))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1024, help="of samples")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold-rounds", type=int, default=3, help="0 leaves them out")
    parser.add_argument("--no-resume", dest="resume", action="store_false")
    parser.add_argument("--directory", help="where to make the files; they are removed afterwards")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
