"""Sums that travel in half precision: their error, their bits, their bytes."""

from __future__ import annotations

import json
import tracemalloc
import zlib

import numpy as np
import pytest

from hpcad import parallel
from hpcad.backend.native.half import FORMATS
from hpcad.errors import CollectiveError
from hpcad.parallel import door
from hpcad.parallel.gradients.half_reducer import half_reducer_of

from .groups import make_group

pytestmark = pytest.mark.mpi(min_size=2)

WORLD = parallel.init()
KINDS = ["mpi"] + (["nodes of 2"] if WORLD.size > 2 else [])
LABEL = {"mpi": "sum in float16", "nodes of 2": "float16 between nodes"}

_made = {}


def group_of(kind):
    if kind not in _made:
        _made[kind] = make_group(kind)
    return _made[kind]


@pytest.fixture(params=KINDS)
def group(request):
    return group_of(request.param)


@pytest.fixture(params=FORMATS.values(), ids=FORMATS)
def half(request):
    return request.param


def everywhere(value):
    """What the ranks have, in order."""
    return [json.loads(x) for x in WORLD.communicator.gather_json(json.dumps(value))]


def same_everywhere(array):
    """Whether all ranks have these bits."""
    return len(set(everywhere(zlib.crc32(array.tobytes())))) == 1


def summed(group, half, numbers):
    """The sum in half precision; in memory of the communicator, as gradients are."""
    memory = group.allocate(max(numbers.nbytes, 1))[: numbers.nbytes].view(numbers.dtype)
    memory[...] = numbers
    request = half_reducer_of(group, half).iallreduce(memory, "sum", "numbers")
    request.wait()
    assert request.test()
    return memory


def exact(numbers):
    """Sum and sum of magnitudes over the ranks, in float64."""
    found = np.array([numbers, np.abs(numbers)], np.float64)
    group_of("mpi").allreduce(found)
    return found


def normal(size, dtype, seed=0):
    return np.random.default_rng([WORLD.rank, seed]).standard_normal(size).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_element_errs_by_two_roundings_at_most_and_all_ranks_have_its_bits(group, half, dtype):
    for size in (0, 1, 2, 7, 1009, 20_011):
        numbers = normal(size, dtype)
        found = summed(group, half, numbers)
        total, magnitudes = exact(numbers)
        bound = 1.001 * half.roundoff * (magnitudes + (1 + half.roundoff) * np.abs(total))
        assert (np.abs(found - total) <= bound).all()
        assert same_everywhere(found)
    # It has been rounded.
    assert np.linalg.norm(found - total) > 0.3 * half.roundoff * np.linalg.norm(total)


def test_the_naive_communicator_gives_the_same_bits(half):
    numbers = normal(1009, np.float32)
    found = [summed(group_of(kind), half, numbers) for kind in ("mpi", "naive")]
    np.testing.assert_array_equal(*found)


def test_nan_infinities_and_zeros_survive(group, half):
    last = WORLD.rank == WORLD.size - 1
    numbers = np.full(2 * WORLD.size + 1, 1.0, np.float32)
    numbers[1:5] = [np.nan if last else 1, np.inf if last else -3, -np.inf if last else 2, -0.0]
    found = summed(group, half, numbers)
    assert np.isnan(found[1])
    assert found[2:4].tolist() == [np.inf, -np.inf]
    assert (found[0], found[4]) == (WORLD.size, 0)
    numbers[0] = np.inf if last else -np.inf
    assert np.isnan(summed(group, half, numbers)[0])
    assert np.isinf(summed(group, half, np.full(50, np.inf, np.float32))).all()


def test_gradients_of_any_size_survive(group, half):
    for size in (1e-30, 1e-9, 6e4, 1e30):
        numbers = (size * normal(3001, np.float64)).astype(np.float32)
        found = summed(group, half, numbers)
        total, magnitudes = exact(numbers)
        assert (np.abs(found - total) <= 2.01 * half.roundoff * magnitudes).all()


def test_float16_loses_only_what_is_tiny_beside_the_largest_of_a_block(group):
    half = FORMATS["float16"]
    for spread in (5, 15):
        numbers = 2.0 ** (normal(5003, np.float64) * spread)
        found = summed(group, half, numbers)
        total, magnitudes = exact(numbers)
        lost = (WORLD.size + 1) * 2.0**-39 * total.max()
        assert (np.abs(found - total) <= 2.01 * half.roundoff * magnitudes + lost).all()


def test_other_reductions_and_dtypes_are_exact(group, half):
    reducer = half_reducer_of(group, half)
    before = reducer.bytes_sent
    largest = normal(101, np.float32)
    expected = largest.copy()
    group.allreduce(expected, "max")
    reducer.iallreduce(largest, "max").wait()
    np.testing.assert_array_equal(largest, expected)
    counts = np.arange(1000, dtype=np.int64)
    reducer.iallreduce(counts).wait()
    np.testing.assert_array_equal(counts, WORLD.size * np.arange(1000))
    assert reducer.bytes_sent == before


def test_several_sums_at_a_time_end_in_any_order(group, half):
    reducer = half_reducer_of(group, half)
    memory = group.allocate(5 * 10_007 * 4).view(np.float32).reshape(5, -1)
    for step in range(2):
        numbers = normal(memory.shape, np.float32, step)
        memory[...] = numbers
        alone = [summed(group, half, row) for row in numbers]
        requests = [reducer.iallreduce(row, "sum", f"row {i}") for i, row in enumerate(memory)]
        requests[3].wait()
        for request in requests[::-1]:
            for _ in range(WORLD.rank):
                request.test()
            request.wait()
        for row, wanted in zip(memory, alone, strict=True):
            np.testing.assert_array_equal(row, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_long_arrays_go_in_pieces(kind, half):
    group = make_group(kind)
    group.chunk = 1000
    numbers = normal(5_007, np.float32)
    found = summed(group, half, numbers)
    total, magnitudes = exact(numbers)
    assert (np.abs(found - total) <= 2.01 * half.roundoff * magnitudes).all()


def test_half_the_bytes_of_float32_are_sent(group, half):
    size = 64 * 60 * WORLD.size
    reducer = half_reducer_of(group, half)
    sent, least = reducer.bytes_sent, reducer.bytes_exact
    summed(group, half, normal(size, np.float32))
    sent, least = reducer.bytes_sent - sent, reducer.bytes_exact - least
    if group.kind != "node":
        ranks = WORLD.size
        exponents = 2 * (ranks - 1) * 2 if half.scaled else 0
        assert least == 2 * (ranks - 1) * size // ranks * 4
        assert sent == least // 2 + exponents
    else:  # of two nodes each rank sends what it sums up, if it does
        assert sent - 4 <= least / 2 <= sent


def test_nothing_is_allocated_after_the_first_time(group, half):
    reducer = half_reducer_of(group, half)
    memory = group.allocate(400_000).view(np.float32)
    memory[...] = 1
    for _ in range(2):
        reducer.iallreduce(memory).wait()
        memory[...] = 1
    tracemalloc.start()
    try:
        for _ in range(3):
            reducer.iallreduce(memory).wait()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40_000
    assert (memory == WORLD.size**3).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_door_knows_the_precision(kind):
    summed(group_of(kind), FORMATS["float16"], np.ones(300, np.float32))
    record = next(r for r in reversed(door.records()) if r.name == "numbers")
    assert (record.operation, record.count, record.name) == ("iallreduce", 300, "numbers")
    assert LABEL[kind] in record.call
    assert record.seconds > 0


@pytest.mark.parametrize("kind", ["mpi"] if WORLD.size % 2 else KINDS)  # whole nodes disagree
def test_ranks_that_want_different_precision_are_told(kind):
    group = make_group(kind)
    reducer = half_reducer_of(group, FORMATS["bfloat16"])
    memory = group.allocate(40_000).view(np.float32)
    exactly = WORLD.rank < (2 if kind == "nodes of 2" else 1)
    with pytest.raises(CollectiveError, match="bfloat16"):
        (group if exactly else reducer).iallreduce(memory, "sum", "numbers").wait()
    WORLD.communicator.barrier()
