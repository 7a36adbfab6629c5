"""Dividing the state: every element once, in nearly equal shares, and views wherever possible."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from hpcad.checkpoint import Slice
from hpcad.checkpoint.slices import Piece, describe, divide, values
from hpcad.errors import CheckpointError

PAGE = 4096


def random_arrays(seed: int) -> dict[str, np.ndarray]:
    choose = random.Random(seed)
    dtypes = ["f2", "f4", "f8", "i8", "?", "u1"]
    arrays = {}
    for i in range(choose.randrange(1, 30)):
        shape = tuple(choose.randrange(0, 60) for _ in range(choose.randrange(0, 4)))
        arrays[f"group/{i}"] = np.empty(shape, choose.choice(dtypes))
    return arrays


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 64])
@pytest.mark.parametrize("seed", range(8))
def test_every_element_is_in_one_share(seed, size):
    pieces = describe(random_arrays(seed))
    shares = divide(pieces, size, smallest=1)
    assert len(shares) == size
    for whole in pieces:
        found = sorted(
            (piece.start, piece.count)
            for share in shares
            for piece in share
            if piece.name == whole.name
        )
        assert sum(count for _, count in found) == whole.count
        assert [start for start, _ in found] == [
            sum(count for _, count in found[:i]) for i in range(len(found))
        ]


@pytest.mark.parametrize("size", [2, 3, 7])
def test_shares_are_equal_to_within_a_page(size):
    pieces = describe({f"w{i}": np.empty((1000, 37 + i), np.float32) for i in range(20)})
    loads = [sum(piece.nbytes for piece in share) for share in divide(pieces, size, 1)]
    assert max(loads) - min(loads) <= 2 * PAGE


def test_cuts_lie_at_pages_of_the_array():
    pieces = describe({"a": np.empty(100, np.int8), "b": np.empty((999, 999))})
    starts = [piece.start for share in divide(pieces, 5) for piece in share]
    assert [start * 8 % PAGE for start in starts] == [0] * 6


def test_a_rank_has_at_most_one_run_of_an_array():
    for seed in range(8):
        for share in divide(describe(random_arrays(seed)), 4, smallest=1):
            names = [piece.name for piece in share]
            assert len(names) == len(set(names))


def test_little_state_is_written_by_few_ranks_that_are_far_apart():
    pieces = describe({"w": np.empty(3 << 20, np.uint8)})
    shares = divide(pieces, 9, smallest=1 << 20)
    assert [rank for rank, share in enumerate(shares) if share] == [0, 3, 6]


def test_nothing_to_write():
    assert divide([], 3) == [[], [], []]
    assert divide(describe({"empty": np.empty((0, 3))}), 2) == [[], []]


def test_values_of_whole_arrays_are_views():
    array = np.arange(12.0).reshape(3, 4)
    piece = Piece("w", "<f8", (3, 4), 2, 5)
    (found,) = values({"w": array}, [piece])
    assert np.shares_memory(found, array)
    assert found.view(np.float64).tolist() == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0).reshape(2, 3).T, np.arange(10)[::3], np.arange(3, dtype=">f4"), [1.5, 2.5], 3],
)
def test_other_layouts_are_made_plain(array):
    (piece,) = describe({"w": array})
    (found,) = values({"w": array}, [piece])
    expected = np.asarray(array)
    assert np.array_equal(found.view(piece.dtype), expected.reshape(-1))
    assert piece.shape == expected.shape


def test_a_slice_says_where_it_begins():
    arrays = {"w": Slice(np.arange(6, dtype=np.int64).reshape(2, 3), (4, 3), 3)}
    (piece,) = describe(arrays)
    assert (piece.shape, piece.start, piece.count) == ((4, 3), 3, 6)
    (found,) = values(arrays, [piece])
    assert found.view(np.int64).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("start", [-1, 7, 10**9])
def test_a_slice_outside_of_its_array_is_refused(start):
    with pytest.raises(CheckpointError, match=f"begins at element {start}"):
        describe({"w": Slice(np.zeros(6), (4, 3), start)})


@pytest.mark.parametrize("dtype", [np.complex128, object, "U3", "M8[s]", [("a", "f4")]])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(CheckpointError, match=r"'w' has dtype .* cannot store"):
        describe({"w": np.zeros(2, dtype)})


def test_pieces_count_bytes():
    piece = Piece("w", "<f4", (10, 10), 20, 30)
    assert piece.nbytes == 120
    assert not piece.whole
    assert Piece("s", "<f4", (), 0, math.prod(())).whole
