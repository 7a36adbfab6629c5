"""Blocks: what is read is compared, and only that."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcad.data.manifest.contents import ShardEntry
from hpcad.data.shards.blocks import BLOCK_BYTES, block_hashes, rows_per_block
from hpcad.data.shards.opening import open_shard
from hpcad.data.shards.writer import write_shard
from hpcad.errors import DataError

X = np.random.default_rng(0).random((50_001, 3))  # 24 bytes a row: 2731 rows a block, 19 blocks


@pytest.fixture
def entry(tmp_path: Path) -> ShardEntry:
    return write_shard(tmp_path / "a.h5", {"x": X})


@pytest.fixture
def damage(tmp_path: Path, entry: ShardEntry) -> Callable[[int], None]:
    def damage(row: int) -> None:
        with open(tmp_path / "a.h5", "r+b") as file:
            os.pwrite(file.fileno(), b"\xff\xff", entry.arrays["x"].offset + row * 24 + 6)

    return damage


@pytest.mark.parametrize(
    ("row_bytes", "rows", "expected"),
    [
        (24, 50_001, 2731),
        (24, 5, 5),
        (65536, 9, 1),
        (65535, 9, 2),
        (10**9, 9, 1),
        (1, 10**9, 65536),
    ],
)
def test_a_block_is_whole_rows_of_64_kib_or_more(row_bytes: int, rows: int, expected: int) -> None:
    found = rows_per_block(row_bytes, rows)
    assert found == expected
    assert found == rows or found * row_bytes >= BLOCK_BYTES


def test_the_last_block_may_be_shorter() -> None:
    assert len(block_hashes(np.arange(10.0), 4)) == 3
    assert block_hashes(np.arange(8.0), 4).tolist() == block_hashes(np.arange(10.0), 4)[:2].tolist()


def test_rows_of_all_blocks_in_any_order(tmp_path: Path, entry: ShardEntry) -> None:
    array = open_shard(tmp_path, entry, verify="read")["x"]
    rng = np.random.default_rng(1)
    for rows in (
        rng.permutation(len(X)),
        rng.integers(0, len(X), 77),
        np.array([50_000]),
        np.array([50_000, 0, 50_000, 49_157, 49_158]),
        np.empty(0, np.int64),
    ):
        out = np.empty((len(rows), 3))
        array.read(rows, out)
        np.testing.assert_array_equal(out, X[rows])


@pytest.mark.parametrize("row", [0, 2730, 2731, 30_000, 49_157, 50_000])
def test_damage_is_found_when_its_block_is_read(
    tmp_path: Path, entry: ShardEntry, damage: Callable[[int], None], row: int
) -> None:
    damage(row)
    array = open_shard(tmp_path, entry, verify="read")["x"]
    first = row // 2731 * 2731
    last = min(first + 2730, 50_000)
    for other in (first, last, row):
        with pytest.raises(DataError, match=f"field 'x' does not match: rows {first} to {last} "):
            array.read(np.array([other]), np.empty((1, 3)))
    for good in {(first - 1) % 50_001, (last + 1) % 50_001}:
        out = np.empty((1, 3))
        array.read(np.array([good]), out)
        np.testing.assert_array_equal(out, X[[good]])
    with pytest.raises(DataError, match="field 'x' does not match"):
        open_shard(tmp_path, entry, verify="first")
    open_shard(tmp_path, entry, verify=False)


def test_damage_after_opening_is_found(
    tmp_path: Path, entry: ShardEntry, damage: Callable[[int], None]
) -> None:
    array = open_shard(tmp_path, entry, verify="read")["x"]
    array.read(np.array([5]), np.empty((1, 3)))
    damage(5)
    with pytest.raises(DataError, match="does not match: rows 0 to 2730"):
        array.read(np.array([5]), np.empty((1, 3)))


def test_samples_of_a_block_each(tmp_path: Path) -> None:
    large = np.random.default_rng(0).random((5, 20_000))
    entry = write_shard(tmp_path / "b.h5", {"x": large})
    with open(tmp_path / "b.h5", "r+b") as file:
        os.pwrite(file.fileno(), b"\xff\xff", entry.arrays["x"].offset + 3 * 160_000 + 6)
    array = open_shard(tmp_path, entry, verify="read")["x"]
    out = np.empty((3, 20_000))
    array.read(np.array([4, 0, 2]), out)
    np.testing.assert_array_equal(out, large[[4, 0, 2]])
    with pytest.raises(DataError, match="rows 3 to 3"):
        array.read(np.array([4, 3]), out[:2])


@pytest.mark.parametrize("verify", ["first", "read"])
def test_a_damaged_table_is_found(tmp_path: Path, entry: ShardEntry, verify: str) -> None:
    table = entry.arrays["x"].blocks
    assert table is not None
    with open(tmp_path / "a.h5", "r+b") as file:
        os.pwrite(file.fileno(), b"\0\0\0", table.offset)
    with pytest.raises(DataError, match="field 'x' does not match: its table of blocks"):
        open_shard(tmp_path, entry, verify=verify)
