"""What a packing that goes on later must know: its plan, and a record of every finished shard."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcad.data.manifest.contents import (
    VERSION,
    FieldSpec,
    ShardEntry,
    canonical_hash,
    field_to_json,
    shard_to_json,
)
from hpcad.data.manifest.shards import ShardsReader
from hpcad.data.shards.writer import Layout
from hpcad.data.sources.source import Source
from hpcad.data.statistics import Statistics
from hpcad.errors import DataError


@dataclass(frozen=True)
class ShardRecord:
    """A finished shard: its manifest entry, and the statistics of its fields alone."""

    index: int
    entry: ShardEntry
    statistics: dict[str, Statistics]

    def to_json(self) -> dict[str, Any]:
        """The JSON object that :func:`read_record` reads."""
        statistics = {name: each.state() for name, each in self.statistics.items()}
        return {
            "index": self.index,
            "shard": shard_to_json(self.entry),
            "statistics": statistics,
        }


def read_record(value: Any, fields: Mapping[str, FieldSpec], where: Path) -> ShardRecord:
    """A record from its JSON.

    Raises
    ------
    DataError
        It is not a record of a shard with these fields.
    """
    try:
        (entry,) = ShardsReader(where).shards([value["shard"]], fields, VERSION)
        statistics = {
            name: Statistics.restored(spec.shape, spec.dtype, value["statistics"][name])
            for name, spec in fields.items()
        }
        return ShardRecord(int(value["index"]), entry, statistics)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: is not a record of a packed shard ({error!r})") from error


def shard_name(index: int) -> str:
    """The name of a shard's file."""
    return f"shard-{index:05d}.h5"


def plan(source: Source, shard_samples: int, layout: Layout) -> dict[str, Any]:
    """Everything that decides what the shards hold, as JSON.

    Two packings with equal plans write the same shards, so one can continue the other. The files
    of the source are known by path, size and time of change.

    Raises
    ------
    DataError
        A file of the source has gone.
    """
    return {
        "format": "hpcad-packing",
        "version": VERSION,
        "kind": source.kind,
        "count": source.count,
        "fields": {name: field_to_json(spec) for name, spec in source.fields.items()},
        "shard_samples": shard_samples,
        "layout": vars(layout),
        "options": source.options,
        "metadata": canonical_hash(source.metadata),
        "files": canonical_hash([_identity(file) for file in source.files]),
    }


def difference(old: Any, new: Mapping[str, Any]) -> str:
    """What differs between two plans, in words; empty if nothing does."""
    if not isinstance(old, dict):
        return "its record is damaged"
    changed = [name for name in new if old.get(name) != json.loads(json.dumps(new[name]))]
    if not changed:
        return ""
    if changed == ["files"]:
        return "the source's files have changed since (path, size or time)"
    name = next(name for name in changed if name != "files")
    if name == "metadata":
        return "the metadata are other ones now"
    return f"{name} was {old.get(name)}, and now is {new[name]}"


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that is there as a whole or not at all."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(value), encoding="utf-8")
    os.replace(beside, path)


def read_json(path: Path) -> Any:
    """The value in a JSON file; None where there is none, or something else."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _identity(path: Path) -> list[Any]:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return [os.path.abspath(path), status.st_size, status.st_mtime_ns]
