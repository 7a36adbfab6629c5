"""The part of a manifest about shards and the arrays in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import (
    ALIGNMENT,
    DTYPES,
    OFFSETS,
    ArrayEntry,
    BlockTable,
    FieldSpec,
    ShardEntry,
)
from hpcad.data.manifest.values import MOST, Values

# Deflate makes at most 1032 bytes of one; whoever announces more lies.
_MOST_INFLATED = 1032
_MAX_CHUNK_BYTES = 2**32 - 1  # HDF5's own bound
_FILTERS = re.compile(r"(shuffle )?(deflate:[1-9] )?fletcher32")
_Claim = tuple[tuple[int | None, ...], np.dtype[Any]]  # None: any number of rows


class ShardsReader(Values):
    """Checks the list of shards: names, counts, and that all arrays lie within their files."""

    def shards(
        self, value: Any, fields: Mapping[str, FieldSpec], version: int
    ) -> tuple[ShardEntry, ...]:
        """The list of shards, of one or more."""
        if not isinstance(value, list) or not value:
            self.fail('"shards" must be a list with at least one shard')
        shards = tuple(self._shard(entry, k, fields, version) for k, entry in enumerate(value))
        if len({shard.file for shard in shards}) != len(shards):
            self.fail("two shards have the same file name")
        return shards

    def _shard(
        self, value: Any, index: int, fields: Mapping[str, FieldSpec], version: int
    ) -> ShardEntry:
        where = f"shard {index}"
        key = "arrays" if version > 1 else "fields"
        self.keys(value, ("file", "count", "bytes", key), where)
        file = self.text(value["file"], f'{where}: "file"')
        if not self.is_shard_name(file):
            self.fail(f"{where}: {file!r} is not a plain file name ending in .h5")
        count = self.integer(value["count"], f'{where}: "count"', 1, MOST)
        nbytes = self.integer(value["bytes"], f'{where}: "bytes"', 1, MOST)
        claims = _claims(fields, count)
        self.keys(value[key], tuple(claims), f'{where}: "{key}"')
        arrays = {
            name: self._array(value[key][name], f"{where}, field {name!r}", claim, version)
            for name, claim in claims.items()
        }
        self._layout(arrays, nbytes, where)
        return ShardEntry(file, count, nbytes, arrays)

    def _array(self, value: Any, where: str, claim: _Claim, version: int) -> ArrayEntry:
        chunked = version > 1 and isinstance(value, dict) and "chunk" in value
        lengths = value.get("shape") if isinstance(value, dict) else None
        blocks = version > 1 and not (isinstance(lengths, list) and lengths[:1] == [0])
        place = ("chunk", "filters") if chunked else ("offset", "xxh3")
        self.keys(value, ("dtype", "shape", *place, *(("blocks",) if blocks else ())), where)
        shape = self.shape(value["shape"], where, low=0 if claim[0][0] is None else 1)
        dtype = self.dtype(value["dtype"], where)
        expected = (shape[:1] if claim[0][0] is None else claim[0][:1]) + claim[0][1:]
        if (shape, dtype) != (expected, claim[1]):
            self.fail(f"{where} has {dtype.name} {shape}, expected {claim[1].name} {expected}")
        if chunked:
            entry = self._chunked(value, where, shape, dtype)
        else:
            offset = self._offset(value["offset"], where, shape[0] == 0)
            entry = ArrayEntry(shape, dtype, offset, self.checksum(value["xxh3"], where))
        if not blocks:
            return entry
        table = self._blocks(value["blocks"], where, entry)
        return replace(entry, blocks=table)

    def _chunked(
        self, value: Any, where: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> ArrayEntry:
        rows = self.integer(value["chunk"], f'{where}: "chunk"', 1, max(shape[0], 1))
        filters = value["filters"]
        if not isinstance(filters, list) or not all(isinstance(name, str) for name in filters):
            self.fail(f'{where}: "filters" must be a list of strings')
        if not _FILTERS.fullmatch(" ".join(filters)):
            self.fail(
                f"{where}: the filters {filters} are not shuffle, deflate:1 to deflate:9 and "
                "fletcher32, in this order and with the last"
            )
        entry = ArrayEntry(shape, dtype, chunk=rows, filters=tuple(filters))
        if rows * entry.row_bytes > _MAX_CHUNK_BYTES:
            self.fail(f"{where}: a chunk of {rows} rows has more than {_MAX_CHUNK_BYTES} bytes")
        return entry

    def _blocks(self, value: Any, where: str, entry: ArrayEntry) -> BlockTable:
        where = f"{where}, blocks"
        self.keys(value, ("rows", "offset", "xxh3"), where)
        rows = self.integer(value["rows"], f'{where}: "rows"', 1, entry.shape[0])
        if entry.chunk and rows != entry.chunk:
            self.fail(f"{where}: of {rows} rows, though chunks have {entry.chunk}")
        offset = self._offset(value["offset"], where, empty=False)
        return BlockTable(rows, offset, self.checksum(value["xxh3"], where))

    def _offset(self, value: Any, where: str, empty: bool) -> int:
        if empty:
            return self.integer(value, f'{where}: "offset" without rows', 0, 0)
        offset = self.integer(value, f'{where}: "offset"', 1, MOST)
        if offset % ALIGNMENT:
            self.fail(f"{where}: offset {offset} is not a multiple of {ALIGNMENT}")
        return offset

    def _layout(self, arrays: Mapping[str, ArrayEntry], nbytes: int, where: str) -> None:
        places = []
        for name, array in arrays.items():
            if array.chunk:
                most = _MOST_INFLATED * nbytes if len(array.filters) > 1 else nbytes
                if array.nbytes > most:
                    self.fail(
                        f"{where}: field {name!r} has {array.nbytes} bytes, which do not fit into "
                        f"a file of {nbytes}"
                    )
            elif array.nbytes:
                places.append((array.offset, array.nbytes, name))
            if (table := array.blocks) is not None:
                blocks = -(-array.shape[0] // table.rows)
                places.append((table.offset, 8 * blocks, f"{name} (blocks)"))
        end = 0
        for offset, size, name in sorted(places):
            if offset < end:
                self.fail(f"{where}: the array of field {name!r} overlaps another")
            end = offset + size
            if end > nbytes:
                self.fail(f"{where}: field {name!r} ends at byte {end} of a file of {nbytes} bytes")


def _claims(fields: Mapping[str, FieldSpec], count: int) -> dict[str, _Claim]:
    """Shape and dtype of all arrays of a shard with ``count`` samples."""
    claims: dict[str, _Claim] = {}
    for name, spec in fields.items():
        claims[name] = ((None if spec.ragged else count, *spec.shape), spec.dtype)
        if spec.ragged:
            claims[name + OFFSETS] = ((count + 1,), DTYPES["int64"])
    return claims
