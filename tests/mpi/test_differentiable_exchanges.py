"""Blocks and messages of every communicator are the naive one's, which are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.errors import CollectiveError, ConfigError, ShapeError

from .groups import make_group

pytestmark = pytest.mark.mpi

COUNTS = (0, 1, 7, 1009)
DTYPES = ("uint8", "float16", "int64", "float32", "float64", "complex128")


@pytest.fixture(scope="module", params=["world", "naive", "mpi in pieces", "naive in pieces"])
def group(request):
    communicator = make_group(request.param.split()[0])
    if "pieces" in request.param:
        communicator.chunk = 1000  # elements or bytes: no number of ranks divides 8072
    return communicator


def of_rank(rank, count, dtype):
    return np.random.default_rng(rank).integers(1, 4, count).astype(dtype)


CASES = [(1009, dtype) for dtype in DTYPES] + [(n, "float64") for n in COUNTS[:3]]


def test_blocks_come_in_rank_order(group):
    for count, dtype in CASES:
        _blocks_come_in_rank_order(group, count, dtype)


def _blocks_come_in_rank_order(group, count, dtype):
    every = [of_rank(r, count, dtype) for r in range(group.size)]
    mine = every[group.rank]
    everywhere = np.empty(group.size * count, dtype)
    group.allgather(mine, everywhere)
    np.testing.assert_array_equal(everywhere, np.concatenate(every))
    for root in range(group.size):
        out = np.zeros_like(everywhere)
        group.gather(mine, out if group.rank == root else None, root)
        np.testing.assert_array_equal(out, everywhere if group.rank == root else 0 * everywhere)
        block = np.empty_like(mine)
        group.scatter(everywhere if group.rank == root else None, block, root)
        np.testing.assert_array_equal(block, mine)


@pytest.mark.parametrize(("count", "dtype"), [(0, "int8"), (7, "float16"), (1009, "float64")])
def test_alltoall_is_a_transposition(group, count, dtype):
    size, rank = group.size, group.rank
    sent = np.concatenate([of_rank(size * rank + r, count, dtype) for r in range(size)])
    received = np.empty_like(sent)
    group.alltoall(sent, received)
    expected = np.concatenate([of_rank(size * r + rank, count, dtype) for r in range(size)])
    np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("op", ["sum", "max", "min", "prod"])
def test_reductions_of_a_root_of_blocks_and_of_the_ranks_before(group, op):
    for count, dtype in CASES:
        if dtype != "complex128" or op in ("sum", "prod"):  # complex numbers have no order
            _reductions(group, count, dtype, op)


def _reductions(group, count, dtype, op):
    combine = {"sum": np.add, "max": np.maximum, "min": np.minimum, "prod": np.multiply}[op]
    size, rank = group.size, group.rank
    every = [of_rank(r, size * count, dtype) for r in range(size)]
    total = combine.reduce(every)
    for root in (0, size - 1):
        array = every[rank].copy()
        group.reduce(array, op, root)
        np.testing.assert_array_equal(array, total if rank == root else every[rank])
    block = np.empty(count, dtype)
    group.reduce_scatter(every[rank].copy(), block, op)
    np.testing.assert_array_equal(block, total[rank * count : (rank + 1) * count])
    for reverse, part in ((False, every[: rank + 1]), (True, every[rank:])):
        array = every[rank].copy()
        group.scan(array, op, reverse)
        np.testing.assert_array_equal(array, combine.reduce(part))


def test_messages_arrive_in_rings_and_lines(group):
    for count in COUNTS:
        _messages_arrive(group, count)


def _messages_arrive(group, count):
    size, rank = group.size, group.rank
    mine, out = of_rank(rank, count, "float64"), np.zeros(count)
    group.sendrecv(mine, (rank + 1) % size, out, (rank - 1) % size, 3)
    np.testing.assert_array_equal(out, of_rank((rank - 1) % size, count, "float64"))
    out[:] = 0
    group.sendrecv(mine, rank + 1 if rank + 1 < size else None, out, rank - 1 if rank else None)
    np.testing.assert_array_equal(out, of_rank(rank - 1, count, "float64") if rank else 0 * out)
    if rank == 0:
        group.send(mine, size - 1, 5)
    if rank == size - 1:
        group.receive(out, 0, 5)
        np.testing.assert_array_equal(out, of_rank(0, count, "float64"))


def test_read_only_arrays_can_be_sent(group):
    array = np.ones(group.size)
    array.flags.writeable = False
    out = np.zeros(group.size * group.size)
    group.allgather(array, out)
    assert out.all()
    group.alltoall(array, out[: group.size])
    group.reduce_scatter(array, out[:1])
    assert out[0] == group.size


def test_blocks_of_another_size_are_refused(group):
    for call in (group.allgather, lambda a, out: group.gather(a, out, group.rank)):
        with pytest.raises(ShapeError, match="equal blocks"):
            call(np.ones(3), np.ones(3 * group.size + 1))
    with pytest.raises(ShapeError, match="equal blocks"):
        group.reduce_scatter(np.ones(2 * group.size), np.ones(3))
    with pytest.raises(ShapeError, match="equal blocks"):
        group.allgather(np.ones(3), np.ones(3 * group.size, np.float32))
    with pytest.raises(ShapeError, match="multiple of the number of ranks"):
        group.alltoall(np.ones(group.size), np.ones(group.size + 1))


def test_ranks_and_tags_that_are_none_are_refused(group):
    for call in (
        lambda: group.reduce(np.ones(1), "sum", group.size),
        lambda: group.send(np.ones(1), -1),
        lambda: group.receive(np.ones(1), 0, tag=1 << 20),
    ):
        with pytest.raises(ConfigError):
            call()


@pytest.mark.parametrize("sent", [2, 5])
def test_message_of_another_length_is_an_error(group, sent):
    if group.rank == 0:
        group.send(np.ones(sent), group.size - 1, 6)
    if group.rank == group.size - 1:
        with pytest.raises(CollectiveError, match="same shape and dtype"):
            group.receive(np.ones(3), 0, 6)
    group.barrier()


@pytest.mark.parametrize("call", ["gather", "reduce", "scan"])
def test_ranks_that_differ_in_root_or_direction_say_so(group, call):
    if group.size == 1:
        pytest.skip("one rank agrees with itself")
    odd = group.rank % 2
    calls = {
        "gather": lambda: group.gather(np.ones(1), np.ones(group.size), odd),
        "reduce": lambda: group.reduce(np.ones(1), "sum", odd),
        "scan": lambda: group.scan(np.ones(1), "sum", bool(odd)),
    }
    with pytest.raises(CollectiveError, match=f"called {call} "):
        calls[call]()
