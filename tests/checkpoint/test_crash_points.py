"""Kills and failures at every operation of a save: old or new, and all ranks hear of it."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from launched import run_bounded

from hpcad.checkpoint.disk import Disk
from hpcad.errors import CheckpointError

from .crash.points import CountingDisk, FailingDisk, StoppingDisk
from .crash.ranks import Stopped, ThreadCommunicator, run
from .crash.saves import Save, carry_out, complaint, make_store, series

HOST = socket.gethostname()
REPOSITORY = Path(__file__).resolve().parents[2]


pytestmark = pytest.mark.usefixtures("quiet")


def test_killed_at_every_operation(memory, disrupted):
    """SIGKILL before each operation, and in the middle of each write, in five kinds of saves."""
    program = [sys.executable, "-m", "tests.checkpoint.crash.kill_at_points", memory]
    done = run_bounded(program, timeout=100, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    kills = sum(record["kills"] for record in found)
    disrupted(kills, f"{kills} kills in {len(found)} saves")
    assert [text for record in found for text in record["complaints"]] == []
    assert min(record["kills"] for record in found) >= 20


def before(memory: Path, saves: list[Save]) -> Path:
    """Return a directory with all saves but the last, for copies."""
    root = memory / "before"
    for save in saves[:-1]:
        carry_out(make_store(root), save)
    return root


MakeDisk = Callable[[ThreadCommunicator], Disk]


def save_with(
    make_disk: MakeDisk, place: Path, save: Save, communicator: ThreadCommunicator
) -> Disk:
    """Save on one rank, and return the disk that it had."""
    disk = make_disk(communicator)
    carry_out(make_store(place, communicator, disk), save)
    return disk


def counting(communicator: ThreadCommunicator) -> CountingDisk:
    return CountingDisk()


def every_operation(memory: Path, saves: list[Save], ranks: int) -> Iterator[tuple[int, int, Path]]:
    """Yield each rank and operation of the last save, and a directory as it was before it."""
    first, place = before(memory, saves), memory / "run"
    shutil.copytree(first, place)
    disks = run(ranks, functools.partial(save_with, counting, place, saves[-1]))
    for rank, outcome in enumerate(disks):
        for point in range(outcome.result.count):
            shutil.rmtree(place)
            shutil.copytree(first, place)
            yield rank, point, place


RANKS = [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow)]


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("steps", [(10, 20, 30), (10, 20, 20), (10, 30, 20)])
def test_a_rank_ends_at_every_operation(memory, steps, ranks, disrupted):
    """Any rank; the others wait for it until they are ended. The checkpoint is old or new."""
    saves, cases, complaints = series(*steps), 0, []

    for rank, point, place in every_operation(memory, saves, ranks):
        make_disk = functools.partial(stopping, rank, point)
        outcomes = run(ranks, functools.partial(save_with, make_disk, place, saves[-1]))
        ended = {type(outcome.error) for outcome in outcomes}
        assert ended <= {Stopped, type(None)}
        assert Stopped in ended
        found = complaint(place, saves, saves[-2:], 2) or on_ranks(place, saves[-2:])
        complaints += [f"rank {rank}, operation {point}: {found}"] if found else []
        cases += 1
    disrupted(cases, f"{steps}, {ranks} ranks: {cases} ends")
    assert complaints == []


def stopping(rank: int, point: int, communicator: ThreadCommunicator) -> Disk:
    """Return a disk on which one rank ends at an operation, and others when they wait for it."""
    return StoppingDisk(communicator, point if communicator.rank == rank else -1)


def on_ranks(place: Path, allowed: list[Save]) -> str | None:
    """Load on two ranks, however many wrote: both get the same one, whole."""
    found = run(2, lambda communicator: make_store(place, communicator).latest())
    if any(outcome.error for outcome in found):
        return f"cannot be loaded on two ranks: {found}"
    saves = [[save for save in allowed if save.holds(outcome.result)] for outcome in found]
    return None if saves[0] and saves[0] == saves[1] else "two ranks load different ones"


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((10, 20, 30), errno.ENOSPC),
        ((10, 20, 30), errno.EIO),
        ((10, 20, 20), errno.EDQUOT),
        ((10, 30, 20), errno.EROFS),
    ],
)
def test_every_operation_fails(memory, steps, code, ranks, disrupted):
    """All ranks hear which one failed, why and where; what was there before stays."""
    saves, cases, errors = series(*steps), 0, 0
    names = {save.step: f"step-{save.step:08d}" for save in saves}
    for rank, point, place in every_operation(memory, saves, ranks):
        make_disk = functools.partial(failing, rank, point, code)
        save = replace(saves[-1], wait=point % 2 == 0)
        outcomes = run(ranks, functools.partial(save_with, make_disk, place, save))
        messages = [str(outcome.error) for outcome in outcomes if outcome.error]
        what = f"rank {rank}, operation {point}"
        cases += 1
        if messages:
            errors += 1
            assert all(type(outcome.error) is CheckpointError for outcome in outcomes), what
            assert all(str(place) in message for message in messages), what
            assert all(os.strerror(code) in message for message in messages), what
            named = [message.startswith(f"rank {rank} on {HOST}: ") for message in messages]
            assert named == [other != rank for other in range(ranks)], what
        new = saves[-2:] if messages else saves[-1:]
        assert complaint(place, saves, new, 2) is None, what
        assert list(place.glob(f"{names[saves[-2].step]}*/manifest.json")), what
        if code != errno.EROFS:
            assert leftovers_of(place / names[steps[-1]], failed=bool(messages)) == [], what
        carry_out(make_store(place), Save(9, 40))
        assert complaint(place, [*saves, Save(9, 40)], [Save(9, 40)], 2) is None, what
    reason = os.strerror(code)
    disrupted(cases, f"{reason}, {ranks} ranks: {cases} failures, {errors} of them end the save")
    assert errors > cases / 2


def failing(rank: int, point: int, code: int, communicator: ThreadCommunicator) -> Disk:
    """Return a disk that refuses an operation on one rank."""
    return FailingDisk(point, code) if communicator.rank == rank else Disk()


def leftovers_of(step: Path, *, failed: bool) -> list[str]:
    """Return files on the way to their names, and the directory of a save if it is none."""
    found = [p.name for p in step.parent.glob("**/.*") if not p.name.endswith(".owner")]
    if failed and step.exists() and not (step / "manifest.json").exists():
        found.append(step.name)
    return found
