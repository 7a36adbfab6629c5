"""The table of contents of a checkpoint: what `manifest.json` says, written and read strictly."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.checkpoint.format import (
    CHECKSUM,
    FORMAT,
    MAX_AXES,
    PART_NAME,
    STORED_DTYPES,
    VERSION,
    DamagedCheckpointError,
    check_json,
    check_names,
    checksum,
    count_of,
    encode_state,
    nonce_of,
    text_of,
    unique_keys,
)
from hpcad.errors import CheckpointError

_NONCE = re.compile(r"[0-9a-f]{16}")
_DIGEST = re.compile(r"[0-9a-f]{32}")
_SEAL = re.compile(rb',\n "xxh3_128": "([0-9a-f]{32})"\n}\n')
_SEAL_LENGTH = len(f',\n "{CHECKSUM}": "{"0" * 32}"\n}}\n')


@dataclass(frozen=True)
class SliceSpec:
    """Where a run of elements of an array lies.

    Attributes
    ----------
    part : str
        File name, in the same directory.
    offset : int
        Of the first byte in the part.
    start, count : int
        Of the elements, in the flat (C order) array.
    checksum : str
        xxh3_128 of the bytes.
    """

    part: str
    offset: int
    start: int
    count: int
    checksum: str


@dataclass(frozen=True)
class ArraySpec:
    """Name, dtype string (little-endian), shape, and slices that cover the array in order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    slices: tuple[SliceSpec, ...]

    @property
    def size(self) -> int:
        """Elements of the array; exact, since Python integers do not overflow."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self.size * self.itemsize


@dataclass(frozen=True)
class PartSpec:
    """File name and length in bytes of one part."""

    file: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The table of contents of a checkpoint.

    Attributes
    ----------
    step : int
    nonce : str
        16 hexadecimal digits, drawn for every save; the names of all parts begin with it.
    world_size : int
        Ranks that wrote it. It says nothing about who may read it.
    written : str
        UTC, ISO 8601.
    hosts : tuple of str
        Of the ranks, each once.
    hpcad : str
        Version of the writer.
    state : dict
        JSON values.
    arrays : tuple of ArraySpec
        In the order in which they were given.
    parts : tuple of PartSpec
    """

    step: int
    nonce: str
    world_size: int
    written: str
    hosts: tuple[str, ...]
    hpcad: str
    state: dict[str, Any]
    arrays: tuple[ArraySpec, ...]
    parts: tuple[PartSpec, ...]

    def encode(self) -> bytes:
        """Return the manifest as JSON text that ends with its own checksum.

        The checksum is that of the text without its line, byte for byte, so that no change to
        the file can go unnoticed.

        Raises
        ------
        CheckpointError
            The state does not consist of JSON values, or there is more than readers accept.
        """
        lines = [
            f' "format": "{FORMAT}"',
            f' "version": {VERSION}',
            f' "step": {self.step}',
            f' "nonce": "{self.nonce}"',
            f' "world_size": {self.world_size}',
            f' "written": {json.dumps(self.written)}',
            f' "hosts": {json.dumps(self.hosts)}',
            f' "hpcad": {json.dumps(self.hpcad)}',
            f' "state": {encode_state(self.state)}',
            f' "arrays": {_rows([_array_record(spec) for spec in self.arrays])}',
            f' "parts": {_rows([{"file": p.file, "bytes": p.bytes} for p in self.parts])}',
        ]
        body = ("{\n" + ",\n".join(lines)).encode()
        try:
            check_json(body)
        except ValueError as error:
            raise CheckpointError(
                f"the manifest of a checkpoint would be too large: {error}"
            ) from error
        digest = checksum(body + b"\n}\n")
        return body + f',\n "{CHECKSUM}": "{digest}"\n}}\n'.encode()

    @staticmethod
    def decode(text: bytes) -> Manifest:
        """Read a manifest.

        Raises
        ------
        DamagedCheckpointError
            Something does not fit: checksum, types, names that leave the directory, slices that
            do not cover their array exactly once, parts that are too short.
        CheckpointError
            It was written by a newer hpcad.
        """
        try:
            check_json(text)
            record = json.loads(_unsealed(text), object_pairs_hook=unique_keys)
            if type(version := record["version"]) is int and version > VERSION:
                raise _NewerFormatError(version)
            return _manifest(record)
        except _NewerFormatError as error:
            raise CheckpointError(
                f"has format version {error}, and this hpcad reads {VERSION}: update hpcad"
            ) from None
        except (ValueError, TypeError, KeyError, RecursionError, CheckpointError) as error:
            raise DamagedCheckpointError(f"its manifest cannot be used ({error!r})") from error


class _NewerFormatError(Exception):
    """A manifest that is whole, but of a later version than this program knows."""


def _rows(records: list[dict[str, Any]]) -> str:
    """One record a line: quick to write, and to compare by eye."""
    return "[\n" + ",\n".join(f"  {json.dumps(r)}" for r in records) + "\n ]" if records else "[]"


def _array_record(spec: ArraySpec) -> dict[str, Any]:
    slices = [
        {
            "part": s.part,
            "offset": s.offset,
            "start": s.start,
            "count": s.count,
            CHECKSUM: s.checksum,
        }
        for s in spec.slices
    ]
    return {"name": spec.name, "dtype": spec.dtype, "shape": spec.shape, "slices": slices}


def _unsealed(text: bytes) -> bytes:
    """Check the checksum at the end of a manifest, and return the text that it is of."""
    seal = _SEAL.fullmatch(text[-_SEAL_LENGTH:])
    if seal is None:
        raise ValueError("it does not end with a checksum")
    body = text[:-_SEAL_LENGTH] + b"\n}\n"
    if checksum(body) != seal[1].decode():
        raise ValueError("its checksum does not match")
    return body


def _manifest(record: dict[str, Any]) -> Manifest:
    if record["format"] != FORMAT or record["version"] != VERSION:
        raise ValueError("it is not of this format")
    if not isinstance(record["state"], dict):
        raise ValueError("its state is not a JSON object")
    manifest = Manifest(
        step=count_of(record["step"]),
        nonce=text_of(record["nonce"], _NONCE),
        world_size=count_of(record["world_size"]),
        written=text_of(record["written"]),
        hosts=tuple(text_of(host) for host in record["hosts"]),
        hpcad=text_of(record["hpcad"]),
        state=record["state"],
        arrays=tuple(_array_spec(item) for item in record["arrays"]),
        parts=tuple(
            PartSpec(text_of(item["file"], PART_NAME), count_of(item["bytes"]))
            for item in record["parts"]
        ),
    )
    check_names([a.name for a in manifest.arrays])
    _check_slices(manifest)
    return manifest


def _array_spec(item: dict[str, Any]) -> ArraySpec:
    name = text_of(item["name"])
    shape = tuple(count_of(extent) for extent in item["shape"])
    if item["dtype"] not in STORED_DTYPES or len(shape) > MAX_AXES:
        raise ValueError(f"array {name!r} has dtype {item['dtype']!r}, {len(shape)} axes")
    slices = tuple(
        SliceSpec(
            text_of(s["part"], PART_NAME),
            count_of(s["offset"]),
            count_of(s["start"]),
            count_of(s["count"]),
            text_of(s[CHECKSUM], _DIGEST),
        )
        for s in item["slices"]
    )
    return ArraySpec(name, item["dtype"], shape, slices)


def _check_slices(manifest: Manifest) -> None:
    """Check that slices cover their arrays, and lie apart from each other in parts of this save."""
    sizes = {part.file: part.bytes for part in manifest.parts}
    if len(sizes) != len(manifest.parts) or {nonce_of(n) for n in sizes} - {manifest.nonce}:
        raise ValueError("a part is named twice, or belongs to another save")
    extents: list[tuple[str, int, int]] = []
    for array in manifest.arrays:
        covered = 0
        for piece in array.slices:
            if piece.start != covered or piece.count == 0:
                raise ValueError(f"the slices of {array.name!r} do not follow each other")
            covered += piece.count
            extents.append((piece.part, piece.offset, piece.offset + piece.count * array.itemsize))
        if covered != array.size:
            raise ValueError(
                f"the slices of {array.name!r} hold {covered} of {array.size} elements"
            )
    extents.sort()
    for i, (part, begin, end) in enumerate(extents):
        if end > sizes.get(part, 0):
            raise ValueError(f"a slice ends at byte {end} of {part}, behind its end")
        if i and extents[i - 1][0] == part and begin < extents[i - 1][2]:
            raise ValueError(f"two slices overlap in {part}")
