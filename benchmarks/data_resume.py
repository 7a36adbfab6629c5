"""How long it takes to resume in the middle of very many samples, and in how much memory.

    python benchmarks/data_resume.py

The shards are sparse files: HDF5 headers, and samples of 64 KiB that nobody has written. A fresh
process opens the dataset, makes a loader with a cursor in the middle of an epoch, and takes a
batch. The same for fewer samples in as many shards: the memory must not depend on their number.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import children
import h5py
import numpy as np

SHARDS = 1000
SAMPLE = 16384  # float32
COUNTS = (10**5, 10**6, 10**7, 10**8)
BATCH = 32


def make(directory: Path, count: int, shards: int = SHARDS, sample: int = SAMPLE) -> None:
    """Sparse shards and their manifest (format version 1, which is all that is needed)."""
    directory.mkdir()
    per_shard = count // shards
    names = [f"shard-{index:05d}.h5" for index in range(shards)]
    offsets = {_make_shard(directory / name, per_shard, sample) for name in names}
    (offset,) = offsets
    entry = {"dtype": "float32", "shape": [per_shard, sample], "offset": offset, "xxh3": "0" * 32}
    manifest = {
        "format": "hpcad-shards",
        "version": 1,
        "kind": "samples",
        "count": per_shard * shards,
        "fields": {"x": {"dtype": "float32", "shape": [sample]}},
        "shards": [
            {
                "file": name,
                "count": per_shard,
                "bytes": (directory / name).stat().st_size,
                "fields": {"x": entry},
            }
            for name in names
        ],
        "metadata": {},
        "source": "",
        "licence": "",
        "attribution": "",
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))


def _make_shard(path: Path, rows: int, sample: int) -> int:
    """One file whose array is a hole; returns the array's offset."""
    with h5py.File(path, "w", alignment_threshold=4096, alignment_interval=4096) as file:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((rows, sample))
        array = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, creation)
        return int(array.get_offset())


def resume(directory: str, traced: bool) -> dict[str, Any]:
    """Open and take the batch in the middle of an epoch, in this process."""
    began = time.perf_counter()
    from hpcad.data import Loader, open_dataset

    imported = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if traced:
        tracemalloc.start()
    started = time.perf_counter()
    dataset = open_dataset(directory, verify=False)  # nobody has written the samples
    opened = time.perf_counter()
    # The memory is measured with one batch, not with as many as were read ahead by chance.
    ahead = {"prefetch": 0} if traced else {}
    with Loader(dataset, BATCH, seed=1, cursor=len(dataset) // 2 + 7, **ahead) as loader:
        batch = next(loader)
        done = time.perf_counter()
        total = float(np.abs(batch["x"]).sum())
    found = {
        "samples": len(dataset),
        "cursor": loader.cursor,
        "sum": total,
        "import_seconds": imported - began,
        "open_seconds": opened - started,
        "batch_seconds": done - opened,
        "resident_bytes": 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before),
    }
    if traced:
        found["traced_peak_bytes"] = tracemalloc.get_traced_memory()[1]
    return found


def measure(
    directory: str | None = None,
    counts: tuple[int, ...] = COUNTS,
    shards: int = SHARDS,
    repeats: int = 3,
) -> list[dict[str, Any]]:
    """One row for each number of samples; the best of some fresh processes."""
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="hpcad-resume-", dir=directory) as folder:
            place = str(Path(folder) / "set")
            make(Path(place), count, shards)
            runs = [_ask(place, traced=False) for _ in range(repeats)]
            best = min(runs, key=lambda run: run["open_seconds"] + run["batch_seconds"])
            traced = _ask(place, traced=True)["traced_peak_bytes"]
            rows.append({**best, "shards": shards, "traced_peak_bytes": traced})
    return rows


def _ask(place: str, *, traced: bool) -> dict[str, Any]:
    found: dict[str, Any] = children.ask_child(
        __file__, {"directory": place, "traced": traced}, {"OPENBLAS_NUM_THREADS": "1"}
    )
    return found


def table(rows: list[dict[str, Any]]) -> None:
    """Print seconds and memory."""
    print(f"\nresuming in the middle of an epoch, {rows[0]['shards']} shards, fresh processes")
    print(f"{'samples':>13}  {'open s':>7}  {'batch s':>7}  {'together':>8}  {'peak MiB':>9}")
    for row in rows:
        together = row["open_seconds"] + row["batch_seconds"]
        print(
            f"{row['samples']:13,}  {row['open_seconds']:7.3f}  {row['batch_seconds']:7.3f}  "
            f"{together:8.3f}  {row['traced_peak_bytes'] / 2**20:9.2f}"
        )


if __name__ == "__main__":
    if not children.answer(sys.argv[1:], resume):
        table(measure())
