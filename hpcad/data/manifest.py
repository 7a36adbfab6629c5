"""The manifest: what a dataset holds, in one JSON file beside its shards.

Format ``hpcad-shards``, version 1. ``manifest.json`` is an object with the keys

==================  ===============================================================================
``format``          ``"hpcad-shards"``
``version``         ``1``
``kind``            ``"samples"`` (rows are samples) or ``"tokens"`` (one stream of symbols)
``count``           samples, or tokens, in all shards together
``fields``          name -> ``{"dtype", "shape"}`` of one sample
``shards``          list of ``{"file", "count", "bytes", "fields"}``; ``fields`` maps a name to
                    ``{"dtype", "shape", "offset", "xxh3"}`` of the shard's array: its byte offset
                    in the file and the XXH3-128 of its bytes in hexadecimal
``metadata``        class names, vocabulary and whatever else is JSON
``source``, ``licence``, ``attribution``   sentences about where the data come from
==================  ===============================================================================

How one is read, and what is refused, is in :mod:`hpcad.data.manifest_reader`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

FORMAT = "hpcad-shards"
VERSION = 1
FILE_NAME = "manifest.json"
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
    """Shape and dtype of one field of one sample (a scalar has shape ``()``)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of this field in one sample."""
        return prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype.name} {self.shape}"


@dataclass(frozen=True)
class ArrayEntry:
    """Where a shard keeps the array of one field, and the checksum of its bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    xxh3: str

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class ShardEntry:
    """One shard file: its name, its samples, its size, and its arrays by field name."""

    file: str
    count: int
    nbytes: int
    arrays: dict[str, ArrayEntry]


@dataclass(frozen=True)
class Manifest:
    """Everything known of a dataset without opening a shard."""

    kind: str
    count: int
    fields: dict[str, FieldSpec]
    shards: tuple[ShardEntry, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    licence: str = ""
    attribution: str = ""

    @property
    def data_bytes(self) -> int:
        """Bytes of all arrays of all shards."""
        return sum(array.nbytes for shard in self.shards for array in shard.arrays.values())

    @property
    def hash(self) -> str:
        """SHA-256 in hexadecimal of the manifest's canonical JSON, the dataset's identity."""
        return canonical_hash(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The JSON object that :func:`~hpcad.data.manifest_reader.parse_manifest` reads."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "count": self.count,
            "fields": {
                name: {"dtype": spec.dtype.name, "shape": list(spec.shape)}
                for name, spec in self.fields.items()
            },
            "shards": [_shard_to_json(shard) for shard in self.shards],
            "metadata": self.metadata,
            "source": self.source,
            "licence": self.licence,
            "attribution": self.attribution,
        }


def manifest_text(manifest: Manifest) -> str:
    """The text of ``manifest.json``; ValueError or TypeError if the metadata are not JSON."""
    return json.dumps(manifest.to_json(), indent=1, allow_nan=False) + "\n"


def canonical_hash(value: Any) -> str:
    """SHA-256 in hexadecimal of a JSON value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _shard_to_json(shard: ShardEntry) -> dict[str, Any]:
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
