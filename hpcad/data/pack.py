"""Packing: sources in, datasets out, all of them or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hpcad.data.inspect import format_bytes
from hpcad.data.manifest import Manifest
from hpcad.data.shard_writer import CONTIGUOUS, Layout
from hpcad.data.sources.source import Source
from hpcad.data.writer import DatasetWriter
from hpcad.errors import DataError

SHARD_MB = 64.0


@dataclass(frozen=True)
class Provenance:
    """Where data come from and how they may be used; three sentences for the manifest."""

    source: str = ""
    licence: str = ""
    attribution: str = ""


def pack(
    source: Source,
    out: str | os.PathLike[str],
    *,
    shard_samples: int | None = None,
    shard_mb: float = SHARD_MB,
    layout: Layout = CONTIGUOUS,
    provenance: Provenance | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Write one source as a dataset.

    Parameters
    ----------
    source
        From one of the functions in :mod:`hpcad.data.sources`.
    out
        Directory to make; see :class:`~hpcad.data.writer.DatasetWriter`.
    shard_samples
        Samples per shard; by default as many as make ``shard_mb``.
    shard_mb
        Size of a shard in MiB, before compression.
    layout
        How shards store their arrays; in one piece if not given.
    provenance
        Where the data come from.
    force
        Replace a dataset that is already there.
    progress
        Called with one line per chunk and one at the end.

    Raises
    ------
    DataError
        If the source is damaged, the place is taken, or the disk is full. Nothing is left behind.

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
    progress: Callable[[str], None] | None = None,
) -> list[Manifest]:
    """Write several sources, each to its place; none appears before all are complete.

    Parameters are those of :func:`pack`, with a list of pairs of source and place.
    """
    if not shard_mb > 0:
        raise DataError(f"a shard must be larger than 0 MiB, not {shard_mb}")
    told = provenance or Provenance()
    with ExitStack() as stack:
        writers = []
        for source, out in jobs:
            samples = shard_samples if shard_samples is not None else _samples(source, shard_mb)
            writer = stack.enter_context(
                DatasetWriter(
                    Path(out),
                    source.fields,
                    kind=source.kind,
                    shard_samples=samples,
                    layout=layout,
                    force=force,
                )
            )
            _write(writer, source, told, progress)
            writers.append(writer)
        manifests = [writer.commit() for writer in writers]
    if progress:
        for (_, out), manifest in zip(jobs, manifests, strict=True):
            size = format_bytes(manifest.data_bytes)
            shards = "1 shard" if len(manifest.shards) == 1 else f"{len(manifest.shards):,} shards"
            progress(
                f"packed {manifest.count:,} {manifest.kind} into {shards} ({size}): {Path(out)}"
            )
    return manifests


def _samples(source: Source, shard_mb: float) -> int:
    sample_bytes = sum(spec.nbytes for spec in source.fields.values())
    return max(1, int(shard_mb * 2**20) // sample_bytes)


def _write(
    writer: DatasetWriter,
    source: Source,
    told: Provenance,
    progress: Callable[[str], None] | None,
) -> None:
    done = 0
    for chunk in source.chunks():
        writer.append(chunk)
        done += len(next(iter(chunk.values())))
        if progress:
            progress(f"{source.origin}: {done:,} of {source.count:,} {source.kind}")
    if done != source.count:
        raise DataError(f"{source.origin}: gave {done} {source.kind} of {source.count} announced")
    writer.finish(
        metadata=source.metadata,
        source=told.source,
        licence=told.licence,
        attribution=told.attribution,
    )
