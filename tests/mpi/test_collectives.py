"""Every communicator means what the naive one means. Runs on any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.errors import ShapeError

from .groups import make_group

pytestmark = pytest.mark.mpi

COUNTS = (0, 1, 7, 1009)  # nothing, one, and primes that no number of ranks divides
ORDERED = ("int8", "uint8", "int32", "int64", "uint64", "float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
CASES = [(dtype, op) for dtype in ORDERED for op in ("sum", "max", "min", "prod")] + [
    (dtype, op) for dtype in COMPLEX for op in ("sum", "prod")
]


@pytest.fixture(scope="module", params=["world", "mpi", "node", "nodes of 2"])
def fast(request):
    return make_group(request.param)


@pytest.fixture(scope="module")
def naive():
    return make_group("naive")


def values(rank: int, count: int, dtype: str) -> np.ndarray:
    """Small numbers, different on every rank: exact in float16 sums, and products do not vanish."""
    rng = np.random.default_rng(1000 + rank)
    array = rng.integers(1, 4, count).astype(dtype)
    return array + array.dtype.type(1j) if np.iscomplexobj(array) else array


def in_numpy(op: str, count: int, dtype: str, size: int) -> np.ndarray:
    """What the reduction must be, with no message at all."""
    combine = {"sum": np.add, "max": np.maximum, "min": np.minimum, "prod": np.multiply}[op]
    wide = "float32" if dtype == "float16" else dtype
    every = [values(rank, count, dtype) for rank in range(size)]
    return combine.reduce(every, dtype=wide).astype(dtype)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("dtype", "op"), CASES)
def test_allreduce_is_the_naive_one(fast, naive, dtype, op, count):
    expected = values(naive.rank, count, dtype)
    naive.allreduce(expected, op)
    np.testing.assert_array_equal(expected, in_numpy(op, count, dtype, naive.size))
    array = values(fast.rank, count, dtype)
    fast.allreduce(array, op)
    np.testing.assert_array_equal(array, expected)
    assert array.dtype == dtype
    array = values(fast.rank, count, dtype)
    fast.iallreduce(array, op).wait()
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_that_round_agree_closely_and_on_every_rank(fast, naive, dtype):
    rng = np.random.default_rng(fast.rank)
    array = rng.standard_normal(10007).astype(dtype)
    expected = array.copy()
    naive.allreduce(expected)
    fast.allreduce(array)
    np.testing.assert_allclose(array, expected, rtol=0, atol=8 * np.finfo(dtype).eps)
    copies = fast.gather_json(array.tobytes().hex()[:512])
    assert len(set(copies)) == 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("op", ["sum", "max", "min", "prod"])
def test_a_nan_of_one_rank_reaches_all(fast, naive, op, dtype):
    for communicator in (fast, naive):
        array = np.ones(3, dtype)
        array[1 if communicator.rank else 0] = np.nan
        communicator.allreduce(array, op)
        assert np.isnan(array).tolist() == [True, communicator.size > 1, False]


def test_float16_is_accumulated_in_single_precision(fast, naive):
    for communicator in (fast, naive):
        array = np.full(3, 2048.0 if communicator.rank == 0 else 0.5, np.float16)
        communicator.allreduce(array)
        exact = np.float16(2048 + 0.5 * (communicator.size - 1))  # 2048 + 0.5 is 2048 in float16
        np.testing.assert_array_equal(array, np.full(3, exact))
        array[:] = 60000
        communicator.iallreduce(array).wait()
        assert np.isinf(array).all() == (communicator.size > 1)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64", "complex64", "bool"])
def test_broadcast_from_every_root(fast, naive, dtype, count):
    for communicator in (fast, naive):
        for root in range(communicator.size):
            array = values(communicator.rank, count, "int64").astype(dtype)
            communicator.broadcast(array, root)
            np.testing.assert_array_equal(array, values(root, count, "int64").astype(dtype))


def test_matrices_scalars_and_slices_of_an_arena_work(fast):
    matrix = np.ones((3, 5), np.float32)
    fast.allreduce(matrix)
    assert (matrix == fast.size).all()
    scalar = np.array(2.0)
    fast.allreduce(scalar)
    assert scalar[()] == 2.0 * fast.size
    arena = np.ones(100)
    fast.iallreduce(arena[10:20]).wait()
    assert arena.sum() == 90 + 10 * fast.size


def test_long_arrays_go_in_chunks(fast, naive, monkeypatch):
    for communicator in (fast, naive):
        monkeypatch.setattr(type(communicator), "chunk", 10)
        for count in (9, 10, 11, 101):
            expected = in_numpy("sum", count, "float64", communicator.size)
            array = values(communicator.rank, count, "float64")
            communicator.allreduce(array)
            np.testing.assert_array_equal(array, expected)
            array = values(communicator.rank, count, "float64")
            communicator.iallreduce(array).wait()
            np.testing.assert_array_equal(array, expected)
            array = values(communicator.rank, count, "float64")
            communicator.broadcast(array, communicator.size - 1)
            np.testing.assert_array_equal(array, values(communicator.size - 1, count, "float64"))


def test_requests_overlap_and_complete_in_any_order(fast):
    arrays = [np.full(n, fast.rank + 1.0) for n in (1, 1000, 100_003)]
    requests = [fast.iallreduce(array) for array in arrays]
    while not requests[2].test():
        pass
    assert requests[2].test()  # again is harmless
    requests[0].wait()
    requests[1].wait()
    requests[0].wait()
    total = sum(range(1, fast.size + 1))
    assert all((array == total).all() for array in arrays)


def test_json_travels(fast, naive):
    for communicator in (fast, naive):
        value = {"rank": communicator.rank, "text": "Übung" * communicator.rank, "none": None}
        everyone = [
            {"rank": r, "text": "Übung" * r, "none": None} for r in range(communicator.size)
        ]
        assert communicator.gather_json(value) == everyone
        for root in range(communicator.size):
            assert communicator.broadcast_json(value, root) == everyone[root]


def test_value_that_json_cannot_carry_fails_on_every_rank(fast):
    unfit = object() if fast.rank == fast.size - 1 else 1
    with pytest.raises(ShapeError, match="JSON"):
        fast.gather_json(unfit)
    with pytest.raises(ShapeError, match="JSON"):
        fast.broadcast_json(unfit, root=fast.size - 1)
    fast.barrier()  # and the ranks are still in step


def test_allocated_bytes_can_be_reduced(fast):
    array = fast.allocate(800).view(np.float64)
    assert array.ctypes.data % 64 == 0
    array += 1
    fast.allreduce(array)
    assert (array == fast.size).all()
