"""Engines that choose sizes and progress themselves, with every communicator."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from hpcad import nn, parallel
from hpcad.errors import CollectiveError, ConfigError
from hpcad.models import MLP, MLPConfig
from hpcad.parallel.gradients import fit, progress, trial
from hpcad.parallel.gradients.communication_thread import thread_of

from .groups import make_group

pytestmark = pytest.mark.mpi(min_size=2)

LAYOUT = ((40_000,), (4_000, 1_000_000), (2_000_000,))  # bytes of gradients of messages

WORLD = parallel.init()


_made = {}


@pytest.fixture(params=["mpi", "node", "nodes of 2"])
def communicator(request):
    if request.param not in _made:
        _made[request.param] = make_group(request.param)
    return _made[request.param]


def everywhere(value):
    """What the ranks have, in order."""
    return [json.loads(x) for x in WORLD.communicator.gather_json(json.dumps(value))]


def with_threads():
    if WORLD.thread_level != "multiple":
        pytest.skip(f"MPI allows {WORLD.thread_level!r} threads")


def test_the_fit_is_the_same_on_every_rank_and_quick(communicator):
    started = time.perf_counter()
    found = fit.measured_fit(communicator)
    seconds = time.perf_counter() - started
    assert len({tuple(x) for x in everywhere([found.alpha, found.beta])}) == 1
    assert found.alpha > 0
    assert found.beta > 0
    assert fit.measured_fit(communicator) is found
    if WORLD.size == 2:  # more ranks than cores wait for each other
        assert seconds < 2.0  # 0.3 where nothing else runs


@pytest.mark.parametrize("way", ["poll", "thread"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_ways_reduce_several_arrays_in_order(communicator, way, dtype):
    with_threads()
    chosen = progress.choose(communicator, "multiple", LAYOUT, way)
    memory = communicator.allocate(4 * 20_000 * 8).view(dtype).reshape(4, -1)
    for step in range(3):
        for i, row in enumerate(memory):
            row[...] = (WORLD.rank + 1) * (i + 1) + step
        requests = [
            chosen.reducer.iallreduce(row, "sum", f"row {i}") for i, row in enumerate(memory)
        ]
        progress.poll(requests, 3)
        for request in requests:
            request.wait()
            assert request.test()
        total = WORLD.size * (WORLD.size + 1) // 2
        for i, row in enumerate(memory):
            assert (row == total * (i + 1) + step * WORLD.size).all()


@pytest.mark.parametrize("way", ["poll", "thread"])
def test_ranks_that_start_different_reductions_are_told(way):
    with_threads()
    # One that nobody uses afterwards.
    communicator = make_group("mpi")
    chosen = progress.choose(communicator, "multiple", LAYOUT, way)
    array = np.ones(1000, np.float32)
    name = "gradients of the head" if WORLD.rank == 0 else "gradients of the body"
    with pytest.raises(CollectiveError, match="gradients of the head"):
        chosen.reducer.iallreduce(array, "sum", name).wait()
    WORLD.communicator.barrier()


def test_trying_both_ways_chooses_the_same_on_every_rank():
    with_threads()
    communicator = make_group("mpi")
    chosen = progress.choose(communicator, "multiple", LAYOUT, "auto")
    assert chosen.way in ("poll", "thread")
    assert len({tuple(x) for x in everywhere([chosen.way, chosen.reason])}) == 1
    assert progress.choose(communicator, "multiple", LAYOUT, "auto") is chosen


def test_a_trial_has_the_first_messages_of_the_layout_and_as_much_work_as_they_take():
    communicator = make_group("mpi")
    messages = trial._Messages(communicator, (*LAYOUT, (1 << 30,)))
    assert messages.layout[: len(LAYOUT)] == LAYOUT[: len(messages.layout)]
    assert [array.nbytes for array in messages.arrays][:1] == [40_000]
    assert sum(array.nbytes for array in messages.arrays) <= 1 << 24
    assert len(set(everywhere([messages.alone, len(messages.arrays)][0]))) == 1
    work = trial._Work(communicator, 0.2, 1000)
    started = time.perf_counter()
    work.gradient(250)
    work.gradient(750)
    assert time.perf_counter() - started > 0.05


def test_looks_that_are_too_rare_cost_time_in_a_trial():
    """A reducer whose messages advance by a step a look wants many looks, as a network does."""

    class Stepwise:
        def iallreduce(self, array, op="sum", name=""):
            return Steps(20)

    class Steps:
        def __init__(self, left):
            self.left = left

        def test(self):
            self.left -= 1
            return self.left <= 0

        def wait(self):
            time.sleep(3e-3 * max(self.left, 0))

    ways = [(Stepwise(), 1), (Stepwise(), 32)]
    rare, often = trial.try_ways(make_group("mpi"), ((1_000_000,), (1_000_000,)), ways)
    assert rare > often + 0.01


def test_one_node_is_polled_without_a_trial():
    communicator = make_group("node")
    chosen = progress.choose(communicator, "multiple", LAYOUT, "auto")
    assert (chosen.way, chosen.tests) == ("poll", 1)
    assert "share memory" in chosen.reason


def test_there_is_no_thread_where_mpi_allows_none():
    chosen = progress.choose(WORLD.communicator, "funneled", LAYOUT, "auto")
    assert chosen.way == "poll"
    with pytest.raises(ConfigError, match="MPI allows 'funneled' threads"):
        progress.choose(WORLD.communicator, "funneled", LAYOUT, "thread")


def test_the_thread_sleeps_while_there_is_nothing_to_do():
    with_threads()
    thread_of(WORLD.communicator)
    assert "hpcad communication" in {t.name for t in threading.enumerate()}
    before, started = time.process_time(), time.perf_counter()
    time.sleep(0.3)
    spent = time.process_time() - before
    assert spent < 0.2 * (time.perf_counter() - started)


def make():
    model = MLP(MLPConfig([60, 50]), 30, 10)
    model.initialize(WORLD.rank)
    return model


@pytest.mark.parametrize("way", ["poll", "thread"])
def test_gradients_are_the_same_either_way(way):
    with_threads()
    rng = np.random.default_rng(WORLD.rank)
    batches = [(rng.standard_normal((7, 30), np.float32), rng.integers(10, size=7)) for _ in "ab"]
    found = []
    for options in ({"progress": way, "bucket_mb": 1e-3}, {"overlap": False, "bucket_mb": 1.0}):
        model = make()
        engine = parallel.DataParallel(model, WORLD, **options)
        for x, y in batches:
            nn.cross_entropy(model(x), y).backward()
        found.append([p.grad.copy() for p in model.parameters()])
        assert len(engine.buckets) > 2 or not engine.overlap
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_an_engine_says_what_it_chose_and_what_was_hidden():
    model = make()
    engine = parallel.DataParallel(model, WORLD)
    assert engine.overlap_summary() is None
    assert "buckets of" in engine.describe()
    assert len(set(everywhere(engine.describe()))) == 1
    assert len({tuple(x) for x in everywhere([b.nbytes for b in engine.buckets])}) == 1
    x = np.ones((4, 30), np.float32)
    for _ in range(3):
        nn.cross_entropy(model(x), np.zeros(4, int)).backward()
    assert engine.exposed_seconds > 0
    overlap = engine.overlap_summary()
    assert overlap.steps == 3
    assert overlap.alone > 0
    assert 0 < overlap.waited <= overlap.exposed
    assert len(set(everywhere(str(overlap)))) == 1


def test_measuring_leaves_gradients_alone():
    model = make()
    parallel.DataParallel(model, WORLD)
    x = np.ones((4, 30), np.float32)
    nn.cross_entropy(model(x), np.zeros(4, int)).backward()
    before = [p.grad.copy() for p in model.parameters()]
    parallel.DataParallel(model, WORLD)
    for p, grad in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.grad, grad)
