"""Writing a dataset: shard by shard beside its place, then one rename.

Everything is written into a hidden directory beside the destination: the shards, each flushed to
disk, and the manifest last. :meth:`DatasetWriter.commit` renames that directory into place. Killed
at any moment, a writer leaves either the whole dataset or none; a writer that fails removes what
it wrote.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import (
    DTYPES,
    OFFSETS,
    FieldSpec,
    Manifest,
    ShardEntry,
)
from hpcad.data.manifest.destination import (
    check_destination,
    disk_error,
    replace_directory,
    sync_directory,
)
from hpcad.data.manifest.writer import write_manifest
from hpcad.data.ragged import as_ragged, joined
from hpcad.data.shards.writer import CONTIGUOUS, Layout, write_shard
from hpcad.data.statistics import Statistics
from hpcad.errors import DataError


class DatasetWriter:
    """Collects samples and writes them as a dataset at ``path``.

    Parameters
    ----------
    path
        Directory to make. It must not exist, or be empty, or (with ``force``) be a dataset.
    fields
        Shape and dtype of every field of a sample.
    kind
        ``"samples"`` or ``"tokens"``.
    shard_samples
        Samples in each shard but the last.
    layout
        How shards store their arrays; in one piece if not given.
    force
        Replace a dataset that is already there.

    Examples
    --------
    >>> with DatasetWriter(path, fields, shard_samples=1000) as writer:  # doctest: +SKIP
    ...     writer.append({"x": images, "y": labels})
    ...     writer.finish(metadata={"classes": 10})
    ...     manifest = writer.commit()
    """

    def __init__(
        self,
        path: str | Path,
        fields: Mapping[str, FieldSpec],
        *,
        kind: str = "samples",
        shard_samples: int,
        layout: Layout = CONTIGUOUS,
        force: bool = False,
    ) -> None:
        if shard_samples < 1:
            raise DataError(f"a shard must hold at least 1 sample, not {shard_samples}")
        self.path = Path(os.path.abspath(path))
        self.force = force
        check_destination(self.path, force)
        self._fields = dict(fields)
        self._kind = kind
        self._shard_samples = shard_samples
        self._layout = layout
        self._statistics = {name: Statistics(f.shape, f.dtype) for name, f in fields.items()}
        self._pending: list[dict[str, Any]] = []
        self._pending_count = 0
        self._shards: list[ShardEntry] = []
        self._manifest: Manifest | None = None
        try:
            self._made = [p for p in self.path.parents if not p.exists()]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            prefix = f".{self.path.name}.packing-"
            self._beside = Path(tempfile.mkdtemp(prefix=prefix, dir=self.path.parent))
        except OSError as error:
            raise disk_error(self.path, error) from error

    def append(self, chunk: Mapping[str, Any]) -> None:
        """Add samples: for each field an array of shape ``(n, *shape)`` of its dtype.

        For a ragged field: a :class:`~hpcad.data.ragged.Ragged`, a pair of values and offsets, or
        a list of arrays of shape ``(n_i, *shape)``. All are kept until their shard is full, so the
        caller must not change them.

        Raises
        ------
        DataError
            If a field is missing, unknown, or of another shape, dtype or count; or on a full disk.
        """
        if set(chunk) != set(self._fields):
            raise DataError(
                f"{self.path}: a chunk has the fields {sorted(chunk)}, expected "
                f"{sorted(self._fields)}"
            )
        samples = {name: self._samples(name, chunk[name]) for name in self._fields}
        counts = {name: len(given) for name, given in samples.items()}
        if len(set(counts.values())) != 1:
            sizes = ", ".join(f"{name}: {count}" for name, count in counts.items())
            raise DataError(f"{self.path}: the fields differ in their number of samples ({sizes})")
        self._pending.append(samples)
        self._pending_count += next(iter(counts.values()))
        while self._pending_count >= self._shard_samples:
            self._flush(self._shard_samples)

    def finish(
        self,
        *,
        metadata: Mapping[str, Any] | None = None,
        source: str = "",
        licence: str = "",
        attribution: str = "",
    ) -> Manifest:
        """Write the last shard and the manifest, still beside the destination."""
        if self._pending_count:
            self._flush(self._pending_count)
        manifest = Manifest(
            kind=self._kind,
            count=sum(shard.count for shard in self._shards),
            fields=self._fields,
            shards=tuple(self._shards),
            metadata=dict(metadata or {}),
            source=source,
            licence=licence,
            attribution=attribution,
            statistics={name: found.to_json() for name, found in self._statistics.items()},
        )
        if not self._shards:
            raise DataError(f"{self.path}: nothing to pack, the source holds no samples")
        write_manifest(manifest, self._beside, self.path)
        self._manifest = manifest
        return manifest

    def commit(self) -> Manifest:
        """Rename the finished dataset into place; from here on it exists."""
        if self._manifest is None:
            raise DataError(f"{self.path}: finish() must write the manifest before commit()")
        check_destination(self.path, self.force)
        try:
            replace_directory(self._beside, self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            raise disk_error(self.path, error) from error
        return self._manifest

    def discard(self) -> None:
        """Remove whatever was written beside; after :meth:`commit` there is nothing to remove."""
        self._pending.clear()
        shutil.rmtree(self._beside, ignore_errors=True)
        for directory in self._made:
            with suppress(OSError):  # not empty: the dataset, or somebody else's files
                directory.rmdir()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def _samples(self, name: str, given: Any) -> Any:
        spec = self._fields[name]
        if spec.ragged:
            return as_ragged(given, spec, f"{self.path}: field {name!r}")
        array = np.asarray(given)
        dtype = array.dtype.newbyteorder("<")
        if not array.ndim or (array.shape[1:], dtype) != (spec.shape, spec.dtype):
            raise DataError(
                f"{self.path}: field {name!r} has samples of {array.dtype} {array.shape[1:]}, "
                f"expected {spec}"
            )
        return array

    def _flush(self, count: int) -> None:
        arrays: dict[str, np.ndarray] = {}
        for name in self._fields:
            arrays |= self._take(name, count)
            # Of each shard first: so the sums are the same whoever wrote which shard.
            of_shard = Statistics(self._fields[name].shape, self._fields[name].dtype)
            of_shard.update(arrays[name])
            self._statistics[name].merge(of_shard)
        self._drop(count)
        path = self._beside / f"shard-{len(self._shards):05d}.h5"
        try:
            self._shards.append(write_shard(path, arrays, count=count, layout=self._layout))
        except OSError as error:
            raise disk_error(self.path, error) from error

    def _take(self, name: str, count: int) -> dict[str, np.ndarray]:
        """The arrays that a shard has of the first samples of a field."""
        parts, missing = [], count
        for chunk in self._pending:
            parts.append(chunk[name][:missing])
            missing -= len(parts[-1])
            if not missing:
                break
        spec = self._fields[name]
        if spec.ragged:
            samples = joined(parts)
            offsets = np.require(samples.offsets, DTYPES["int64"], "C")
            return {
                name: np.require(samples.values, spec.dtype, "C"),
                name + OFFSETS: offsets,
            }
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return {name: np.require(whole, spec.dtype, "C")}

    def _drop(self, count: int) -> None:
        self._pending_count -= count
        while count:
            first = self._pending.pop(0)
            length = len(next(iter(first.values())))
            if length > count:
                self._pending.insert(0, {name: given[count:] for name, given in first.items()})
            count -= min(length, count)
