"""Communicators for device arrays on the strict device, and a stand-in for NCCL.

No GPU is used, and none is proven.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from hpcad import nn, parallel
from hpcad.backend import strict as cuda
from hpcad.backend.strict import StrictDeviceError
from hpcad.backend.strict.pinned import region_of
from hpcad.errors import CollectiveError, ConfigError, ShapeError
from hpcad.parallel import door
from hpcad.parallel.record import waiting

from . import strict_nccl
from .device_groups import (
    CASES,
    COUNTS,
    KINDS,
    PIECE,
    WORLD,
    expected,
    group_of,
    make,
    numbers,
)

pytestmark = pytest.mark.mpi


@pytest.fixture(autouse=True)
def _nccl(monkeypatch):
    strict_nccl.install(monkeypatch.setattr)


@pytest.fixture(params=KINDS)
def group(request):
    return group_of(request.param)


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_allreduce_gives_the_naive_communicators_result(group, case):
    op, dtype = case.split()
    for count in COUNTS:
        host = numbers(count, dtype)
        array = cuda.asarray(host)
        group.allreduce(array, op, "numbers")
        np.testing.assert_array_equal(cuda.asnumpy(array), expected(host, op))


def test_complex_numbers_are_summed_as_pairs(group):
    host = numbers(101, "c8") + 1j * numbers(101, "c8", 1)
    array = cuda.asarray(host)
    group.allreduce(array)
    np.testing.assert_array_equal(cuda.asnumpy(array), expected(host, "sum"))


def test_what_is_no_multiple_of_the_ranks_is_reduced_too(group):
    for count in (1, 2, 3, 5):
        host = numbers(count, "f4", count)
        array = cuda.asarray(host.reshape(1, count))
        group.allreduce(array)
        np.testing.assert_array_equal(cuda.asnumpy(array)[0], expected(host, "sum"))


def test_broadcast_gives_every_rank_the_roots_bytes(group):
    for root, dtype in ((0, "f4"), (WORLD.size - 1, "c16")):
        array = cuda.asarray(numbers(997, dtype))
        group.broadcast(array, root, "numbers")
        there = np.random.default_rng([0, root]).integers(1, 4, 997).astype(dtype)
        np.testing.assert_array_equal(cuda.asnumpy(array), there)


def test_several_requests_under_way_give_their_own_results(group):
    hosts = [numbers(count, "f4", count) for count in (997, 3, 2048, 501)]
    arrays = [cuda.asarray(host) for host in hosts]
    requests = [group.iallreduce(array, "sum", f"array {i}") for i, array in enumerate(arrays)]
    if WORLD.rank % 2:  # ranks look after them differently
        while not all(request.test() for request in requests):
            time.sleep(1e-4)
    for request in requests:
        request.wait()
    for array, host in zip(arrays, hosts, strict=True):
        array *= 2
        np.testing.assert_array_equal(cuda.asnumpy(array), 2 * expected(host, "sum"))


def test_waiting_in_another_order_is_no_deadlock(group):
    arrays = [cuda.asarray(numbers(997, "f4", i)) for i in range(3)]
    if WORLD.rank % 2:
        for array in arrays:
            group.iallreduce(array).wait()  # the next one starts only then
    else:
        for request in [group.iallreduce(array) for array in arrays]:
            request.wait()
    for i, array in enumerate(arrays):
        np.testing.assert_array_equal(cuda.asnumpy(array), expected(numbers(997, "f4", i), "sum"))


def test_pieces_of_the_array_that_are_not_reduced_stay(group):
    array = cuda.asarray(np.full(3000, 1, np.float32))
    group.allreduce(array[1000:2000])
    host = cuda.asnumpy(array)
    assert set(host[:1000]) == set(host[2000:]) == {1}
    assert set(host[1000:2000]) == {WORLD.size}


# -- order on the device ---------------------------------------------------------------------------


def test_the_array_may_be_written_just_before_by_the_compute_stream(group):
    host = numbers(5000, "f4")
    array = cuda.asarray(host)
    for _ in range(5):
        array *= 2
    group.iallreduce(array).wait()
    array *= 3
    np.testing.assert_array_equal(cuda.asnumpy(array), 96 * expected(host, "sum"))


def test_the_stream_that_is_current_at_the_wait_waits(group):
    compute = cuda.cuda.Stream(non_blocking=True)
    with compute:
        array = cuda.asarray(numbers(100, "f4"))
        request = group.iallreduce(array)
    other = cuda.cuda.Stream(non_blocking=True)
    with other:
        request.wait()
        array *= 1
        np.testing.assert_array_equal(cuda.asnumpy(array), expected(numbers(100, "f4"), "sum"))


def posted(group, array):
    """A request that has been handed to the device; its end has not been looked for."""
    request = group.iallreduce(array)
    while not request.posted:
        group._agreeing.advance()
    return request


def test_going_on_without_waiting_is_an_order_error():
    group = group_of("nccl")
    array = cuda.asarray(numbers(100, "f4"))
    request = posted(group, array)
    with pytest.raises(StrictDeviceError, match=r"allReduce on stream .* may still be using"):
        array *= 2
    request.wait()
    array *= 2


def test_a_communicator_that_forgets_the_event_of_the_compute_stream_is_caught(monkeypatch):
    group = group_of("nccl")
    array = cuda.asarray(numbers(100, "f4"))
    monkeypatch.setattr(cuda.cuda.Stream, "wait_event", lambda self, event: None)
    with pytest.raises(StrictDeviceError, match=r"allReduce on stream .* reads"):
        group.allreduce(array)
    group._queue.clear()


def test_waiting_for_nccl_does_not_wait_for_the_device():
    group = group_of("nccl")
    array = cuda.asarray(numbers(100, "f4"))
    with cuda.forbid_synchronisation() as counted:
        request = group.iallreduce(array)
        request.wait()
        array *= 1
    assert counted.event_waits == 0
    np.testing.assert_array_equal(cuda.asnumpy(array), expected(numbers(100, "f4"), "sum"))
    assert request.test()


# -- the door --------------------------------------------------------------------------------------


def test_the_door_records_dtype_count_and_way(group):
    request = group.iallreduce(cuda.zeros(12, np.float32), "max", "twelve")
    request.wait()
    kept = next(r for r in reversed(door.records()) if r.name == "twelve")
    assert (kept.operation, kept.dtype, kept.count) == ("iallreduce", "<f4", 12)
    assert kept.detail == f"max on devices by {group.kind}"
    assert kept not in waiting
    while not request.test():
        time.sleep(1e-4)
    assert kept.seconds > 0


def test_a_blocking_call_is_waited_for_only_until_it_returns(group):
    group.allreduce(cuda.zeros(12, np.float32), "sum", "returned")
    assert "returned" not in [record.name for record in waiting]


# Several nodes are left out: there only the ranks of one node may raise, which ends a true job.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("nodes of 2")])
def test_ranks_that_mean_different_calls_are_named_and_nothing_is_handed_over(kind):
    if WORLD.size == 1:
        pytest.skip("one rank agrees with itself")
    group = make(kind)  # one that is not used afterwards
    count = 8 + (WORLD.rank == WORLD.size - 1)
    array = cuda.zeros(count, np.float32)
    with pytest.raises(CollectiveError, match=r"iallreduce sum on devices by .* of 9 x float32"):
        group.iallreduce(array, "sum", "unequal").wait()
    assert not group._queue
    assert not group._flying


def test_arrays_that_cannot_be_reduced_are_refused(group):
    with pytest.raises(ShapeError, match="C-contiguous CuPy arrays"):
        group.allreduce(np.zeros(3))
    with pytest.raises(ShapeError, match="C-contiguous CuPy arrays"):
        group.allreduce(cuda.zeros((4, 4))[:, 1])
    with pytest.raises(ShapeError, match="cannot take the sum of dtype bool"):
        group.allreduce(cuda.zeros(3, np.bool_))
    with pytest.raises(ConfigError, match="unknown reduction 'mean'"):
        group.iallreduce(cuda.zeros(3), "mean")
    with pytest.raises(ConfigError, match="root"):
        group.broadcast(cuda.zeros(3), WORLD.size)


def test_a_node_of_another_size_is_refused():
    if WORLD.size != 3:
        pytest.skip("needs 3 ranks")
    with pytest.raises(ConfigError, match="as many ranks on every node"):
        make("nccl+mpi")


def test_pieces_lie_in_memory_that_the_ranks_of_a_node_share():
    if WORLD.size == 1:
        pytest.skip("one rank shares nothing")
    group = group_of("staged on node")
    slot = group._staging._slots[0]
    assert any(window.find(slot.view("f4")) is not None for window in group._host._windows)
    assert (region_of(slot).address, region_of(slot).nbytes) == (slot.ctypes.data, 2 * PIECE)


# -- the engine ------------------------------------------------------------------------------------


class OnStandIn:
    """Lets an engine of host arrays reduce by a device communicator, through copies."""

    def __init__(self, group):
        self.group = group

    def iallreduce(self, array, op="sum", name=""):
        device = cuda.asarray(array)
        request = self.group.iallreduce(device, op, name)

        class Copied:
            def test(self):
                if not request.test():
                    return False
                self.wait()
                return True

            def wait(self):
                request.wait()
                array[...] = cuda.asnumpy(device)

        return Copied()


def test_an_engine_reduces_its_gradients_by_it(group):
    if WORLD.size == 1:
        pytest.skip("one rank reduces nothing")
    found = {}
    for way in ("host", "device"):
        model = nn.Linear(40, 30)
        model.weight.assign(np.arange(1200, dtype=np.float32).reshape(model.weight.shape) / 1200)
        engine = parallel.DataParallel(model, WORLD, bucket_mb=3e-3, first_bucket_mb=1e-4)
        if way == "device":
            engine._reducer = OnStandIn(group)
        x = np.random.default_rng(WORLD.rank).standard_normal((8, 40)).astype(np.float32)
        for _ in range(2):
            (model(x) ** 2).mean().backward()
        found[way] = [p.grad.copy() for p in model.parameters()]
    for one, other in zip(found["host"], found["device"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
