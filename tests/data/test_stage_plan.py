"""The plan of a stage: every byte is read once, by nodes and ranks in equal parts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hpcad.data.staging.plan import (
    Nodes,
    Piece,
    batches,
    from_text,
    owners,
    pieces,
    to_text,
    turns,
)

SIZES = [1000, 1, 0, 4096, 77, 2500]


@pytest.mark.parametrize("numbers", [[0], [0, 0, 1, 1], [5, 3, 5, 3, 3], [0, 1, 2]])
def test_every_byte_is_read_by_one_rank_and_reaches_all_nodes(numbers: list[int]) -> None:
    nodes = Nodes.of(numbers)
    rings = nodes.rings()
    cut = pieces(SIZES, range(len(SIZES)), 100)
    readers: Counter[int] = Counter()
    seen = Counter()
    for group, ring in enumerate(rings):
        assert [nodes.index(rank) for rank in ring] == list(range(len(nodes.ranks)))
        for turn in turns(cut, group, len(rings), len(ring)):
            assert 0 < len(turn) <= len(ring)
            for piece, reader in zip(turn, ring, strict=False):
                readers[reader] += 1
                seen.update(
                    (piece.file, byte) for byte in range(piece.offset, piece.offset + piece.length)
                )
    assert seen == Counter((f, byte) for f, size in enumerate(SIZES) for byte in range(size))
    assert max(readers.values()) - min(readers.values()) <= 1


def test_a_rank_without_a_ring_has_nothing_to_copy() -> None:
    assert Nodes.of([0, 0, 0, 1]).rings() == [(0, 3)]
    assert turns([Piece(0, 0, 5)], 1, 1, 0) == []


def test_batches_keep_the_order_and_are_bounded_unless_a_file_is_larger() -> None:
    found = batches(SIZES, range(len(SIZES)), 1100)
    assert found == [[0, 1, 2], [3], [4], [5]]
    assert batches(SIZES, [4, 5], 5000) == [[4, 5]]
    assert batches(SIZES, [], 10) == []


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_parts_are_contiguous_and_of_equal_bytes(count: int) -> None:
    owner = owners(SIZES, count)
    assert (np.diff(owner) >= 0).all()
    assert 0 <= owner.min() <= owner.max() < count
    parts = np.bincount(owners([10] * 40, count), minlength=count)
    assert parts.max() - parts.min() <= 1


@pytest.mark.parametrize("files", [[], [0], [8], [1, 2, 7], list(range(9))])
def test_files_travel_as_text(files: list[int]) -> None:
    assert np.flatnonzero(from_text(to_text(files, 9), 9)).tolist() == files
    assert len(to_text(files, 9)) <= 4
