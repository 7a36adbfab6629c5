"""One shard of a packing: its samples from the source, its file, its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.data.manifest.contents import DTYPES, OFFSETS, FieldSpec
from hpcad.data.packing.record import ShardRecord, shard_name
from hpcad.data.ragged import Ragged, as_ragged, joined
from hpcad.data.shards.writer import write_shard
from hpcad.data.sources.source import Source
from hpcad.data.statistics import Statistics
from hpcad.errors import DataError

if TYPE_CHECKING:
    from hpcad.data.packing.parallel import Job


def pack_shard(job: Job, index: int) -> ShardRecord:
    """Write shard number `index` and its record.

    Raises
    ------
    DataError
        The source is damaged, or gives other samples than it announced.
    OSError
        The disk is full.
    """
    start = index * job.shard_samples
    stop = min(start + job.shard_samples, job.source.count)
    arrays = shard_arrays(job.source, start, stop)
    statistics = {}
    for name, spec in job.source.fields.items():
        statistics[name] = Statistics(spec.shape, spec.dtype)
        statistics[name].update(arrays[name])
    path = job.place.dataset / shard_name(index)
    path.unlink(missing_ok=True)  # half of it may be there of a packing that was killed
    entry = write_shard(path, arrays, count=stop - start, layout=job.layout)
    record = ShardRecord(index, entry, statistics)
    job.place.record(record)
    return record


def shard_arrays(source: Source, start: int, stop: int) -> dict[str, np.ndarray]:
    """The arrays of a shard with the samples from start to stop.

    Raises
    ------
    DataError
        The source gives other fields, shapes, dtypes or numbers of samples than it announced.
    """
    fields = source.fields
    whole = {
        name: np.empty((stop - start, *spec.shape), spec.dtype)
        for name, spec in fields.items()
        if not spec.ragged
    }
    ragged: dict[str, list[Ragged]] = {name: [] for name, spec in fields.items() if spec.ragged}
    place = 0
    for chunk in source.chunks(start, stop):
        count = _count(source, chunk)
        if count > stop - start - place:
            raise DataError(f"{source.origin}: gave more {source.kind} than were asked for")
        for name, array in whole.items():
            array[place : place + count] = _checked(source, name, chunk[name], fields[name])
        for name, parts in ragged.items():
            parts.append(as_ragged(chunk[name], fields[name], f"{source.origin}: field {name!r}"))
        place += count
    if place < stop - start:
        raise DataError(
            f"{source.origin}: gave {start + place} {source.kind} of {source.count} announced"
        )
    arrays: dict[str, np.ndarray] = {}
    for name, spec in fields.items():
        if spec.ragged:
            samples = joined(ragged[name])
            arrays[name] = np.require(samples.values, spec.dtype, "C")
            arrays[name + OFFSETS] = np.require(samples.offsets, DTYPES["int64"], "C")
        else:
            arrays[name] = whole[name]
    return arrays


def _count(source: Source, chunk: dict[str, Any]) -> int:
    if set(chunk) != set(source.fields):
        raise DataError(
            f"{source.origin}: gave the fields {sorted(chunk)}, expected {sorted(source.fields)}"
        )
    counts = {name: len(given) for name, given in chunk.items()}
    if len(set(counts.values())) != 1:
        sizes = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise DataError(f"{source.origin}: the fields differ in their number of samples ({sizes})")
    return next(iter(counts.values()))


def _checked(source: Source, name: str, array: np.ndarray, spec: FieldSpec) -> np.ndarray:
    if (array.shape[1:], array.dtype.newbyteorder("<")) != (spec.shape, spec.dtype):
        raise DataError(
            f"{source.origin}: field {name!r} has samples of {array.dtype} {array.shape[1:]}, "
            f"expected {spec}"
        )
    return array
