"""Phases are exclusive, and their rows always sum to the total."""

from __future__ import annotations

import contextlib
import re
import time

import pytest

from hpcad.training.phases import PhaseTimer


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_phases_and_other(clock):
    phases = PhaseTimer(clock)
    for _ in range(2):
        with phases("forward"):
            clock.now += 2
        with phases("backward"):
            clock.now += 3
        clock.now += 1
        phases.step()
    assert phases.seconds() == {"forward": 4, "backward": 6, "other": 2}
    assert phases.total == 12
    assert phases.steps == 2


def test_an_inner_phase_is_not_counted_in_the_outer_one(clock):
    phases = PhaseTimer(clock)
    with phases("backward"):
        clock.now += 1
        with phases("exposed communication"):
            clock.now += 2
            with phases("data wait"):
                clock.now += 4
        clock.now += 8
    assert phases.seconds() == {
        "data wait": 4, "backward": 9, "exposed communication": 2, "other": 0
    }  # fmt: skip


def test_move_and_add(clock):
    phases = PhaseTimer(clock)
    with phases("backward"):
        clock.now += 5
        phases.move("backward", "exposed communication", 2)
        phases.add("data wait", 1)
    clock.now += 3
    phases.add("optimizer", 2)
    assert phases.seconds() == {
        "data wait": 1, "backward": 2, "exposed communication": 2, "optimizer": 2, "other": 1
    }  # fmt: skip
    assert sum(phases.seconds().values()) == phases.total


def test_an_exception_still_closes_the_phase(clock):
    phases = PhaseTimer(clock)
    with contextlib.suppress(KeyError), phases("forward"):
        clock.now += 1
        raise KeyError
    with phases("forward"):
        clock.now += 1
    assert phases.seconds()["forward"] == 2


def test_an_open_phase_can_turn_into_another(clock):
    phases = PhaseTimer(clock)
    with phases("outer"):
        clock.now += 1
        with phases("forward"):
            clock.now += 2
            phases.turn("backward")
            with phases("inner"):
                clock.now += 4
            clock.now += 8
            phases.turn("optimizer")
            clock.now += 16
        clock.now += 32
    seconds = phases.seconds()
    expected = {"outer": 33, "forward": 2, "inner": 4, "backward": 8, "optimizer": 16, "other": 0}
    assert seconds == expected


def test_stop_and_reset(clock):
    phases = PhaseTimer(clock)
    with phases("forward"):
        clock.now += 1
    phases.stop()
    clock.now += 50
    assert phases.total == 1
    phases.reset()
    assert (phases.seconds(), phases.steps) == ({"other": 0}, 0)


def test_order_of_rows(clock):
    phases = PhaseTimer(clock)
    for name in ("mine", "optimizer", "data wait", "other"):
        with phases(name):
            clock.now += 1
    assert list(phases.seconds()) == ["data wait", "optimizer", "mine", "other"]


def numbers(table: str) -> list[tuple[str, float, float, float]]:
    rows = re.findall(r"^(\S.*?)  +([-\d.]+) +([-\d.]+) +([-\d.]+) %$", table, re.MULTILINE)
    return [(name, float(a), float(b), float(c)) for name, a, b, c in rows]


def test_printed_rows_sum_to_the_printed_total(clock):
    phases = PhaseTimer(clock)
    for i in range(7):
        for name in ("data wait", "forward", "backward", "optimizer"):
            with phases(name):
                clock.now += 0.0123457 * (i + len(name)) / 7
        clock.now += 0.00077
        phases.step()
    phases.stop()
    *rows, total = numbers(phases.table())
    assert [name for name, *_ in rows][-1] == "other"
    assert total[0] == "total"
    assert sum(row[1] for row in rows) == pytest.approx(total[1], abs=1e-9)
    assert sum(row[2] for row in rows) == pytest.approx(total[2], abs=1e-9)
    assert sum(row[3] for row in rows) == pytest.approx(100, abs=0.3)
    assert total[1] == pytest.approx(phases.total, abs=0.003)
    assert total[2] == pytest.approx(1e3 * phases.total / 7, abs=0.003)
    assert phases.table().endswith("7 steps")


def test_a_table_without_steps(clock):
    assert "0 steps" in PhaseTimer(clock).table()


def test_real_time():
    phases = PhaseTimer()
    with phases("forward"):
        time.sleep(0.02)
    phases.stop()
    assert 0.02 <= phases.seconds()["forward"] <= phases.total < 2


def test_a_note_stands_under_the_table():
    phases = PhaseTimer()
    phases.stop()
    assert phases.table().endswith("0 steps")
    phases.note = "seconds of the host"
    phases.reset()
    phases.stop()
    assert phases.table().endswith("0 steps\nseconds of the host")
