"""Arrays that lie in shared memory are reduced where they are. Runs on any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.parallel import init

from .groups import make_group

pytestmark = pytest.mark.mpi

COUNTS = (1024, 1031, 100_003)  # some go through slots, the last are reduced in place
CASES = [
    *[(dtype, op) for dtype in ("int16", "int32", "uint64", "float32", "float64")
      for op in ("sum", "max", "min", "prod")],
    ("complex64", "sum"), ("complex128", "prod"),
]  # fmt: skip


@pytest.fixture(scope="module", params=["node", "nodes of 2", "nodes of 3"])
def node(request):
    return make_group(request.param)


@pytest.fixture(scope="module")
def naive():
    return make_group("naive")


def fill(array: np.ndarray, rank: int) -> None:
    array[...] = np.random.default_rng(rank).integers(1, 4, array.size)
    if np.iscomplexobj(array):
        array += 1j


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("dtype", "op"), CASES)
def test_reduction_in_place_is_the_naive_one(node, naive, dtype, op, count):
    array = node.allocate(count * np.dtype(dtype).itemsize).view(dtype)
    fill(array, node.rank)
    expected = array.copy()
    naive.allreduce(expected, op)
    node.allreduce(array, op)
    np.testing.assert_array_equal(array, expected)
    fill(array, node.rank)
    node.iallreduce(array, op).wait()
    np.testing.assert_array_equal(array, expected)


def test_sums_have_the_order_of_the_ranks_and_the_same_bits_everywhere(node):
    array = node.allocate(4 * 5003).view(np.float32)
    numbers = [np.random.default_rng(r).standard_normal(5003, np.float32) for r in range(node.size)]
    results = []
    for _ in range(2):
        array[...] = numbers[node.rank]
        node.allreduce(array)
        results.append(array.tobytes())
    assert results[0] == results[1]
    if node.across is None:
        exact = numbers[0]
        for other in numbers[1:]:
            exact = exact + other
        np.testing.assert_array_equal(array, exact)
    own = int.from_bytes(results[0][:16], "little") % (1 << 53)
    assert len(set(node.gather_json(own))) == 1


def test_nan_and_infinity_go_through(node):
    array = node.allocate(4 * 2048).view(np.float32)
    for op in ("sum", "max", "min"):
        array[...] = 1
        array[5 if node.rank == 0 else 6] = np.nan
        array[7] = np.inf
        node.allreduce(array, op)
        assert np.isnan(array[5])
        assert np.isnan(array[6]) or node.size == 1
        assert array[7] == np.inf


def test_many_reductions_may_be_under_way(node):
    from hpcad.parallel.node.board import AHEAD

    array = node.allocate(8 * 1024 * 4).view(np.float64).reshape(4, 1024)
    rounds = AHEAD  # four times what the board holds
    for number in range(rounds):
        array[...] = node.rank + 1 + number
        requests = [node.iallreduce(row) for row in array]
        if number % 3 == 0:  # tests may come at any time
            requests[1].test()
        for request in reversed(requests):
            request.wait()
            request.wait()
        assert (array == sum(range(1, node.size + 1)) + node.size * number).all()


def test_slices_of_the_memory_are_independent(node):
    array = node.allocate(8 * 8192).view(np.float64)
    array[...] = 1
    node.allreduce(array[1024:4096])
    assert array[:1024].sum() == 1024
    assert (array[1024:4096] == node.size).all()
    assert array[4096:].sum() == 4096


def test_other_calls_mix_with_requests_under_way(node):
    array = node.allocate(8 * 4096).view(np.float64)
    plain = np.full(3000, 1.0)
    array[...] = 1
    first = node.iallreduce(array[:2048])
    second = node.iallreduce(plain)
    node.barrier()
    third = node.iallreduce(array[2048:])
    assert node.gather_json(node.rank) == list(range(node.size))
    for request in (third, second, first):
        request.wait()
    assert (array == node.size).all()
    assert (plain == node.size).all()


def test_without_room_on_one_node_all_ranks_send_messages(node, naive, monkeypatch):
    from hpcad.parallel.node import window

    if node.rank == node.size - 1:
        monkeypatch.setattr(window, "_free_bytes", lambda: 0.0)
    array = node.allocate(8 * 100_003).view(np.float64)
    fill(array, node.rank)
    expected = array.copy()
    naive.allreduce(expected)
    node.allreduce(array)
    np.testing.assert_array_equal(array, expected)
    assert all(block.find(array) is None for block in node._windows)


def test_the_world_reduces_gradients_in_shared_memory():
    world = init()
    assert world.communicator.kind == ("node" if world.size > 1 else "mpi")
