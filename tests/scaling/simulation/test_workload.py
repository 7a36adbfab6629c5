"""Work and its times; gradients and the messages that they are gathered into."""

from __future__ import annotations

import numpy as np
import pytest
from machines import UNIT, workload

from hpcad.errors import ConfigError
from hpcad.nn.arena import flatten
from hpcad.parallel.gradients.buckets import make_buckets
from hpcad.scaling.simulation.fusion import fused
from hpcad.scaling.simulation.machine import Device
from hpcad.scaling.simulation.workload import Gradient, Work, Workload, work


def test_a_piece_takes_what_limits_it():
    pieces = work([1e9, 1e9, 0], [1e6, 1e9, 0])
    device = Device(flops=1e9, memory_bandwidth=1e8, overhead=0.5)
    np.testing.assert_allclose(pieces.seconds(device, 2), [2.5, 20.5, 0.5])


def test_work_of_any_batch_and_of_a_sample():
    pieces = Work(np.array([[3.0, 2.0]]), np.zeros((1, 2)))
    assert pieces.seconds(UNIT, 10) == [23.0]


def test_a_measured_step_scales_all_of_it():
    load = workload(1.0, (2.0,), 1.0, measured_seconds=8.0)
    assert [float(part.sum()) for part in load.seconds(UNIT, 1)] == [2.0, 4.0, 2.0]
    # On a device at half of the speed that it was measured at, it takes twice the time.
    half = Device(0.5, 1.0)
    assert sum(float(part.sum()) for part in load.seconds(half, 1, UNIT)) == 16.0
    assert sum(float(part.sum()) for part in load.seconds(UNIT, 3)) == 8.0 * 10 / 4


def test_less_than_a_sample_is_refused():
    with pytest.raises(ConfigError, match=r"0\.5 samples a rank"):
        workload().seconds(UNIT, 0.5)


@pytest.mark.parametrize(("first", "others"), [(1, 1), (64, 128), (100, 5000), (10**9, 10**9)])
def test_buckets_are_those_of_the_engine(first, others):
    import hpcad
    from hpcad.nn import Linear, Sequential

    model = Sequential(Linear(8, 16), Linear(16, 16), Linear(16, 4))
    model.initialize(0, np.dtype("float32"), hpcad.backend.get_backend("cpu"))
    arenas = flatten(model)
    buckets = make_buckets(arenas, others, first)
    starts = [arenas[0].span(parameter).start for parameter in reversed(arenas[0].parameters)]
    stops = [arenas[0].grads.size, *starts]
    gradients = tuple(
        Gradient(4 * (b - a), i + 1)
        for i, (a, b) in enumerate(zip(starts, stops[:-1], strict=True))
    )
    load = workload(backward=(1.0,) * len(gradients))
    load = Workload(**{**vars(load), "gradients": gradients}).with_buckets(first, others)
    after = np.cumsum([len(bucket.parameters) for bucket in buckets])
    assert [message.after for message in load.messages()] == after.tolist()
    assert [message.nbytes for message in load.messages()] == [each.nbytes for each in buckets]


@pytest.mark.parametrize("buckets", [None, (0, 0)])
def test_no_message_starts_before_the_one_before_it(buckets):
    messages = [(1, 3), (1, 1), (1, 2)]
    load = workload(backward=(1.0,) * 3, messages=messages, bucket_bytes=buckets)
    assert [message.after for message in load.messages()] == [3, 3, 3]


def test_what_is_ready_goes_with_the_next_message():
    gradients = [Gradient(10, 1), Gradient(20, 2), Gradient(30, 3), Gradient(40, 4)]
    backward = np.array([1.0, 1.0, 1.0, 5.0])
    # The first starts at 1 and takes 2.5; 20 and 30 are ready by 3.5; the last one at 8.
    found = fused(gradients, backward, lambda n: 2.5, limit=100, cycle=0)
    assert found == (Gradient(10, 1), Gradient(50, 3), Gradient(40, 4))
    # A buffer of 20 holds one of them; and with a cycle of 2 s the first look is at 2.
    assert len(fused(gradients, backward, lambda n: 2.5, limit=20, cycle=0)) == 4
    assert fused(gradients, backward, lambda n: 2.5, 100, 2.0)[0] == Gradient(30, 2)
