"""Packing: sources in, datasets out, all of them or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcad.data.inspect import format_bytes
from hpcad.data.manifest.contents import FILE_NAME, Manifest
from hpcad.data.manifest.reader import parse_manifest
from hpcad.data.packing.parallel import Job, Provenance, pack_job, together
from hpcad.data.packing.place import PackingPlace
from hpcad.data.packing.progress import Progress, as_progress
from hpcad.data.shards.writer import CONTIGUOUS, Layout
from hpcad.data.sources.source import Source
from hpcad.errors import DataError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator

SHARD_MB = 64.0


def pack(
    source: Source,
    out: str | os.PathLike[str],
    *,
    shard_samples: int | None = None,
    shard_mb: float = SHARD_MB,
    layout: Layout = CONTIGUOUS,
    provenance: Provenance | None = None,
    force: bool = False,
    resume: bool = False,
    communicator: Communicator | None = None,
    progress: Callable[[str], None] | Progress | None = None,
) -> Manifest:
    """Write one source as a dataset; collective with a communicator.

    Parameters
    ----------
    source
        From one of the functions in :mod:`hpcad.data.sources`; on every rank the same.
    out
        Directory to make. It must not exist, or be empty, or (with ``force``) be a dataset. All
        ranks must see it under this path.
    shard_samples
        Samples per shard; by default as many as make ``shard_mb``.
    shard_mb
        Size of a shard in MiB, before compression. A shard is in memory while it is written.
    layout
        How shards store their arrays; in one piece if not given.
    provenance
        Where the data come from.
    force
        Replace a dataset that is already there, and an unfinished packing.
    resume
        Go on with a packing that was broken off, if there is one of the same source and options;
        and keep the finished shards if this one fails.
    communicator
        Its ranks write the shards in turn. The dataset is the same for any number of them.
    progress
        Called with a line after every round of shards and one at the end; or a
        :class:`~hpcad.data.packing.progress.Progress`. Only rank 0 tells something.

    Returns
    -------
    Manifest
        On every rank.

    Raises
    ------
    DataError
        On every rank, if the source is damaged or has changed, the place is taken, or the disk is
        full. Nothing is left behind, unless with ``resume``.

    Examples
    --------
    >>> from hpcad.data.sources import array_source
    >>> pack(array_source({"x": x, "y": y}), "data/mine")  # doctest: +SKIP
    """
    (manifest,) = pack_all(
        [(source, out)],
        shard_samples=shard_samples,
        shard_mb=shard_mb,
        layout=layout,
        provenance=provenance,
        force=force,
        resume=resume,
        communicator=communicator,
        progress=progress,
    )
    return manifest


def pack_all(
    jobs: Sequence[tuple[Source, str | os.PathLike[str]]],
    *,
    shard_samples: int | None = None,
    shard_mb: float = SHARD_MB,
    layout: Layout = CONTIGUOUS,
    provenance: Provenance | None = None,
    force: bool = False,
    resume: bool = False,
    communicator: Communicator | None = None,
    progress: Callable[[str], None] | Progress | None = None,
) -> list[Manifest]:
    """Write several sources, each to its place; none appears before all are complete.

    Parameters are those of :func:`pack`, with a list of pairs of source and place.
    """
    if not shard_mb > 0:
        raise DataError(f"a shard must be larger than 0 MiB, not {shard_mb}")
    if communicator is None:
        from hpcad.parallel import SerialCommunicator

        communicator = SerialCommunicator()
    made = []
    for source, out in jobs:
        samples = shard_samples if shard_samples is not None else _samples(source, shard_mb)
        made.append(Job(source, PackingPlace(out, force), samples, layout))
    shows = as_progress(progress) if communicator.rank == 0 else Progress()
    manifests = _pack(made, provenance or Provenance(), communicator, resume, shows)
    for (_, out), manifest in zip(jobs, manifests, strict=True):
        shows.message(_summary(manifest, Path(out)))
    return manifests


def _pack(
    jobs: Sequence[Job],
    told: Provenance,
    communicator: Communicator,
    resume: bool,
    shows: Progress,
) -> list[Manifest]:
    is_root = communicator.rank == 0
    try:
        found = [pack_job(job, told, communicator, resume, shows) for job in jobs]
        together(communicator, lambda: _commit(jobs) if is_root else None, jobs[0].place.path)
    except BaseException:
        for job in reversed(jobs) if is_root else ():
            (job.place.release if resume else job.place.discard)()
        raise
    for job in reversed(jobs) if is_root else ():
        job.place.discard()
    values = [None if manifest is None else manifest.to_json() for manifest in found]
    values = communicator.broadcast_json(values, name="manifests")
    return [
        parse_manifest(value, job.place.path / FILE_NAME)
        for value, job in zip(values, jobs, strict=True)
    ]


def _commit(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.place.commit()


def _samples(source: Source, shard_mb: float) -> int:
    sample_bytes = source.sample_bytes or sum(spec.nbytes for spec in source.fields.values())
    return max(1, int(shard_mb * 2**20 // sample_bytes))


def _summary(manifest: Manifest, out: Path) -> str:
    size = format_bytes(manifest.data_bytes)
    shards = "1 shard" if len(manifest.shards) == 1 else f"{len(manifest.shards):,} shards"
    return f"packed {manifest.count:,} {manifest.kind} into {shards} ({size}): {out}"
