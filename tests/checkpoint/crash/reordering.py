"""All states after a power loss at any point of some saves, and what the loader makes of them."""

from __future__ import annotations

import functools
import itertools
import random
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .power_loss import ImpossibleError, Machine
from .ranks import Stopped, ThreadCommunicator, run
from .recording import Event, Recording
from .saves import Save, carry_out, complaint, kept, make_store

CHECKPOINTS = Path("run") / "checkpoints"


@dataclass
class Verdict:
    """What became of the states: how many there were, and what was wrong with some."""

    points: int = 0
    states: int = 0
    different: int = 0
    exhaustive: int = 0
    complaints: list[str] = field(default_factory=list)

    def __iadd__(self, other: Verdict) -> Verdict:
        self.points += other.points
        self.states += other.states
        self.different += other.different
        self.exhaustive += other.exhaustive
        self.complaints += other.complaints
        return self

    def __str__(self) -> str:
        return (
            f"{self.points} points of power loss ({self.exhaustive} of them with every legal "
            f"subset), {self.states} states, {self.different} of them different; "
            f"{len(self.complaints)} wrong"
        )


@dataclass(frozen=True)
class Job:
    """Saves of one job; in the last one, a rank may end for good after `stop` operations."""

    saves: Sequence[Save]
    rank: int = 0
    stop: int | None = None


def record(place: Path, jobs: Sequence[Job], ranks: int) -> list[Event]:
    """Carry out some jobs, one after the other, and return what they did."""
    recording = Recording(place)
    for job in jobs:
        for outcome in run(ranks, functools.partial(_program, recording, job)):
            if isinstance(outcome.error, Stopped):
                continue
            if outcome.error is not None:
                raise outcome.error
        recording.next_job()
    return recording.events


def _program(recording: Recording, job: Job, communicator: ThreadCommunicator) -> None:
    disk = recording.disk(communicator)
    if communicator.rank == 0:
        # As a run makes its output directory: nobody flushes the name.
        disk.make_directory(recording.place / "run")
    communicator.barrier()
    store = make_store(recording.place / CHECKPOINTS, communicator, disk)
    for save in job.saves:
        if save is job.saves[-1] and job.stop is not None and communicator.rank == job.rank:
            disk.stop_after(job.stop)
        carry_out(store, save)
        disk.returned(save.number)


def points(events: Sequence[Event], start: int, limit: int, seed: int) -> Iterator[list[Event]]:
    """Yield what had been done when the power went off: all that is consistent.

    Between two collectives, each rank may have come to any of its operations, whatever the others
    have done.

    Parameters
    ----------
    start : int
        Points before this event are left out.
    limit : int
        At most that many between two collectives, beside the order of the recording.
    """
    choose = random.Random(seed)
    for end in range(start, len(events) + 1):
        yield list(events[:end])
    for meetings in sorted({event.meetings for event in events[start:]}):
        inside = [e for e in events if e.meetings == meetings]
        ranks = sorted({event.rank for event in inside})
        if len(ranks) < 2:
            continue
        counts = [range(sum(e.rank == rank for e in inside) + 1) for rank in ranks]
        reached = list(itertools.product(*counts))
        if len(reached) > limit:
            reached = choose.sample(reached, limit)
        for numbers in reached:
            yield _until(events, meetings, dict(zip(ranks, numbers, strict=True)))


def _until(events: Sequence[Event], meetings: int, reached: dict[int, int]) -> list[Event]:
    left, found = dict(reached), []
    for event in events:
        if event.meetings < meetings:
            found.append(event)
        elif event.meetings == meetings and left[event.rank] > 0:
            left[event.rank] -= 1
            found.append(event)
    return found


def judge(
    events: Sequence[Event],
    saves: Sequence[Save],
    place: Path,
    *,
    start: int = 0,
    killed: Collection[int] = (),
    points_limit: int = 20,
    states_limit: int = 20,
    seed: int = 1,
    enough: int | None = None,
) -> Verdict:
    """Load every state and say what was wrong.

    Parameters
    ----------
    place : Path
        An empty directory, for one state after the other.
    start : int
        Points before this event are left out.
    killed : collection of int
        Saves in which a job was stopped.
    enough : int, optional
        Stop at that many complaints.
    """
    verdict, choose = Verdict(), random.Random(seed)
    seen: set[tuple] = set()
    for done in points(events, start, points_limit, seed):
        try:
            machine = Machine(done)
        except ImpossibleError:
            continue
        verdict.points += 1
        verdict.exhaustive += machine.possibilities <= states_limit
        allowed, whole = expected(done, saves, killed)
        for tree in machine.states(states_limit, choose):
            verdict.states += 1
            key = (tree.key(), allowed, whole)
            if key in seen:
                continue
            seen.add(key)
            verdict.different += 1
            shutil.rmtree(place)
            place.mkdir()
            tree.put(place)
            wrong = complaint(place / CHECKPOINTS, saves, allowed, whole)
            if wrong is not None:
                verdict.complaints.append(f"after {_last(done)}: {wrong}")
                if enough is not None and len(verdict.complaints) >= enough:
                    return verdict
    return verdict


def expected(
    done: Iterable[Event], saves: Sequence[Save], killed: Collection[int] = ()
) -> tuple[tuple[Save | None, ...], int]:
    """Return which saves may be the newest one, and how many checkpoints there must be.

    The last save that has returned, on any rank, is there for good; the one after it may be.
    """
    returned = max((e.detail for e in done if e.name == "returned"), default=0)
    finished = [save for save in saves if save.number <= returned and save.number not in killed]
    following = [save for save in saves if save.number > returned]
    # When one was killed, it may be there, and so may be the next.
    last = next((i for i, save in enumerate(following) if save.number not in killed), 0)
    following = following[: last + 1]
    allowed = (finished[-1] if finished else None, *following)
    if not finished:
        return allowed, 0
    counts = [len(kept([*finished, *following[:count]])) for count in range(len(following) + 1)]
    return allowed, min(counts)


def begin_of(events: Sequence[Event], save: int) -> int:
    """Return the place in the recording where a save begins."""
    if save == 1:
        return 0
    return max(i for i, e in enumerate(events) if e.name == "returned" and e.detail == save - 1) + 1


def _last(done: Sequence[Event]) -> str:
    if not done:
        return "nothing"
    event = done[-1]
    return f"operation {len(done)} ({event.name} {event.path} by rank {event.rank})"
