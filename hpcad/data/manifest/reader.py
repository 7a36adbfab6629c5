"""Reading a manifest as a hostile file.

A manifest may come from anywhere, so nothing in it is believed: only the known keys, each of its
type, file names without a directory, arrays inside their file and apart from each other, and all
counts and sizes agreeing, before a single byte is allocated for data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from hpcad.data.manifest.contents import (
    BLOCKS,
    FILE_NAME,
    FORMAT,
    KINDS,
    VERSION,
    VERSIONS,
    FieldSpec,
    Manifest,
    seal,
)
from hpcad.data.manifest.shards import ShardsReader
from hpcad.data.manifest.statistics import check_statistics
from hpcad.data.manifest.values import MOST, shortened
from hpcad.errors import DataError

_MAX_FILE_BYTES = 256 * 2**20  # of the manifest itself: about a million shards

_MAX_SAMPLE_BYTES = 2**46  # more than any file system has, and few enough for NumPy


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


class _Reader(ShardsReader):
    """Walks the JSON value of a manifest and stops at the first thing that is not as it must be."""

    def manifest(self, value: Any) -> Manifest:
        version = self.version(value)
        keys = ["format", "version", "kind", "count", "fields", "shards", "metadata"]
        keys += ["source", "licence", "attribution"]
        self.keys(value, (*keys, "statistics", "xxh3") if version > 1 else (*keys,), "the manifest")
        if version > 1 and value["xxh3"] != seal(value):
            self.fail("its contents do not match its own checksum")
        kind = self.text(value["kind"], '"kind"')
        if kind not in KINDS:
            self.fail(f'"kind" is {kind!r}, expected one of {KINDS}')
        fields = self.fields(value["fields"], kind, version)
        shards = self.shards(value["shards"], fields, version)
        count = self.integer(value["count"], '"count"', 1, MOST)
        if count != (total := sum(shard.count for shard in shards)):
            self.fail(f'"count" is {count}, but its shards add up to {total}')
        if version > 1:
            check_statistics(self, value["statistics"], fields)
        return Manifest(
            kind=kind,
            count=count,
            fields=fields,
            shards=shards,
            metadata=self.metadata(value["metadata"]),
            source=self.text(value["source"], '"source"'),
            licence=self.text(value["licence"], '"licence"'),
            attribution=self.text(value["attribution"], '"attribution"'),
            statistics=value["statistics"] if version > 1 else {},
            version=version,
        )

    def version(self, value: Any) -> int:
        if not isinstance(value, dict):
            self.fail("the manifest must be a JSON object")
        if value.get("format") != FORMAT:
            self.fail(f'"format" is {value.get("format")!r}, expected "{FORMAT}"')
        version = value.get("version")
        if not isinstance(version, int) or isinstance(version, bool) or version not in VERSIONS:
            raise DataError(
                f"{self.where}: format version {shortened(repr(version))}, this hpcad reads "
                f"versions 1 to {VERSION}; use the hpcad that wrote it, or pack the data again"
            )
        return version

    def fields(self, value: Any, kind: str, version: int) -> dict[str, FieldSpec]:
        if not isinstance(value, dict) or not value:
            self.fail('"fields" must be an object with at least one field')
        fields = {}
        for name, entry in value.items():
            where = f"field {name!r}"
            if not self.is_field_name(name):
                self.fail(f"{where} is not a name made of letters, digits and underscores")
            if version > 1 and name == BLOCKS:
                self.fail(f"{where} has the name of the checksums' place in a shard")
            fields[name] = self.field(entry, where, version)
        if kind == "tokens" and [*fields] != ["tokens"]:
            self.fail(f'a token stream has the one field "tokens", this one has {[*fields]}')
        if kind == "tokens" and (fields["tokens"].shape or fields["tokens"].ragged):
            self.fail(f"tokens must be scalars, not of shape {fields['tokens'].shape}")
        return fields

    def field(self, entry: Any, where: str, version: int) -> FieldSpec:
        ragged = version > 1 and isinstance(entry, dict) and "ragged" in entry
        self.keys(entry, ("dtype", "shape", "ragged") if ragged else ("dtype", "shape"), where)
        if ragged and entry["ragged"] is not True:
            self.fail(f'{where}: "ragged" is true or left out, not {entry["ragged"]!r}')
        spec = FieldSpec(
            self.shape(entry["shape"], where), self.dtype(entry["dtype"], where), ragged
        )
        if spec.nbytes > _MAX_SAMPLE_BYTES:
            self.fail(f"{where}: {spec.nbytes} bytes are too many for a sample")
        return spec

    def metadata(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail('"metadata" must be an object')
        for key in ("class_names", "vocabulary"):
            names = value.get(key, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                self.fail(f'metadata "{key}" must be a list of strings')
        if "classes" in value:
            self.integer(value["classes"], 'metadata "classes"', 1, MOST)
        return value
