"""The manifest: what a dataset holds, in one JSON file beside its shards.

Format ``hpcad-shards``, version 2; ``docs/guide/shard_format.md`` describes it key by key.
Version 1 had neither blocks nor chunks, ragged fields, statistics and a checksum of the manifest
itself. Its hash must stay what it was, because checkpoints name their dataset by it: so a manifest
remembers its version and is written in it.

How one is read, and what is refused, is in :mod:`hpcad.data.manifest.reader`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import xxhash

FORMAT = "hpcad-shards"
VERSION = 2
VERSIONS = (1, 2)
FILE_NAME = "manifest.json"
OFFSETS = ".offsets"  # of a ragged field's second array, after the field's name
BLOCKS = "_blocks"  # the group of a shard with the checksums of blocks
KINDS = ("samples", "tokens")
ALIGNMENT = 4096  # bytes; the page size, and what O_DIRECT and GPUDirect Storage ask for

# Little-endian numbers with an unambiguous HDF5 type. Booleans are packed as uint8: HDF5 has none.
DTYPES = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "float32", "float64"),
    )
}


@dataclass(frozen=True)
class FieldSpec:
    """Shape and dtype of one field of one sample (a scalar has shape ``()``).

    A ragged field has samples of shape ``(n_i, *shape)``, each with its own number of rows.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    ragged: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of this field in one sample; of a ragged one, in one row."""
        return prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        if not self.ragged:
            return f"{self.dtype.name} {self.shape}"
        return f"{self.dtype.name} (" + ", ".join(["n", *map(str, self.shape)]) + ")"


@dataclass(frozen=True)
class BlockTable:
    """Where a shard keeps the XXH3-64 of each block of ``rows`` rows of an array.

    The table is itself an array of uint64; ``xxh3`` is the XXH3-128 of its bytes.
    """

    rows: int
    offset: int
    xxh3: str


@dataclass(frozen=True)
class ArrayEntry:
    """One array of a shard: where its bytes are, and their checksums.

    A contiguous one has an offset and the XXH3-128 of all its bytes. A chunked one has chunks of
    ``chunk`` rows with ``filters``; HDF5 knows where they lie. Both have a table of blocks, except
    in version 1 and where there are no rows.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int = 0
    xxh3: str = ""
    chunk: int = 0
    filters: tuple[str, ...] = ()
    blocks: BlockTable | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array, as it is read."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return prod(self.shape[1:]) * self.dtype.itemsize


@dataclass(frozen=True)
class ShardEntry:
    """One shard file: its name, its samples, its size, and its arrays by name.

    A field has the array of its name; a ragged one has a second, :data:`OFFSETS` after its name.
    """

    file: str
    count: int
    nbytes: int
    arrays: dict[str, ArrayEntry]


@dataclass(frozen=True)
class Manifest:
    """Everything known of a dataset without opening a shard.

    ``statistics`` has an entry per field: ``count``, ``mean``, ``std``, ``min`` and ``max``, of
    all numbers, or for each place of a last axis of up to 64.
    """

    kind: str
    count: int
    fields: dict[str, FieldSpec]
    shards: tuple[ShardEntry, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    licence: str = ""
    attribution: str = ""
    statistics: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = VERSION

    @property
    def data_bytes(self) -> int:
        """Bytes of all arrays of all shards, as they are read."""
        return sum(array.nbytes for shard in self.shards for array in shard.arrays.values())

    @property
    def file_bytes(self) -> int:
        """Bytes of all shards on the disk."""
        return sum(shard.nbytes for shard in self.shards)

    @property
    def hash(self) -> str:
        """SHA-256 in hexadecimal of the manifest's canonical JSON, the dataset's identity."""
        return canonical_hash(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The JSON object that :func:`~hpcad.data.manifest.reader.parse_manifest` reads."""
        to_json = shard_to_json if self.version > 1 else _first_shard_to_json
        value = {
            "format": FORMAT,
            "version": self.version,
            "kind": self.kind,
            "count": self.count,
            "fields": {name: field_to_json(spec) for name, spec in self.fields.items()},
            "shards": [to_json(shard) for shard in self.shards],
            "metadata": self.metadata,
            "source": self.source,
            "licence": self.licence,
            "attribution": self.attribution,
        }
        if self.version > 1:
            value["statistics"] = self.statistics
            value["xxh3"] = seal(value)
        return value


def manifest_text(manifest: Manifest) -> str:
    """The text of ``manifest.json``; ValueError or TypeError if the metadata are not JSON."""
    return json.dumps(manifest.to_json(), indent=1, allow_nan=False) + "\n"


def canonical_text(value: Any) -> bytes:
    """A JSON value as bytes that do not depend on the order of keys, or on spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def canonical_hash(value: Any) -> str:
    """SHA-256 in hexadecimal of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(canonical_text(value)).hexdigest()


def seal(value: dict[str, Any]) -> str:
    """The checksum that a manifest carries of itself: XXH3-128 of all other keys."""
    others = {key: entry for key, entry in value.items() if key != "xxh3"}
    return xxhash.xxh3_128_hexdigest(canonical_text(others))


def field_to_json(spec: FieldSpec) -> dict[str, Any]:
    """A field, as a manifest has it."""
    value: dict[str, Any] = {"dtype": spec.dtype.name, "shape": list(spec.shape)}
    return {**value, "ragged": True} if spec.ragged else value


def shard_to_json(shard: ShardEntry) -> dict[str, Any]:
    """A shard, as a manifest of version 2 has it."""
    arrays = {name: _array_to_json(array) for name, array in shard.arrays.items()}
    return {"file": shard.file, "count": shard.count, "bytes": shard.nbytes, "arrays": arrays}


def _array_to_json(array: ArrayEntry) -> dict[str, Any]:
    value: dict[str, Any] = {"dtype": array.dtype.name, "shape": list(array.shape)}
    if array.chunk:
        value |= {"chunk": array.chunk, "filters": list(array.filters)}
    else:
        value |= {"offset": array.offset, "xxh3": array.xxh3}
    if (table := array.blocks) is not None:
        value["blocks"] = {"rows": table.rows, "offset": table.offset, "xxh3": table.xxh3}
    return value


def _first_shard_to_json(shard: ShardEntry) -> dict[str, Any]:
    # Version 1, which only the hash of an old dataset still needs.
    arrays = {
        name: {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "offset": array.offset,
            "xxh3": array.xxh3,
        }
        for name, array in shard.arrays.items()
    }
    return {"file": shard.file, "count": shard.count, "bytes": shard.nbytes, "fields": arrays}
