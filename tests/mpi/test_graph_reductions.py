"""Reductions inside of the graph of a step: on the strict device, and a stand-in for NCCL."""

from __future__ import annotations

import gc
import logging
import sys

import numpy as np
import pytest

from hpcad import optim, parallel
from hpcad.backend import get_backend, strict
from hpcad.backend.strict import StrictDeviceError
from hpcad.data import ArrayDataset
from hpcad.errors import CollectiveError, ConfigError
from hpcad.models import MLP, MLPConfig
from hpcad.parallel import door
from hpcad.parallel.devices import choice as choosing
from hpcad.parallel.devices import in_graph
from hpcad.parallel.devices.choice import device_choice
from hpcad.parallel.devices.communicator import DeviceCommunicator
from hpcad.parallel.devices.in_graph import GraphReductions, graph_reductions
from hpcad.parallel.record import waiting
from hpcad.program.device.effect_kinds import COLD, WARM
from hpcad.program.device.timing import timed
from hpcad.training import Prepare, Trainer

from . import strict_nccl
from .device_training import Training, assert_trained_alike, use_nccl

pytestmark = pytest.mark.mpi
WORLD = parallel.init()
X = np.random.default_rng(0).standard_normal((33, 6)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 4, 33)

several = pytest.mark.skipif(
    WORLD.size not in (2, 3), reason="one rank reduces nothing, and three show what four would"
)


@pytest.fixture(autouse=True)
def _nccl(monkeypatch):
    use_nccl(monkeypatch)
    yield
    # Where a pass was left in its middle, memory goes to others only when the device is done.
    strict.cuda.Device().synchronize()


def communicator():
    return device_choice(WORLD.communicator, strict).communicator


def test_a_step_is_one_launch_and_finds_what_the_host_does():
    one, host = Training("strict"), Training("cpu")
    found = one.losses(3)
    for _ in range(4):
        batch = one.batch()
        before = strict.COUNTS.copy()
        with strict.forbid_synchronisation():
            loss = one.run(*batch).value
        counted = strict.COUNTS - before
        assert (counted.graph_launches, counted.synchronisations) == (1, 0)
        found.append(float(loss))
    np.testing.assert_allclose(found, host.losses(7), rtol=1e-4)
    assert_trained_alike(one, host)
    assert one.graphs == 1
    assert len(one.engine.buckets) > 1
    if WORLD.size > 1:
        assert "inside the CUDA graph of a compiled step" in one.engine.describe()


def test_any_number_of_ranks_captures_reductions_together_and_launches_them():
    """Without an engine, which leaves one rank's gradients alone; on one GPU this is the test."""
    group, stream = communicator(), strict.cuda.Stream(non_blocking=True)
    array = strict.asarray(np.zeros(8, np.float32))
    plan = [("bucket", array.dtype, array.size)]
    waited = []
    joint = GraphReductions(group, WORLD.communicator, strict, plan, waited.append)
    pool = strict.cuda.MemoryPool()
    strict.cuda.Device().synchronize()

    def work():
        array.__iadd__(1)
        joint.reduce(array)
        joint.join()
        array.__imul__(1 / WORLD.size)

    with stream, strict.cuda.using_allocator(pool.malloc):
        assert joint.agree(COLD) == COLD
        work()
        joint.launched()
        number = joint.agree(WARM)
        assert number > WARM
        stream.begin_capture()
        work()
        graph = stream.end_capture()
        assert joint.settle("")
        for _ in range(3):
            graph.launch(stream)
            joint.launched()
            assert joint.agree(number) == number
        np.testing.assert_allclose(array.get(), 4)
    assert len(waited) == 5


@several
def test_each_reduction_is_a_branch_of_the_graph():
    one = Training("strict")
    one.losses(3)
    (segment,) = one.run.program._call._divide()
    reductions = [node.what for node in segment.graph.nodes if node.what == "allReduce"]
    assert len(reductions) == len(one.engine.buckets)
    places = [i for i, node in enumerate(segment.graph.nodes) if node.what == "allReduce"]
    assert places[-1] - places[0] > len(places)  # work of the backward pass lies between
    assert communicator()._group._comm._nodes


@several
@pytest.mark.parametrize("options", [{"overlap": False}, {"spare": True}, {"frozen": True}])
def test_engines_whose_buckets_are_complete_at_other_times_train_alike(options):
    one, host = Training("strict", **options), Training("cpu", **options)
    np.testing.assert_allclose(one.losses(), host.losses(), rtol=1e-4)
    assert_trained_alike(one, host)
    assert one.graphs == 1


@several
def test_eager_steps_and_compiled_ones_meet():
    one, host = Training("strict", compiled=WORLD.rank != 0), Training("cpu")
    np.testing.assert_allclose(one.losses(), host.losses(), rtol=1e-4)
    assert_trained_alike(one, host)
    assert WORLD.rank == 0 or one.graphs == 0  # not all ranks have one


@several
def test_programs_of_other_sizes_meet_and_are_captured_together():
    one, host = Training("strict"), Training("cpu")
    sizes = [5, 5, 5, *(5 + (WORLD.rank == 0) * (i % 2) for i in range(6))]
    for training in (one, host):
        for size in sizes:
            training.run(*training.batch(size))
    assert_trained_alike(one, host)


@several
def test_ranks_that_meet_in_ever_new_combinations_give_up_graphs_with_reductions(monkeypatch):
    monkeypatch.setattr(in_graph, "MOST_ANEW", 1)
    one, host = Training("strict"), Training("cpu")
    for training in (one, host):
        for i in range(12):
            training.run(*training.batch(5 + (WORLD.rank == 0) * (i % 2)))
    assert_trained_alike(one, host)
    assert "between CUDA graphs (the ranks run programs in ever new" in one.engine.describe()


@several
def test_reductions_that_are_over_early_are_joined_all_the_same():
    joint = Training("strict").engine._graph
    array = strict.asarray(np.ones(8, np.float32))
    joint.begin()
    request = joint.start(array)
    while not request.test():
        pass
    joint.launched()
    assert not joint._forked
    np.testing.assert_array_equal(array.get(), WORLD.size)


@several
def test_accumulating_locally_is_another_division():
    def train(training):
        for _ in range(5):
            with training.engine.no_sync():
                micro(training)
            micro(training)
            training.optimizer.step()

    def micro(training):
        training.micro(*training.batch())

    one, host = Training("strict"), Training("cpu")
    for training in (one, host):
        training.micro = compiled_backward(training)
        train(training)
    assert_trained_alike(one, host)


def compiled_backward(training):
    from hpcad import nn
    from hpcad.program.compiled import Compiled
    from hpcad.program.options import Options

    def micro(x, y):
        loss = nn.cross_entropy(training.model(x), y)
        loss.backward()
        return loss.detach()

    return Compiled(micro, Options(ahead=True, strict=True))


@several
def test_steps_that_are_timed_one_by_one_meet_too():
    one, host = Training("strict"), Training("cpu")
    found = one.losses(3)
    with timed(one.run.program):
        found += one.losses(2)
    found += one.losses(2)
    np.testing.assert_allclose(found, host.losses(7), rtol=1e-4)


@several
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_trainer_takes_such_steps_and_its_table_says_what_it_does_not_measure(accumulate):
    results = {}
    for device in ("strict", "cpu"):
        backend = get_backend(device)
        model = MLP(MLPConfig([9, 8]), 6, 4)
        model.initialize(1, np.float32, backend)
        data = ArrayDataset({"x": X, "y": Y})  # the last batch leaves ranks without samples
        engine = parallel.DataParallel(model, WORLD, bucket_mb=1e-4, first_bucket_mb=1e-4)
        before = strict.COUNTS.graph_launches
        trainer = Trainer(
            model,
            optim.AdamW(model, 1e-2, clip_norm=1.0),
            data,
            test=data,
            batch=8,
            epochs=2,
            log_every=10,
            accumulate=accumulate,
            evaluate_batch=8,
            prepare=Prepare(np.float32, backend=backend),
            engine=engine,
            world=WORLD,
        )
        results[device] = trainer.run(), strict.COUNTS.graph_launches - before, trainer
    (found, launches, trainer), (expected, _, _) = results.values()
    np.testing.assert_allclose(
        list(found.metrics.values()), list(expected.metrics.values()), rtol=1e-4
    )
    evaluated = trainer._evaluation._compiled.known
    assert launches >= 7  # eight full batches, the first of which goes step by step
    assert evaluated is None or evaluated._call.graphs == 1
    assert trainer._program._compiled.program._call.graphs == 1
    assert found.phases.endswith("what a step is longer for its reductions is not measured")
    assert "not measured" not in expected.phases


# -- switched off, or refused ----------------------------------------------------------------------


@several
def test_the_switch_keeps_reductions_between_graphs(monkeypatch):
    monkeypatch.setenv("HPCAD_GRAPH_REDUCTIONS", "0" if WORLD.rank == 0 else "1")  # one is enough
    one, host = Training("strict"), Training("cpu")
    np.testing.assert_allclose(one.losses(), host.losses(), rtol=1e-4)
    assert one.graphs == len(one.engine.buckets) + 2
    assert "between CUDA graphs (HPCAD_GRAPH_REDUCTIONS=0)" in one.engine.describe()


def test_a_switch_that_is_not_understood_is_refused():
    with pytest.raises(ConfigError, match="set it to 0 or 1"):
        graph_reductions(None, None, None, [], print, {"HPCAD_GRAPH_REDUCTIONS": "maybe"})


@several
def test_a_capture_that_one_rank_is_refused_falls_back_on_all(monkeypatch, caplog):
    one, host = Training("strict"), Training("cpu")
    comm = communicator()._group._comm
    comm.refuses_capture = "operation not permitted" if WORLD.rank == WORLD.size - 1 else ""
    with caplog.at_level(logging.WARNING, "hpcad"):
        found = one.losses()
    np.testing.assert_allclose(found, host.losses(), rtol=1e-4)
    assert_trained_alike(one, host)
    assert one.graphs == len(one.engine.buckets) + 2
    said = [r.getMessage() for r in caplog.records if "between graphs from now on" in r.message]
    assert len(said) == (WORLD.rank == 0)
    assert all("operation not permitted" in each for each in said)


@several
def test_nccl_that_is_too_old_is_not_captured(monkeypatch):
    monkeypatch.setattr(strict_nccl.nccl, "get_version", lambda: 20804)
    one = Training("strict")
    assert "NCCL 20804 cannot be captured" in one.engine.describe()
    one.losses(4)
    assert one.graphs == len(one.engine.buckets) + 2


@several
def test_two_levels_are_captured_where_one_node_has_all_ranks(monkeypatch):
    from hpcad.parallel.devices.nccl_nodes import NcclNodesCommunicator

    def make(way, host, cupy):
        return NcclNodesCommunicator(host, cupy, local)

    from hpcad.parallel.devices import choice as choosing

    comm = WORLD.communicator.comm
    local = comm.Split(0, WORLD.rank)
    monkeypatch.setattr(choosing, "_make", make)
    one, host = Training("strict"), Training("cpu")
    np.testing.assert_allclose(one.losses(), host.losses(), rtol=1e-4)
    assert one.graphs == 1
    if WORLD.size == 2:
        local = comm.Split(WORLD.rank, WORLD.rank)  # two nodes
        monkeypatch.setattr(choosing, "_chosen", type(choosing._chosen)())
        assert "'nccl+mpi' passes through the host" in Training("strict").engine.describe()


# -- what the ranks are told -----------------------------------------------------------------------


@several
def test_the_door_numbers_a_pass_and_the_watchdog_sees_its_end():
    one = Training("strict")
    one.losses(4)
    kept = next(r for r in reversed(door.records()) if r.operation == "pass")
    assert kept.detail == "sums on devices by nccl"
    assert f"gradients in {len(one.engine.buckets)} messages (plan " in kept.name
    door.longest_wait()  # as the watchdog asks; an event is not over when it is asked first
    door.longest_wait()
    assert kept not in waiting
    assert kept.seconds > 0


@several
def test_ranks_with_other_buckets_are_named_and_nothing_is_launched():
    size = {"bucket_mb": 1e-4 if WORLD.rank else 1.0, "first_bucket_mb": 1e-4}
    one = Training("strict", **size)
    before = communicator()._group._comm.launches
    with pytest.raises(CollectiveError, match=r"gradients in \d+ message.* called allreduce"):
        one.losses(1)
    assert communicator()._group._comm.launches == before


@several
def test_nccl_that_fails_later_is_told_at_the_next_step():
    one = Training("strict")
    one.losses(3)
    comm = communicator()._group._comm
    comm.fails = strict_nccl.NcclError("NCCL_ERROR_REMOTE_ERROR: a peer is gone")
    with pytest.raises(CollectiveError, match="a peer is gone"):
        one.losses(1)
    assert comm.aborted
    assert one.graphs == 0  # NCCL waits for graphs, also when it is aborted


# -- wrong code is caught --------------------------------------------------------------------------


@several
def test_a_join_that_is_missing_is_caught(monkeypatch):
    one = Training("strict")
    one.losses(1)
    monkeypatch.setattr(GraphReductions, "join", lambda self: None)
    with pytest.raises(StrictDeviceError, match="may still be using; record an event behind it"):
        one.losses(1)


@several
def test_a_join_that_is_missing_at_the_end_is_caught(monkeypatch):
    one = Training("strict")
    one.losses(1)
    stream = one.backend.stream
    with stream:
        stream.begin_capture()
        one.engine._graph.reduce(one.engine.buckets[0].gradients)
        with pytest.raises(StrictDeviceError, match="does not wait for their work"):
            stream.end_capture()


@several
def test_a_fork_that_is_missing_is_caught(monkeypatch):
    one = Training("strict")
    one.losses(1)

    def hand_over(self, array, op="sum"):
        list(self._allreduce(array.reshape(-1), op))

    monkeypatch.setattr(DeviceCommunicator, "hand_over", hand_over)
    with pytest.raises(StrictDeviceError, match="has no part in the capture"):
        one.losses(1)


@several
def test_a_capture_without_warm_up_is_caught():
    one = Training("strict")
    communicator()._group._comm.connected = False
    stream = one.backend.stream
    with stream:
        stream.begin_capture()
        with pytest.raises(StrictDeviceError, match="never used"):
            one.engine._graph.reduce(one.engine.buckets[0].gradients)
        one.engine._graph.join()
        stream.end_capture()


@several
def test_another_order_of_buckets_on_a_rank_is_caught():
    one = Training("strict")
    one.losses(1)
    if WORLD.rank == 0:  # behind the back of the plan that all ranks state
        one.engine.buckets.reverse()
    with pytest.raises(StrictDeviceError, match="ranks give NCCL different collectives"):
        one._step(*one.batch())


@several
def test_graphs_are_let_go_before_the_communicator_is():
    one = Training("strict")
    one.losses(3)
    group = communicator()
    comm = group._group._comm
    with pytest.raises(StrictDeviceError, match="stand in graphs"):
        comm.destroy()
    group.close()
    gc.collect()
    assert comm.destroyed
    with pytest.raises(CollectiveError, match="was closed; make another one"):
        one.losses(1)


@several
def test_graphs_go_before_a_communicator_that_is_garbage_with_them(monkeypatch):
    one = Training("strict")
    one.losses(3)
    group = communicator()
    comm = group._group._comm
    ring = [one, group]
    ring.append(ring)
    choosing._chosen.clear()
    failed = []
    monkeypatch.setattr(sys, "unraisablehook", failed.append)
    one.backend.synchronize()
    door.longest_wait()  # the watchdog looks now and then, and notes that the last pass is over
    del one, group, ring
    gc.collect()
    assert comm.destroyed
    assert not failed


@several
def test_a_launch_after_the_end_of_the_communicator_is_caught():
    one = Training("strict")
    one.losses(3)
    (segment,) = one.run.program._call._divide()
    communicator()._group._comm.destroyed = True
    with one.backend.stream, pytest.raises(StrictDeviceError, match="that was destroyed"):
        segment.graph.launch()
