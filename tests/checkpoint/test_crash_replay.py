"""Power loss: whatever of the operations that were not flushed is lost, a save is old or new."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest

from .crash.recording import Event
from .crash.reordering import Job, Verdict, begin_of, judge, record
from .crash.saves import Save, series

RUN = Path("run")

#: Steps that are saved; the power goes off in the last save, or soon after it.
SCENARIOS = {
    "first": (10,),
    "next": (10, 20),
    "pruning": (10, 20, 30),
    "again": (10, 20, 20),
    "going back": (10, 30, 20),
    "going far back": (10, 30, 40, 20),
    "going back twice": (10, 30, 20, 30, 20),
}


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def places(memory):
    """Return the directory of a recording, and one for what is left of it."""
    made = memory / "recorded", memory / "lost"
    for path in made:
        path.mkdir()
    return made


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_power_loss_at_every_point(places, scenario, ranks, disrupted):
    """The newest checkpoint is that of the last save that returned, or the one after it."""
    recorded, lost = places
    saves = series(*SCENARIOS[scenario])
    events = record(recorded, [Job(saves)], ranks)
    start = begin_of(events, len(saves))
    verdict = judge(events, saves, lost, start=start, states_limit=3, points_limit=3)
    disrupted(verdict.different, f"{scenario}, {ranks} ranks: {verdict}")
    assert verdict.complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_power_loss_at_every_point_with_many_subsets(places, scenario, ranks, disrupted):
    recorded, lost = places
    saves = series(*SCENARIOS[scenario], wait=False)
    events = record(recorded, [Job(saves)], ranks)
    verdict = judge(events, saves, lost, states_limit=160, points_limit=60)
    disrupted(verdict.different, f"{scenario}, {ranks} ranks: {verdict}")
    assert verdict.complaints == []


def stops(places, saves: list[Save], ranks: int, *, every: bool) -> list[tuple[int, int]]:
    """Return ranks and operations after which they can be stopped in the last save.

    Without `every`, only those after which a manifest has been renamed or removed, and nothing has
    been flushed since.
    """
    events = record(places[0], [Job(saves)], ranks)
    found: list[tuple[int, int]] = []
    for rank in range(ranks):
        last = events[begin_of(events, len(saves)) :]
        own = [event for event in last if event.rank == rank and event.name != "returned"]
        found += [
            (rank, stop) for stop in range(len(own)) if every or (stop and _switches(own[stop - 1]))
        ]
    return found


def _switches(event: Event) -> bool:
    names = (event.path.name, event.detail.name if event.name == "rename" else "")
    return event.name in ("rename", "unlink") and "manifest.json" in names


def restarted(places, steps: tuple[int, ...], step: int, ranks: int, *, every: bool) -> Verdict:
    """Kill a job in its last save, let another one save once, and switch off the power then."""
    recorded, lost = places
    saves = [*series(*steps), Save(len(steps) + 1, step)]
    first, second = saves[:-1], saves[-1:]
    verdict = Verdict()
    for rank, stop in stops(places, first, ranks, every=every):
        shutil.rmtree(recorded)
        recorded.mkdir()
        events = record(recorded, [Job(first, rank, stop), Job(second)], ranks)
        begin = max(i for i, e in enumerate(events) if e.name == "make_directory" and e.path == RUN)
        if not every:  # what the second job finds matters when it removes things
            begin = next(i for i in range(begin, len(events)) if events[i].name == "rename")
        killed = {first[-1].number}
        verdict += judge(
            events,
            saves,
            lost,
            start=begin,
            killed=killed,
            states_limit=4 if every else 8,
            points_limit=0,
        )
    return verdict


RESTARTS = [((10, 20, 30), 40), ((10, 20, 30), 30), ((10, 30, 20), 40)]


@pytest.mark.parametrize(("steps", "step"), RESTARTS[:2])
def test_power_loss_after_a_kill_and_a_restart(places, steps, step, disrupted):
    """Another job goes on where one was killed, and what it relies on outlasts the power."""
    verdict = restarted(places, steps, step, 1, every=False)
    disrupted(verdict.different, f"killed in step {steps[-1]}, saved step {step}: {verdict}")
    assert verdict.complaints == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(("steps", "step"), RESTARTS)
def test_power_loss_after_a_kill_anywhere_and_a_restart(places, steps, step, ranks, disrupted):
    verdict = restarted(places, steps, step, ranks, every=True)
    disrupted(
        verdict.different,
        f"killed in step {steps[-1]}, saved step {step}, {ranks} ranks: {verdict}",
    )
    assert verdict.complaints == []


def without(events: list[Event], what: str) -> list[Event]:
    """Return the recording of a protocol that leaves out a step of the real one."""
    if what == "agreement":
        return [replace(event, meetings=0) for event in events]
    left = []
    for before, event, after in zip([None, *events], events, [*events[1:], None], strict=False):
        if not OMISSIONS[what](before, event, after):
            left.append(event)
    return left


def _flushes(event: Event, file: str) -> bool:
    return event.name == "fsync" and fnmatch(event.path.name, file)


#: Which events of the real protocol are left out, told from the ones before and after them.
OMISSIONS = {
    "bytes of parts": lambda before, event, after: _flushes(event, "*.h5"),
    "bytes of the manifest": lambda before, event, after: _flushes(event, ".manifest*"),
    "names of parts": lambda before, event, after: (
        event.name == "fsync_directory" and after is not None and "manifest" in after.path.name
    ),
    "name of the manifest": lambda before, event, after: (
        event.name == "fsync_directory"
        and before.name == "rename"
        and before.path.name.startswith(".manifest")
    ),
    # It is flushed twice: pruning must not depend on `latest`, whose failure is a warning.
    "name of the step": lambda before, event, after: (
        event.name == "fsync_directory"
        and (before.name == "make_directory" or before.path.name.startswith(".latest"))
    ),
    "end of an old one": lambda before, event, after: (
        event.name == "fsync_directory" and before.name == "unlink"
    ),
}


@pytest.mark.parametrize("what", [*OMISSIONS, "agreement"])
def test_each_step_of_the_protocol_is_needed(places, what):
    """Leave out one of them, and some state is wrong: the states are able to show it."""
    recorded, lost = places
    saves = series(10, 20, 30)
    events = without(record(recorded, [Job(saves)], 2), what)
    start = begin_of(events, 2 if what == "agreement" else 3)
    verdict = judge(events, saves, lost, start=start, states_limit=30, points_limit=0, enough=1)
    print(f"without {what}: {verdict}")
    assert verdict.complaints
