"""Packing one source, by all ranks together.

The samples are divided into shards, and rank r of W writes the shards r, r + W, ...: a shard is the
same whoever writes it, the statistics of the whole are merged in the order of the shards, and so
the manifest is the same at any W. After each round of W shards the ranks agree that all went well,
so that an error of one ends all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hpcad.data.manifest.contents import BLOCKS, Manifest
from hpcad.data.manifest.destination import disk_error
from hpcad.data.manifest.values import Values
from hpcad.data.manifest.writer import write_manifest
from hpcad.data.packing.place import PackingPlace
from hpcad.data.packing.progress import Progress
from hpcad.data.packing.record import ShardRecord, difference, plan, read_record
from hpcad.data.packing.shard import pack_shard
from hpcad.data.shards.writer import Layout
from hpcad.data.sources.source import Source
from hpcad.data.statistics import Statistics
from hpcad.errors import DataError, HpcadError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator

T = TypeVar("T")


@dataclass(frozen=True)
class Provenance:
    """Where data come from and how they may be used; three sentences for the manifest."""

    source: str = ""
    licence: str = ""
    attribution: str = ""


@dataclass(frozen=True)
class Job:
    """One source on its way to one place."""

    source: Source
    place: PackingPlace
    shard_samples: int
    layout: Layout

    @property
    def shards(self) -> int:
        """How many shards there will be."""
        return -(-self.source.count // self.shard_samples)


def together(communicator: Communicator, work: Callable[[], T], path: Path) -> T:
    """What `work` gives on this rank, once it has gone well on all; an error on one is on all."""
    result, error = None, None
    try:
        result = work()
    except HpcadError as problem:
        error = problem
    except OSError as problem:
        error = disk_error(path, problem)
    communicator.agree(error, name="pack")
    return result  # type: ignore[return-value]  # agree() has raised if there is none


def pack_job(
    job: Job, told: Provenance, communicator: Communicator, resume: bool, progress: Progress
) -> Manifest | None:
    """Write all shards and the manifest of a job, still beside its place; collective.

    Returns
    -------
    Manifest, or None
        On rank 0 the manifest.

    Raises
    ------
    DataError
        On every rank: the source is damaged, the place is taken, the disk is full.
    """
    source, path = job.source, job.place.path
    if job.shard_samples < 1:
        raise DataError(f"a shard must hold at least 1 sample, not {job.shard_samples}")
    if source.count < 1:
        raise DataError(f"{path}: nothing to pack, the source holds no samples")
    records = _begin(job, communicator, resume)
    if records is None:
        return job.place.manifest() if communicator.rank == 0 else None
    missing = [k for k in range(job.shards) if k not in records]
    progress.begin(source.origin, source.count, source.kind)
    done = sum(record.entry.count for record in records.values())
    for first in range(0, len(missing), communicator.size):
        turn = missing[first : first + communicator.size]
        mine = turn[communicator.rank] if communicator.rank < len(turn) else None

        def write(index: int | None = mine) -> Any:
            return None if index is None else pack_shard(job, index).to_json()

        written = together(communicator, write, path)
        for value in communicator.gather_json(written, name="packed shards"):
            if value is not None:
                record = read_record(value, source.fields, path)
                records[record.index] = record
                done += record.entry.count
        progress.update(done)
    progress.end()

    def finish() -> Manifest | None:
        return _finish(job, told, records) if communicator.rank == 0 else None

    return together(communicator, finish, path)


def _plan(job: Job) -> dict[str, Any]:
    source, path = job.source, job.place.path
    for name in source.fields:
        if not Values(path).is_field_name(name) or name == BLOCKS:
            raise DataError(
                f"{source.origin}: a field cannot be called {name!r}; use letters, digits and "
                "underscores"
            )
    try:
        return plan(source, job.shard_samples, job.layout)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: the metadata cannot be written as JSON: {error}") from error


def _begin(job: Job, communicator: Communicator, resume: bool) -> dict[int, ShardRecord] | None:
    """The shards that are there already, on every rank; None if all is done."""
    source, path = job.source, job.place.path
    mine = together(communicator, lambda: _plan(job), path)
    of_root = communicator.broadcast_json(mine, name="plan")

    def compare() -> None:
        if what := difference(of_root, mine):
            raise DataError(
                f"{source.origin}: is not the same on all ranks: {what}; all must see the same "
                "files"
            )
        if resume and not source.files:
            raise DataError(
                f"{source.origin}: only a source that consists of files can be continued, because "
                "their sizes and times tell that it is still the same; pack without resuming"
            )

    together(communicator, compare, path)

    def begin() -> Any:
        if communicator.rank:
            return None
        found = job.place.begin(mine, source.fields, resume)
        return None if found is None else [record.to_json() for record in found]

    value = communicator.broadcast_json(together(communicator, begin, path), name="finished shards")
    if value is None:
        return None
    found = [read_record(each, source.fields, path) for each in value]
    return {record.index: record for record in found}


def _finish(job: Job, told: Provenance, records: dict[int, ShardRecord]) -> Manifest:
    source = job.source
    statistics = {name: Statistics(f.shape, f.dtype) for name, f in source.fields.items()}
    for index in range(job.shards):
        for name, each in statistics.items():
            each.merge(records[index].statistics[name])
    manifest = Manifest(
        kind=source.kind,
        count=source.count,
        fields=dict(source.fields),
        shards=tuple(records[index].entry for index in range(job.shards)),
        metadata=dict(source.metadata),
        source=told.source,
        licence=told.licence,
        attribution=told.attribution,
        statistics={name: each.to_json() for name, each in statistics.items()},
    )
    write_manifest(manifest, job.place.dataset, job.place.path)
    return manifest
