"""Predictions: what they add up to, how ranks and machines change them, and how long they take."""

from __future__ import annotations

import math
import time

import pytest
from machines import machine, workload

from hpcad.errors import ConfigError
from hpcad.scaling.simulation.machine import Failures, Noise, Storage
from hpcad.scaling.simulation.prediction import Request
from hpcad.scaling.simulation.simulate import simulate

NOISE = Noise(sigma=0.01, tail_probability=1e-4, tail_mean=0.5)
LEVELS = ((8, 3e-6, 1e11), (None, 1e-5, 4e10))


def large(noise=NOISE, **others):
    made = {
        "ranks_per_node": 8,
        "failures": Failures(node_mtbf_hours=10_000.0),
        "storage": Storage(read_bandwidth=1e12, write_bandwidth=1e12),
    }
    return machine(*LEVELS, algorithms=("ring", "tree"), noise=noise, **{**made, **others})


def load(pieces=100, **others):
    """0.3 s of computation and 1 GB of gradients."""
    messages = [(10**7, k + 1) for k in range(pieces)]
    return workload(0.1, (0.2 / pieces,) * pieces, 0.01, messages, state_bytes=3e9, **others)


def test_a_hundred_thousand_ranks_take_no_time():
    began = time.process_time()
    found = simulate(load(), large(), [1, 8, 64, 1000, 10_000, 100_000])
    assert time.process_time() - began < 2.0
    assert found[-1].ranks == 100_000
    assert 0 < found[-1].efficiency < 1


def test_the_parts_add_up():
    for each in simulate(load(sample_bytes=1e9), large(), [1, 8, 512, 100_000]):
        parts = each.compute + each.exposed + each.imbalance + each.data_wait
        assert parts == pytest.approx(each.step)
        assert each.effective == pytest.approx(each.step + each.checkpoints + each.failures)
        assert min(parts, each.exposed, each.hidden, each.data_wait) >= 0


def test_one_rank_computes_and_nothing_else():
    (alone,) = simulate(load(), large(Noise()), [1])
    assert alone.step == pytest.approx(0.31)
    assert (alone.exposed, alone.hidden, alone.messages) == (0, 0, 0)
    assert alone.imbalance == pytest.approx(0, abs=1e-12)
    assert alone.efficiency == 1


def test_efficiency_is_against_one_rank_also_where_nobody_asked_for_it():
    both = simulate(load(), large(), [1, 512])
    assert simulate(load(), large(), [512])[0] == both[1]


def test_a_seed_is_a_result():
    one, same = (simulate(load(), large(), [64], Request(seed=5)) for _ in range(2))
    assert one == same
    assert simulate(load(), large(), [64], Request(seed=6)) != one


@pytest.mark.parametrize("reduction", ["overlapped", "blocking"])
def test_weak_scaling_gets_worse_with_ranks(reduction):
    found = simulate(load(reduction=reduction), large(), [1, 8, 64, 512, 4096, 32_768])
    rates = [each.efficiency for each in found]
    assert rates == sorted(rates, reverse=True)


def test_overlap_is_never_worse_and_hides_what_blocking_shows():
    blocking, overlapped = (
        simulate(load(reduction=how), large(Noise()), [64])[0] for how in ("blocking", "overlapped")
    )
    assert blocking.hidden == 0
    assert overlapped.step < blocking.step
    assert overlapped.exposed + overlapped.hidden == pytest.approx(blocking.exposed)


def test_what_steals_all_speed_hides_nothing():
    slow = machine(*LEVELS, steals=1.0)
    blocking = simulate(load(reduction="blocking"), slow, [64])[0]
    assert simulate(load(), slow, [64])[0].step == pytest.approx(blocking.step)


def test_strong_scaling_divides_the_batch():
    found = simulate(load(), large(Noise()), [1, 4], Request(sweep="strong", batch=64))
    assert [each.samples for each in found] == [64, 16]
    assert found[1].compute == pytest.approx(16 * 0.3 + 0.01)
    with pytest.raises(ConfigError, match="samples a rank"):
        simulate(load(), large(), [128], Request(sweep="strong", batch=64))


def test_a_slower_network_a_longer_latency_and_more_noise_cost_time():
    base = simulate(load(), large(), [512])[0]
    narrow = machine((8, 3e-6, 1e11), (None, 1e-5, 2e9), noise=NOISE, ranks_per_node=8)
    late = machine((8, 3e-6, 1e11), (None, 1e-2, 4e10), noise=NOISE, ranks_per_node=8)
    for worse in (narrow, late, large(Noise(sigma=0.1))):
        assert simulate(load(), worse, [512])[0].step > base.step


def test_storage_that_is_too_slow_is_waited_for():
    thin = large(storage=Storage(read_bandwidth=1e9))
    found = simulate(load(sample_bytes=1e6), thin, [1, 1000])
    assert found[0].data_wait == 0
    assert found[1].step == pytest.approx(1000 * 1e6 / 1e9)
    assert found[1].dominant == "data wait"


def test_failures_of_more_nodes_cost_more():
    found = simulate(load(), large(), [8, 8000])
    assert found[1].failures > found[0].failures > 0
    assert found[1].interval < found[0].interval
    waiting = simulate(load(), large(), [8000], Request(background=False))[0]
    assert waiting.checkpoints > found[1].checkpoints


def test_where_nothing_fails_no_checkpoint_is_needed():
    (found,) = simulate(load(), machine(*LEVELS), [64])
    assert (found.checkpoints, found.failures, found.interval) == (0, 0, math.inf)
    assert found.to_dict()["interval"] is None


def test_the_largest_term_is_named():
    narrow = machine((8, 3e-6, 1e11), (None, 1e-5, 1e8), ranks_per_node=8)
    assert simulate(load(), narrow, [512])[0].dominant == "exposed communication"
    assert simulate(load(), narrow, [1])[0].dominant == "compute"
    jumpy = machine(*LEVELS, noise=Noise(tail_probability=0.01, tail_mean=5.0))
    assert simulate(load(), jumpy, [4096])[0].dominant == "imbalance"


def test_buckets_are_chosen_for_the_machine_by_the_rule_of_hpcad():
    free = load(bucket_bytes=None)
    few = simulate(free, machine((None, 1e-3, 1e11)), [64])[0].messages
    many = simulate(free, machine((None, 1e-7, 1e9)), [64])[0].messages
    assert few < many
    assert simulate(free, large(), [64], Request(bucket_bytes=(5e8, 5e8)))[0].messages == 2


def test_no_ranks_are_no_question():
    with pytest.raises(ConfigError, match="at least 1"):
        simulate(load(), large(), [0])
