"""Steps in time: by hand, and against every rank with every message."""

from __future__ import annotations

import numpy as np
import pytest
from every_message import data_parallel
from machines import UNIT, machine, workload

from hpcad.scaling.simulation.collectives import Stage, collective
from hpcad.scaling.simulation.schedule import schedule
from hpcad.scaling.simulation.timeline import Collective, Segment, play

RNG = np.random.default_rng(11)


def stages(*parts):
    return tuple(Stage((level,), seconds) for level, seconds in parts)


def step(made, load, ranks, factor=1.0):
    """The fast simulator's step, all computation longer by a factor."""

    def costs(nbytes, kind):
        return collective(made, ranks, nbytes, kind).stages

    segments, collectives = schedule(load, load.seconds(UNIT, 1), costs)
    slower = [Segment(s.seconds * factor, s.needs) for s in segments]
    return play(slower, collectives, made.collectives.steals)


# -- by hand ---------------------------------------------------------------------------------------


def test_without_collectives_a_step_is_its_computation():
    found = play([Segment(1.0), Segment(2.0)], [])
    assert (found.end, found.exposed, found.communicating) == (3.0, 0.0, 0.0)


def test_what_waits_for_a_collective_begins_when_it_is_done():
    found = play([Segment(1.0), Segment(2.0, needs=0)], [Collective(0, stages((0, 5.0)))])
    assert (found.end, found.exposed, found.communicating) == (8.0, 5.0, 5.0)


def test_a_collective_hides_behind_the_computation_that_follows_it():
    segments = [Segment(1.0), Segment(4.0), Segment(1.0, needs=0)]
    found = play(segments, [Collective(0, stages((0, 3.0)))])
    assert (found.end, found.exposed) == (6.0, 0.0)
    assert play(segments, [Collective(0, stages((0, 7.0)))]).exposed == 3.0


def test_collectives_of_one_channel_take_turns_in_their_order():
    segments = [Segment(1.0), Segment(1.0), Segment(0.0, needs=1)]
    found = play(segments, [Collective(0, stages((0, 3.0))), Collective(1, stages((0, 1.0)))])
    assert found.end == 5.0


def test_stages_of_two_levels_overlap():
    # Two messages, each 2 s inside, 3 s outside, 2 s inside: 0-2, 2-5, 5-7 and 2-4, 5-8, 8-10.
    message = stages((0, 2.0), (1, 3.0), (0, 2.0))
    found = play([Segment(0.0, needs=1)], [Collective(-1, message), Collective(-1, message)])
    assert found.end == 10.0
    assert found.communicating == 10.0


def test_a_collective_of_all_levels_overlaps_with_none():
    message = (Stage((0, 1), 3.0),)
    found = play([Segment(0.0, needs=1)], [Collective(-1, message), Collective(-1, message)])
    assert found.end == 6.0


def test_a_collective_takes_speed_from_the_computation_beside_it():
    segments = [Segment(1.0), Segment(4.0), Segment(1.0, needs=0)]
    # Half of the speed for 3 s: of 4 s of work 1.5 s are done by then.
    found = play(segments, [Collective(0, stages((0, 3.0)))], steals=0.5)
    assert found.end == pytest.approx(1 + 3 + 2.5 + 1)
    # All of it: nothing is hidden.
    assert play(segments, [Collective(0, stages((0, 3.0)))], steals=1.0).exposed == 3.0


# -- schedules -------------------------------------------------------------------------------------


def test_a_blocking_step_is_the_sum_of_its_parts():
    load = workload(1.0, (2.0, 3.0), 0.5, [(10**9, 1), (10**9, 2)], reduction="blocking")
    found = step(machine((4, 0.0, 1e9)), load, 4)
    assert found.end == pytest.approx(1 + 5 + 2 * 2 * 3 / 4 + 0.5)


def test_one_bucket_is_exposed_whole():
    load = workload(1.0, (2.0, 3.0), 0.5, [(10**9, 2)])
    found = step(machine((4, 0.0, 1e9)), load, 4)
    assert found.exposed == pytest.approx(2 * 3 / 4)


def test_buckets_hide_behind_the_rest_of_the_backward_pass():
    load = workload(1.0, (2.0, 3.0), 0.5, [(10**9, 1), (10**9, 2)])
    found = step(machine((4, 0.0, 1e9)), load, 4)
    assert found.exposed == pytest.approx(2 * 3 / 4)  # the last one's


def test_a_sharded_step_by_hand():
    # Two layers of 1 s forward and 2 s backward; gathers take 0.5 s, scatters 1 s.
    load = workload(
        1.0, (2.0, 2.0), 0.25, [(1, 1)], reduction="sharded", layer_bytes=((1, 2), (1, 2))
    )
    load = type(load)(**{**vars(load), "forward": type(load.forward)(
        np.array([[0, 1.0], [0, 1.0]]), np.zeros((2, 2)))})  # fmt: skip

    def costs(nbytes, kind):
        return stages((0, 0.5 if kind == "allgather" else 1.0))

    segments, collectives = schedule(load, load.seconds(UNIT, 1), costs)
    assert [segment.needs for segment in segments] == [0, 1, -1, 2, 4]
    # Gather 0 until 0.5, forward until 2.5, backward of layer 1 until 4.5 (the gather for layer 0
    # beside it), backward of layer 0 until 6.5, its scatter until 7.5, update.
    assert play(segments, collectives).end == pytest.approx(7.75)


# -- every message ---------------------------------------------------------------------------------


def random_step():
    pieces = int(RNG.integers(2, 8))
    lengths = RNG.integers(1, 10**9, pieces)
    after = sorted(RNG.choice(pieces, size=int(RNG.integers(1, pieces)), replace=False) + 1)
    return {
        "forward": float(RNG.random()),
        "backward": tuple(RNG.random(pieces)),
        "update": float(RNG.random()),
        "messages": [(int(lengths[k]), int(a)) for k, a in enumerate(after)],
    }


@pytest.mark.parametrize("case", range(6))
def test_rings_beside_a_backward_pass_with_ranks_of_different_speed(case):
    ranks, given = int(RNG.integers(2, 17)), random_step()
    factors = 1 + 0.3 * RNG.random(ranks)
    level = (ranks, 1e-3, 1e9)

    def ring(every, nbytes, ready):
        return every.ring(list(range(ranks)), level, nbytes, 2, ready)

    exact = data_parallel([level], **given, factors=factors, reduce=ring)
    fast = step(machine(level), workload(**given), ranks, factors.max())
    assert fast.end == pytest.approx(exact)


def test_sixty_four_ranks():
    ranks, given = 64, random_step()
    level = (ranks, 1e-4, 2e9)

    def ring(every, nbytes, ready):
        return every.ring(list(range(ranks)), level, nbytes, 2, ready)

    exact = data_parallel([level], **given, factors=np.ones(ranks), reduce=ring)
    assert step(machine(level), workload(**given), ranks).end == pytest.approx(exact)


HIERARCHY = [(4, 1e-3, 4e9), (3, 5e-3, 1e9)]


def hierarchical(every, nbytes, ready):
    return every.hierarchical(nbytes, ready)


def test_one_message_of_a_hierarchy_with_ranks_of_different_speed():
    given = random_step()
    given["messages"] = given["messages"][-1:]
    factors = 1 + 0.3 * RNG.random(12)
    exact = data_parallel(HIERARCHY, **given, factors=factors, reduce=hierarchical)
    made = machine(*HIERARCHY, algorithms=["hierarchical"])
    assert step(made, workload(**given), 12, factors.max()).end == pytest.approx(exact)


def test_messages_of_two_levels_pass_each_other():
    given = {"forward": 0.1, "backward": (0.1,) * 8, "update": 0.1}
    given["messages"] = [(10**8 * (1 + k % 3), k + 1) for k in range(8)]
    alike, one = np.ones(12), {"reduce": hierarchical}
    passing = data_parallel(HIERARCHY, **given, factors=alike, passing=True, **one)
    in_turn = data_parallel(HIERARCHY, **given, factors=alike, **one)
    made = machine(*HIERARCHY, algorithms=["hierarchical"])
    fast = step(made, workload(**given), 12).end
    # Links serve messages in turn, and the fast simulator whole stages: nearly the same.
    assert fast == pytest.approx(passing, rel=0.05)
    assert fast < 0.9 * in_turn
