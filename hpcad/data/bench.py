"""How fast a dataset can be read here, in random order and from front to back.

Reading is :meth:`Dataset.read` of a rank's part of each global batch, as a loader asks for it, but
one batch after the other in the calling thread. Beside it the same bytes are read in the same order
with ``os.preadv`` alone, in turns, so that a disturbance meets both.

The step of MLPerf Storage: an accelerator that computes for t seconds a batch of B bytes needs
B / t; read ahead, it is busy for the share min(1, t / (time to read a batch)) of the time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

import numpy as np

from hpcad.data.batch import plan
from hpcad.data.dataset import Dataset
from hpcad.data.order.global_order import GlobalOrder
from hpcad.data.raw_reading import RawReading, read
from hpcad.errors import DataError
from hpcad.parallel import Communicator

_ROUNDS = 3


@dataclass
class Way:
    """What was measured of one way to read in one order.

    Attributes
    ----------
    order, name : str
        ``"random"`` or ``"sequential"``; ``"Dataset.read"`` or ``"raw preadv"``.
    nbytes, samples : int
        Read by all ranks together.
    seconds : float
        Of reading, on the slowest rank.
    batches : ndarray of float64
        Seconds for each batch on each rank.
    """

    order: str
    name: str
    nbytes: int = 0
    samples: int = 0
    seconds: float = 0.0
    batches: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def rate(self) -> float:
        """Bytes per second of all ranks together."""
        return self.nbytes / max(self.seconds, 1e-12)


def bench(
    dataset: Dataset,
    batch_size: int,
    communicator: Communicator,
    *,
    batches: int = 100,
    seed: int = 0,
    cold: bool = False,
) -> list[Way]:
    """Measure both orders; collective.

    Parameters
    ----------
    dataset
        Opened without verification, or that is measured too.
    batch_size
        Samples of all ranks together.
    batches
        How many at most; fewer if the epoch ends.
    seed
        Of the random order.
    cold
        Ask the system to forget the files before each measurement. Without it one untimed round
        comes first, and what is measured is memory as long as it is large enough.

    Raises
    ------
    DataError
        On every rank, where a shard is missing or damaged, or the batch is too small.
    """
    if batch_size < communicator.size or batches < 1:
        raise DataError(
            f"{batches} batches of {batch_size} samples cannot be divided over "
            f"{communicator.size} ranks; each rank needs a sample of each batch"
        )
    raw = RawReading(dataset) if RawReading.possible(dataset) else None
    ways = []
    for order in ("random", "sequential"):
        follows = GlobalOrder(len(dataset), seed, shuffle=order == "random")
        each = plan(follows, batch_size, communicator.rank, communicator.size, 0, 1)
        ids = [batch.ids for batch in islice(each, batches)]
        mine = [Way(order, "Dataset.read")] + ([Way(order, "raw preadv")] if raw else [])
        error = None
        try:
            _measure(dataset, raw, ids, mine, communicator, cold)
        except DataError as problem:
            error = problem
        communicator.agree(error, name="bench")
        ways += [_of_all(way, communicator) for way in mine]
    return ways


def report(ways: Sequence[Way], batch_size: int, step_ms: float | None) -> str:
    """The measurements as a table, and what a step of this length needs."""
    lines = [f"{'order':<11} {'way':<13} {'GB/s':>8} {'samples/s':>12} {'p50 ms':>9} {'p99 ms':>9}"]
    for way in ways:
        p50, p99 = np.percentile(way.batches, [50, 99]) * 1e3
        rate = way.samples / max(way.seconds, 1e-12)
        lines.append(
            f"{way.order:<11} {way.name:<13} {way.rate / 1e9:>8.3f} {rate:>12,.0f} "
            f"{p50:>9.3f} {p99:>9.3f}"
        )
    for ours, raw in pairwise(ways):
        if ours.order == raw.order:  # by samples: windows are delivered twice, as x and as y
            lines.append(f"{ours.order}: {raw.seconds / ours.seconds:.0%} of raw preadv")
    if step_ms is None:
        return "\n".join(lines)
    for way in ways:
        if way.name == "Dataset.read":
            batch_bytes = way.nbytes / way.samples * batch_size
            needed = batch_bytes / (step_ms / 1e3)
            busy = min(1.0, way.rate / needed)
            lines.append(
                f"a step of {step_ms:g} ms needs {needed / 1e9:.3f} GB/s, {way.order} reading "
                f"gives {way.rate / 1e9:.3f}: accelerators are busy {busy:.0%} of the time at most"
            )
    return "\n".join(lines)


def forget(dataset: Dataset) -> None:
    """Ask the system to drop the dataset's files from its cache; it may not follow."""
    for shard in dataset.manifest.shards:
        file = os.open(dataset.directory / shard.file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def _measure(
    dataset: Dataset,
    raw: RawReading | None,
    ids: Sequence[np.ndarray],
    ways: Sequence[Way],
    communicator: Communicator,
    cold: bool,
) -> None:
    if not cold:
        _ours(dataset, ids)
    for _ in range(_ROUNDS):
        for way in ways:
            if cold:
                forget(dataset)
            if raw is not None and way.name != "Dataset.read":
                seconds, nbytes = _raw(raw, ids)
            else:
                seconds, nbytes = _ours(dataset, ids)
            way.batches = np.append(way.batches, seconds)
            way.seconds += sum(seconds)
            way.nbytes += nbytes
            way.samples += sum(map(len, ids))


def _ours(dataset: Dataset, ids: Sequence[np.ndarray]) -> tuple[list[float], int]:
    seconds, nbytes, most = [], 0, max(map(len, ids))
    fixed = {name: spec for name, spec in dataset.fields.items() if not spec.ragged}
    memory = {name: np.empty((most, *spec.shape), spec.dtype) for name, spec in fixed.items()}
    for each in ids:
        out = {name: array[: len(each)] for name, array in memory.items()}
        started = time.perf_counter()
        found = dataset.read(each, out)
        seconds.append(time.perf_counter() - started)
        nbytes += sum(array.nbytes for array in found.values())
    return seconds, nbytes


def _raw(raw: RawReading, ids: Sequence[np.ndarray]) -> tuple[list[float], int]:
    seconds, nbytes, memory = [], 0, np.empty(0, np.uint8)
    for each in ids:
        requests = raw.prepare(each)
        if memory.nbytes < requests.nbytes:
            memory = np.zeros(requests.nbytes, np.uint8)
        ready = requests.open(memory)
        started = time.perf_counter()
        read(ready)
        seconds.append(time.perf_counter() - started)
        nbytes += requests.nbytes
    return seconds, nbytes


def _of_all(way: Way, communicator: Communicator) -> Way:
    """The sums over all ranks."""
    parts = communicator.gather_json(
        [way.nbytes, way.samples, way.seconds, way.batches.tolist()], name="bench"
    )
    return Way(
        way.order,
        way.name,
        sum(part[0] for part in parts),
        sum(part[1] for part in parts),
        max(part[2] for part in parts),
        np.concatenate([part[3] for part in parts]),
    )
