"""Costs of collectives: formulas, limits, and every message of few ranks."""

from __future__ import annotations

import math

import pytest
from every_message import EveryMessage
from machines import machine

from hpcad.scaling.simulation.collectives import collective
from hpcad.scaling.simulation.machine import Level

A, B = 2e-6, 1e9


def alone(groups, collect):
    """Time of one collective of all ranks, message by message."""
    every = EveryMessage(groups)
    ready = {rank: every.task(("core", rank), 0.0, []) for rank in range(every.ranks)}
    collect(every, ready)
    return every.run()


@pytest.mark.parametrize("ranks", [2, 3, 8, 64])
@pytest.mark.parametrize("nbytes", [8, 10**6])
def test_a_ring_is_its_formula_and_its_messages(ranks, nbytes):
    found = collective(machine((ranks, A, B)), ranks, nbytes).seconds
    assert found == pytest.approx(2 * (ranks - 1) * (A + nbytes / (ranks * B)))
    level = (ranks, A, B)
    every = alone([level], lambda e, ready: e.ring(list(range(ranks)), level, nbytes, 2, ready))
    assert found == pytest.approx(every)


@pytest.mark.parametrize("ranks", [2, 8, 64])
def test_recursive_halving_is_its_formula_and_its_messages(ranks):
    nbytes = 10**6
    found = collective(machine((ranks, A, B), algorithms=["halving"]), ranks, nbytes).seconds
    formula = 2 * math.log2(ranks) * A + 2 * (ranks - 1) / ranks * nbytes / B
    level = (ranks, A, B)
    every = alone([level], lambda e, ready: e.halving(list(range(ranks)), level, nbytes, ready))
    assert found == pytest.approx(formula)
    assert found == pytest.approx(every)


def test_halving_of_no_power_of_two_costs_the_fold_besides():
    exact = collective(machine((4, A, B), algorithms=["halving"]), 4, 10**6).seconds
    found = collective(machine((5, A, B), algorithms=["halving"]), 5, 10**6).seconds
    assert found == pytest.approx(exact + 2 * (A + 10**6 / B))


@pytest.mark.parametrize(("inside", "outside"), [(2, 2), (4, 3), (8, 8)])
def test_a_hierarchy_is_its_messages(inside, outside):
    groups = [(inside, A, 10 * B), (outside, 5 * A, B)]
    found = collective(machine(*groups, algorithms=["hierarchical"]), inside * outside, 10**6)
    assert found.seconds == pytest.approx(alone(groups, lambda e, r: e.hierarchical(10**6, r)))
    assert [stage.levels for stage in found.stages] == [(0,), (1,), (0,)]


def test_a_ring_over_nodes_passes_every_link_and_the_narrowest_sets_the_pace():
    found = collective(machine((4, A, 10 * B), (3, 5 * A, B)), 12, 10**6).seconds
    assert found == pytest.approx(2 * (9 * A + 2 * 5 * A) + 2 * 11 / 12 * 10**6 / B)


def test_a_ring_of_ranks_that_fill_no_node_has_as_many_links_as_ranks_less_one():
    found = collective(machine((4, A, B), (3, A, B)), 10, 0).seconds
    assert found == pytest.approx(2 * 9 * A)


def test_a_tree_has_few_messages_in_sequence():
    levels = (4, A, 10 * B), (8, 5 * A, B), (125, 7 * A, B)
    found = collective(machine(*levels, algorithms=["tree"], ranks_per_node=4), 4000, 1000)
    assert found.seconds == pytest.approx(2 * (3 * A + 3 * 5 * A + 7 * 7 * A) + 2 * 1000 / B)


def test_the_fastest_algorithm_is_chosen_by_length():
    both = machine((64, A, B), algorithms=["ring", "tree"])
    assert collective(both, 64, 1000).algorithm == "tree"
    assert collective(both, 64, 10**9).algorithm == "ring"


def test_an_allreduce_is_a_reduce_scatter_and_an_allgather():
    for name in ("ring", "hierarchical", "halving"):
        both = machine((4, A, B), (3, A, B), algorithms=[name])
        parts = [collective(both, 12, 10**6, kind) for kind in ("reduce-scatter", "allgather")]
        whole = collective(both, 12, 10**6)
        assert whole.seconds == pytest.approx(sum(part.seconds for part in parts))


def test_sharded_collectives_know_no_tree():
    only = machine((4, A, B), algorithms=["tree"])
    assert collective(only, 4, 1000, "allgather").algorithm == "ring"


def test_an_overhead_is_that_of_a_collective_and_not_of_a_stage():
    plain = machine((4, A, B), (3, A, B), algorithms=["hierarchical"])
    slower = machine((4, A, B), (3, A, B), algorithms=["hierarchical"], overhead=1e-3)
    extra = collective(slower, 12, 1000).seconds - collective(plain, 12, 1000).seconds
    assert extra == pytest.approx(1e-3)


def test_one_rank_sends_nothing():
    assert collective(machine((4, A, B), overhead=1.0), 1, 10**9).seconds == 0


@pytest.mark.parametrize("name", ["ring", "tree", "hierarchical", "halving"])
def test_costs_grow_with_bytes_and_latency_and_shrink_with_bandwidth(name):
    def seconds(nbytes=10**6, latency=A, bandwidth=B):
        made = machine((8, latency, bandwidth), (64, latency, bandwidth), algorithms=[name])
        return collective(made, 512, nbytes).seconds

    assert seconds(2 * 10**6) > seconds()
    assert seconds(latency=2 * A) > seconds()
    assert seconds(bandwidth=2 * B) < seconds()


def test_a_measured_level_takes_what_was_measured():
    made = machine((8, A, B), algorithms=["hierarchical"])
    made.levels["level0"] = Level(
        latency=A, bandwidth=B, size=8, measured=[[2, 1e-5, 1e9], [8, 4e-5, 2.5e8]]
    )
    assert collective(made, 2, 10**6).seconds == pytest.approx(1e-5 + 1e-3)
    assert collective(made, 8, 10**6).seconds == pytest.approx(4e-5 + 4e-3)
    assert collective(made, 4, 10**6).seconds == pytest.approx(2e-5 + 2e-3)
