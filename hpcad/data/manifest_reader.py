"""Reading a manifest as a hostile file.

A manifest may come from anywhere, so nothing in it is believed: only the known keys, each of its
type, file names without a directory, arrays inside their file and apart from each other, and all
counts and sizes agreeing, before a single byte is allocated for data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from hpcad.data.manifest import (
    ALIGNMENT,
    DTYPES,
    FILE_NAME,
    FORMAT,
    KINDS,
    VERSION,
    ArrayEntry,
    FieldSpec,
    Manifest,
    ShardEntry,
)
from hpcad.errors import DataError

_MAX_FILE_BYTES = 256 * 2**20  # of the manifest itself: about a million shards
_MAX_COUNT = 2**62
_MAX_DIMENSIONS = 16
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SHARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.h5")
_CHECKSUM = re.compile(r"[0-9a-f]{32}")


def parse_manifest(value: Any, where: str | Path) -> Manifest:
    """Check the JSON value of a manifest and make a :class:`Manifest` of it.

    Parameters
    ----------
    value
        What ``json`` made of a manifest file.
    where
        The file's name, for errors.

    Raises
    ------
    DataError
        If a key is unknown or missing, a type is wrong, or two numbers disagree.
    """
    return _Reader(Path(where)).manifest(value)


def read_manifest_json(directory: Path) -> Any:
    """The JSON value of ``directory/manifest.json``, size-checked but not yet validated.

    Raises
    ------
    DataError
        If it is absent, unreadable, too large, or not JSON.
    """
    path = directory / FILE_NAME
    try:
        if not path.is_file():
            raise DataError(_absent(directory))
        if (size := path.stat().st_size) > _MAX_FILE_BYTES:
            raise DataError(
                f"{path}: {size} bytes is too large for a manifest (at most {_MAX_FILE_BYTES})"
            )
        text = path.read_bytes().decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: is not a valid manifest ({error}); copy it again from its source, or pack "
            "the data again"
        ) from error


def read_manifest(directory: Path) -> Manifest:
    """Read and check ``directory/manifest.json``; :class:`DataError` says what is wrong."""
    return parse_manifest(read_manifest_json(directory), directory / FILE_NAME)


def _absent(directory: Path) -> str:
    if not directory.exists():
        return (
            f"{directory}: there is no such dataset; check the path ('hpcad data pack' makes one)"
        )
    parts = sorted(path.parent.name for path in directory.glob(f"*/{FILE_NAME}"))
    if parts:
        inside = " or ".join(str(directory / part) for part in parts[:4])
        return f"{directory}: holds no {FILE_NAME}; did you mean {inside}?"
    return (
        f"{directory}: holds no {FILE_NAME}, so it is not a dataset of hpcad; make one from your "
        "files with 'hpcad data pack'"
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object names a key twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _Reader:
    """Walks the JSON value of a manifest and stops at the first thing that is not as it must be."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def fail(self, what: str) -> NoReturn:
        raise DataError(
            f"{self.where}: {what}; the manifest is damaged or not from hpcad: copy it again or "
            "pack the data again"
        )

    def manifest(self, value: Any) -> Manifest:
        if isinstance(value, dict) and value.get("format") != FORMAT:
            self.fail(f'"format" is {value.get("format")!r}, expected "{FORMAT}"')
        if isinstance(value, dict) and value.get("version") != VERSION:
            raise DataError(
                f"{self.where}: format version {value.get('version')!r}, this hpcad reads version "
                f"{VERSION}; use the hpcad that wrote it, or pack the data again"
            )
        keys = ("format", "version", "kind", "count", "fields", "shards", "metadata")
        self.keys(value, (*keys, "source", "licence", "attribution"), "the manifest")
        kind = self.text(value["kind"], '"kind"')
        if kind not in KINDS:
            self.fail(f'"kind" is {kind!r}, expected one of {KINDS}')
        fields = self.fields(value["fields"], kind)
        shards = self.shards(value["shards"], fields)
        count = self.integer(value["count"], '"count"', 1, _MAX_COUNT)
        if count != (total := sum(shard.count for shard in shards)):
            self.fail(f'"count" is {count}, but its shards add up to {total}')
        return Manifest(
            kind=kind,
            count=count,
            fields=fields,
            shards=shards,
            metadata=self.metadata(value["metadata"], kind),
            source=self.text(value["source"], '"source"'),
            licence=self.text(value["licence"], '"licence"'),
            attribution=self.text(value["attribution"], '"attribution"'),
        )

    def fields(self, value: Any, kind: str) -> dict[str, FieldSpec]:
        if not isinstance(value, dict) or not value:
            self.fail('"fields" must be an object with at least one field')
        fields = {}
        for name, entry in value.items():
            where = f"field {name!r}"
            if not _FIELD_NAME.fullmatch(name):
                self.fail(f"{where} is not a name made of letters, digits and underscores")
            self.keys(entry, ("dtype", "shape"), where)
            fields[name] = FieldSpec(
                self.shape(entry["shape"], where), self.dtype(entry["dtype"], where)
            )
        if kind == "tokens" and [*fields] != ["tokens"]:
            self.fail(f'a token stream has the one field "tokens", this one has {[*fields]}')
        if kind == "tokens" and fields["tokens"].shape != ():
            self.fail(f"tokens must be scalars, not of shape {fields['tokens'].shape}")
        return fields

    def shards(self, value: Any, fields: Mapping[str, FieldSpec]) -> tuple[ShardEntry, ...]:
        if not isinstance(value, list) or not value:
            self.fail('"shards" must be a list with at least one shard')
        shards = tuple(self.shard(entry, index, fields) for index, entry in enumerate(value))
        if len({shard.file for shard in shards}) != len(shards):
            self.fail("two shards have the same file name")
        return shards

    def shard(self, value: Any, index: int, fields: Mapping[str, FieldSpec]) -> ShardEntry:
        where = f"shard {index}"
        self.keys(value, ("file", "count", "bytes", "fields"), where)
        file = self.text(value["file"], f'{where}: "file"')
        if not _SHARD_NAME.fullmatch(file) or ".." in file:
            self.fail(f"{where}: {file!r} is not a plain file name ending in .h5")
        count = self.integer(value["count"], f'{where}: "count"', 1, _MAX_COUNT)
        nbytes = self.integer(value["bytes"], f'{where}: "bytes"', 1, _MAX_COUNT)
        self.keys(value["fields"], tuple(fields), f'{where}: "fields"')
        arrays = {
            name: self.array(value["fields"][name], f"{where}, field {name!r}", spec, count)
            for name, spec in fields.items()
        }
        self.layout(arrays, nbytes, where)
        return ShardEntry(file, count, nbytes, arrays)

    def array(self, value: Any, where: str, spec: FieldSpec, count: int) -> ArrayEntry:
        self.keys(value, ("dtype", "shape", "offset", "xxh3"), where)
        shape = self.shape(value["shape"], where)
        dtype = self.dtype(value["dtype"], where)
        if (shape, dtype) != ((count, *spec.shape), spec.dtype):
            self.fail(
                f"{where} has {dtype.name} {shape}, expected {spec.dtype.name} "
                f"{(count, *spec.shape)}"
            )
        offset = self.integer(value["offset"], f'{where}: "offset"', 1, _MAX_COUNT)
        if offset % ALIGNMENT:
            self.fail(f"{where}: offset {offset} is not a multiple of {ALIGNMENT}")
        checksum = self.text(value["xxh3"], f'{where}: "xxh3"')
        if not _CHECKSUM.fullmatch(checksum):
            self.fail(f'{where}: "xxh3" must be 32 hexadecimal digits')
        return ArrayEntry(shape, dtype, offset, checksum)

    def layout(self, arrays: Mapping[str, ArrayEntry], nbytes: int, where: str) -> None:
        end = 0
        for name, array in sorted(arrays.items(), key=lambda item: item[1].offset):
            if array.offset < end:
                self.fail(f"{where}: the array of field {name!r} overlaps another")
            end = array.offset + array.nbytes
            if end > nbytes:
                self.fail(f"{where}: field {name!r} ends at byte {end} of a file of {nbytes}")

    def metadata(self, value: Any, kind: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail('"metadata" must be an object')
        for key in ("class_names", "vocabulary"):
            names = value.get(key, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                self.fail(f'metadata "{key}" must be a list of strings')
        if "classes" in value:
            self.integer(value["classes"], 'metadata "classes"', 1, _MAX_COUNT)
        return value

    def keys(self, value: Any, expected: tuple[str, ...], where: str) -> None:
        if not isinstance(value, dict):
            self.fail(f"{where} must be a JSON object")
        if missing := [key for key in expected if key not in value]:
            self.fail(f"{where} lacks {missing[0]!r}")
        if unknown := [key for key in value if key not in expected]:
            self.fail(f"{where} has the unknown key {unknown[0]!r}")

    def text(self, value: Any, where: str) -> str:
        if not isinstance(value, str):
            self.fail(f"{where} must be a string")
        return value

    def integer(self, value: Any, where: str, low: int, high: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fail(f"{where} must be an integer from {low} to {high}, not {value!r}")
        return value

    def shape(self, value: Any, where: str) -> tuple[int, ...]:
        if not isinstance(value, list) or len(value) > _MAX_DIMENSIONS:
            self.fail(f'{where}: "shape" must be a list of at most {_MAX_DIMENSIONS} integers')
        return tuple(self.integer(n, f'{where}: "shape"', 1, _MAX_COUNT) for n in value)

    def dtype(self, value: Any, where: str) -> np.dtype[Any]:
        if not isinstance(value, str) or value not in DTYPES:
            self.fail(f"{where}: dtype {value!r} is not one of {', '.join(DTYPES)}")
        return DTYPES[value]
