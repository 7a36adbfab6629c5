"""A dataset in words, for ``hpcad data inspect``."""

from __future__ import annotations

import os

from hpcad.data.builtin import resolve
from hpcad.data.manifest.contents import Manifest
from hpcad.data.manifest.reader import read_manifest
from hpcad.data.shards.opening import check_file

_NAMES_SHOWN = 20
_CHANNELS_SHOWN = 3


def summary(path: str | os.PathLike[str]) -> str:
    """Several lines about a dataset, from its manifest and the sizes of its shards.

    Raises
    ------
    DataError
        If the manifest is missing or damaged, or a shard is missing or cut short.
    """
    directory = resolve(path)
    manifest = read_manifest(directory)
    for shard in manifest.shards:
        check_file(directory / shard.file, shard)
    rows = [
        ("dataset", str(directory)),
        (manifest.kind, f"{manifest.count:,}"),
        *((f"field {name}", str(spec)) for name, spec in manifest.fields.items()),
        ("shards", _shards(manifest)),
        ("bytes", format_bytes(manifest.data_bytes)),
        *_storage(manifest),
        *_statistics(manifest),
        *_metadata(manifest),
        ("source", manifest.source),
        ("licence", manifest.licence),
        ("attribution", manifest.attribution),
        ("format", f"version {manifest.version}"),
        ("hash", manifest.hash),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows if value)


def format_bytes(count: float) -> str:
    """``1536`` as ``1.5 KiB``."""
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        units.pop(0)
    return f"{count:.0f} B" if units[0] == "B" else f"{count:.1f} {units[0]}"


def _shards(manifest: Manifest) -> str:
    counts = [shard.count for shard in manifest.shards]
    if len(counts) == 1:
        return "1"
    return f"{len(counts):,} with {min(counts):,} to {max(counts):,} {manifest.kind} each"


def _storage(manifest: Manifest) -> list[tuple[str, str]]:
    """Which arrays are in chunks, and what their filters saved."""
    filters = {
        array.filters for shard in manifest.shards for array in shard.arrays.values() if array.chunk
    }
    if not filters:
        return []
    words = " or ".join(", ".join(each) for each in sorted(filters))
    share = manifest.file_bytes / manifest.data_bytes
    files = format_bytes(manifest.file_bytes)
    return [("chunks", words), ("files", f"{files}, {share:.0%} of the bytes")]


def _statistics(manifest: Manifest) -> list[tuple[str, str]]:
    rows = []
    for name, found in manifest.statistics.items():
        parts = []
        for key in ("mean", "std", "min", "max"):
            numbers = found[key] if isinstance(found[key], list) else [found[key]]
            shown = " ".join("none" if x is None else f"{x:.6g}" for x in numbers[:_CHANNELS_SHOWN])
            parts.append(f"{key} {shown}" + (" ..." if len(numbers) > _CHANNELS_SHOWN else ""))
        rows.append((f"numbers {name}", ", ".join(parts)))
    return rows


def _metadata(manifest: Manifest) -> list[tuple[str, str]]:
    rows = []
    for key, value in manifest.metadata.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            shown = " ".join(repr(item)[1:-1] or "''" for item in value[:_NAMES_SHOWN])
            more = " ..." if len(value) > _NAMES_SHOWN else ""
            rows.append((key, f"{len(value)}: {shown}{more}"))
        else:
            text = str(value)
            rows.append((key, text if len(text) <= 100 else text[:97] + "..."))
    return rows
