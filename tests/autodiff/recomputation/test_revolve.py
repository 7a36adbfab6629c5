"""Checkpointing schedules: valid, within their places, and as cheap as is possible at all."""

from __future__ import annotations

import heapq
import itertools
from functools import cache

import pytest

from hpcad.autodiff.recomputation.online import OnlineStates
from hpcad.autodiff.recomputation.revolve import (
    ADVANCE,
    DROP,
    RESTORE,
    REVERSE,
    SPILL,
    STORE,
    advances,
    kept_by,
    reach,
    reversal,
    revolve,
    runs,
)
from hpcad.autodiff.recomputation.twolevel import TwoLevels

KNOWN = {(10, 3): 25, (20, 4): 59, (50, 5): 172, (100, 8): 345}  # runs of the step function


@cache
def fewest_advances(steps: int, slots: int) -> int:
    """By dynamic programming, from nothing but the rules of the game."""
    if steps < 2:
        return 0
    if slots == 1:
        return steps * (steps - 1) // 2
    return min(
        at + fewest_advances(steps - at, slots - 1) + fewest_advances(at, slots)
        for at in range(1, steps)
    )


class Game:
    """Carries out a schedule, and objects to what cannot be done."""

    def __init__(self, steps, slots, disk_slots=0, write=0.0, read=0.0, kept=None):
        self.to_reverse = steps
        self.slots, self.disk_slots = slots, disk_slots
        self.write, self.read = write, read
        kept = {0: False} if kept is None else kept
        self.memory = {state for state, on_disk in kept.items() if not on_disk}
        self.disk = {state for state, on_disk in kept.items() if on_disk}
        self.current = 0
        self.runs, self.cost = 0, 0.0

    def play(self, schedule):
        for action in schedule:
            getattr(self, action.kind)(action)
            assert len(self.memory) <= self.slots
            assert len(self.disk) <= self.disk_slots
        assert self.to_reverse == 0
        return self

    def advance(self, action):
        assert action.at == self.current < action.to < self.to_reverse
        self.current = action.to
        self.runs += action.to - action.at
        self.cost += action.to - action.at

    def store(self, action):
        assert action.at == self.current
        self.memory.add(action.at)

    def spill(self, action):
        assert action.at == self.current
        self.disk.add(action.at)
        self.cost += self.write

    def restore(self, action):
        assert action.at in self.memory | self.disk
        self.cost += 0.0 if action.at in self.memory else self.read
        self.current = action.at

    def drop(self, action):
        assert action.at in self.memory | self.disk
        self.memory.discard(action.at)
        self.disk.discard(action.at)

    def reverse(self, action):
        assert action.at == self.current == self.to_reverse - 1
        self.to_reverse -= 1
        self.runs += 1
        self.cost += 1
        self.current = None


# -- known length -----------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "total"), KNOWN.items())
def test_the_published_numbers_of_runs(case, total):
    assert runs(*case) == total
    assert Game(*case).play(revolve(*case)).runs == total


@pytest.mark.parametrize("slots", range(1, 9))
def test_no_schedule_runs_fewer_steps(slots):
    for steps in range(1, 80):
        assert advances(steps, slots) == fewest_advances(steps, slots)
        game = Game(steps, slots).play(revolve(steps, slots))
        assert game.runs == fewest_advances(steps, slots) + steps


def test_with_a_slot_for_every_state_each_step_is_run_at_most_twice():
    for steps in range(1, 30):
        assert runs(steps, steps) == runs(steps, steps + 7) == 2 * steps - 1


def test_one_slot_is_enough():
    assert runs(10, 1) == 45 + 10
    assert list(revolve(0, 1)) == []
    assert [action.kind for action in revolve(1, 1)] == [STORE, DROP, REVERSE]
    kinds = [action.kind for action in revolve(2, 1)]
    assert kinds == [STORE, ADVANCE, REVERSE, RESTORE, DROP, REVERSE]


def test_reach_is_the_longest_chain_for_that_many_repetitions():
    for slots, repeats in itertools.product(range(1, 6), range(1, 5)):
        longest = reach(slots, repeats)
        one_more = advances(longest + 1, slots) - advances(longest, slots)
        assert advances(longest, slots) - advances(longest - 1, slots) == repeats
        assert one_more == repeats + 1


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8])
def test_going_on_from_the_states_that_were_kept_is_the_rest_of_the_schedule(slots):
    for steps in range(2, 60):
        kept = kept_by(revolve(steps, slots))
        game = Game(steps - 1, slots, kept=kept)
        game.play(reversal(list(kept), steps - 1, slots))
        assert steps + game.runs == runs(steps, slots)


# -- unknown length ---------------------------------------------------------------------------


def left_to_run(kept, steps, slots):
    """Runs of step functions in the backward pass, the last step being recorded already."""
    ends = [*kept[1:], steps - 1]
    pieces = zip(kept, ends, range(slots, 0, -1), strict=False)
    return sum(advances(end - start, free) for start, end, free in pieces) + steps - 1


def excess(slots: int, longest: int) -> list[float]:
    """Runs relative to those of the optimum for a known length, for each length."""
    states, found = OnlineStates(slots), []
    for steps in range(1, longest + 1):
        total = steps + left_to_run(states.kept, steps, slots)
        assert len(states.kept) <= slots
        found.append(total / runs(steps, slots))
        states.visit(steps)
    return found


@pytest.mark.parametrize(
    ("slots", "worst", "mean"),
    [(1, 1.0, 1.0), (2, 1.2, 1.02), (3, 1.11, 1.02), (4, 1.085, 1.02), (8, 1.06, 1.01),
     (20, 1.03, 1.01)],
)  # fmt: skip
def test_not_knowing_the_length_costs_little(slots, worst, mean):
    found = excess(slots, 2000)
    assert min(found) >= 1.0
    assert max(found) <= worst
    assert sum(found) / len(found) <= mean


def test_as_long_as_every_state_has_a_place_nothing_is_lost():
    for slots in range(1, 12):
        assert set(excess(slots, slots + 1)) == {1.0}


def test_states_kept_on_the_way_can_be_reversed_from():
    for slots in (1, 2, 4):
        states = OnlineStates(slots)
        for steps in range(1, 60):
            if steps > 1:
                kept = dict.fromkeys(states.kept, False)
                game = Game(steps - 1, slots, kept=kept)
                game.play(reversal(states.kept, steps - 1, slots))
                assert game.runs == left_to_run(states.kept, steps, slots)
            states.visit(steps)


# -- two levels -------------------------------------------------------------------------------


def cheapest(steps: int, slots: int, disk_slots: int, write: float, read: float) -> float:
    """By Dijkstra's algorithm over all positions of the game. State 0 stays in memory."""
    start = (0, frozenset([0]), frozenset(), steps)
    best, ticket = {start: 0.0}, itertools.count()
    heap = [(0.0, next(ticket), start)]
    while heap:
        cost, _, position = heapq.heappop(heap)
        if cost > best[position]:
            continue
        current, memory, disk, left = position
        if left == 0:
            return cost
        moves = []
        if current is not None and current < left - 1:
            moves.append((1.0, (current + 1, memory, disk, left)))
        if current == left - 1:
            moves.append((1.0, (None, memory, disk, left - 1)))
        if current is not None and current not in memory and len(memory) < slots:
            moves.append((0.0, (current, memory | {current}, disk, left)))
        if current is not None and current not in disk and len(disk) < disk_slots:
            moves.append((write, (current, memory, disk | {current}, left)))
        moves += [(0.0, (x, memory, disk, left)) for x in memory if x < left]
        moves += [(read, (x, memory, disk, left)) for x in disk if x < left]
        moves += [(0.0, (current, memory - {x}, disk, left)) for x in memory if x]
        moves += [(0.0, (current, memory, disk - {x}, left)) for x in disk]
        for price, after in moves:
            if cost + price < best.get(after, float("inf")):
                best[after] = cost + price
                heapq.heappush(heap, (cost + price, next(ticket), after))
    raise AssertionError("unreachable")


@pytest.mark.parametrize(("write", "read"), [(0.0, 0.0), (1.0, 1.0), (0.5, 2.0), (2.0, 0.25)])
@pytest.mark.parametrize("disk_slots", [0, 1, 2, 3])
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_no_schedule_of_two_levels_is_cheaper(slots, disk_slots, write, read):
    for steps in range(1, 8):
        levels = TwoLevels(steps, slots, disk_slots, write, read)
        game = Game(steps, slots, disk_slots, write, read).play(levels.schedule())
        assert game.cost == pytest.approx(levels.cost)
        assert levels.cost == pytest.approx(cheapest(steps, slots, disk_slots, write, read))


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_without_a_disk_two_levels_are_revolve(slots):
    for steps in range(1, 60):
        assert TwoLevels(steps, slots, 0).cost == runs(steps, slots)


def test_a_free_disk_is_as_good_as_memory():
    for steps in range(1, 60):
        assert TwoLevels(steps, 2, 3, 0.0, 0.0).cost == runs(steps, 5)


def test_a_disk_that_costs_too_much_is_not_used():
    schedule = TwoLevels(30, 3, 5, 1000.0, 1000.0).schedule()
    assert SPILL not in {action.kind for action in schedule}


@pytest.mark.parametrize(
    "case", [(40, 2, 3, 1.0, 1.0), (60, 3, 2, 0.2, 3.0), (30, 1, 30, 0.1, 0.1)]
)
def test_two_levels_go_on_from_the_states_that_were_kept(case):
    steps, *places = case
    levels = TwoLevels(*case)
    forward = list(itertools.takewhile(lambda a: a.kind != REVERSE, levels.schedule()))
    kept = kept_by(levels.schedule())
    spent = sum(a.to - a.at for a in forward if a.kind == ADVANCE) + 1
    spent += places[2] * sum(kept.values())
    game = Game(steps - 1, *places, kept=kept)
    game.play(levels.reversal(kept, steps - 1))
    assert spent + game.cost == pytest.approx(levels.cost)
