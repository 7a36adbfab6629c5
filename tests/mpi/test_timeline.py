"""Timelines on several ranks: one clock, the same calls, an error for all."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import hpcad
from hpcad.errors import ConfigError
from hpcad.parallel.clock import align
from hpcad.parallel.timeline import STARTED, Timeline

WORLD = hpcad.init()
COMMUNICATOR = WORLD.communicator

pytestmark = pytest.mark.mpi(min_size=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory of rank 0's, for all."""
    return Path(COMMUNICATOR.broadcast_json(str(tmp_path)))


def test_clocks_of_one_machine_agree_within_the_bound():
    clock = align(COMMUNICATOR)
    origins = COMMUNICATOR.gather_json([clock.origin, clock.error])
    root = origins[0][0]
    for origin, error in origins:  # they all read the same clock
        assert abs(origin - root) <= error + 1e-9
        assert error < 0.05


def test_a_barrier_ends_at_the_same_time_on_all_ranks(folder):
    with Timeline(folder, WORLD):
        for rank in range(WORLD.size):
            time.sleep(0.03 * (rank == WORLD.rank))  # each lets the others wait once
            COMMUNICATOR.barrier("late")
    COMMUNICATOR.barrier()
    files = sorted(folder.glob("rank-*.json"))
    assert len(files) == WORLD.size
    barriers = [
        [e for e in json.loads(path.read_text()) if e["name"] == "barrier late"] for path in files
    ]
    for late in zip(*barriers, strict=True):
        last = max(e["ts"] for e in late)
        assert all(e["ts"] + e["dur"] >= last - 50e3 for e in late)
        assert max(e["dur"] for e in late) > 20e3


def test_a_wait_shows_where_the_program_stood(folder):
    with Timeline(folder, WORLD):
        array = np.ones(1000)
        time.sleep(0.05 * (WORLD.rank == 0))  # the others wait until it has started, too
        COMMUNICATOR.iallreduce(array, "sum", "late").wait()
    COMMUNICATOR.barrier()
    events = json.loads((folder / f"rank-{WORLD.rank:05d}.json").read_text())
    (call,) = [e for e in events if e["tid"] >= STARTED and e["ph"] == "X"]
    assert call["args"]["bytes"] == 8000
    waits = [e for e in events if e["name"] == "wait for iallreduce late"]
    assert sum(e["dur"] for e in waits) == pytest.approx(call["args"]["waited_us"], abs=0.01)
    if WORLD.rank == 1:
        assert call["args"]["waited_us"] > 20e3


def test_all_ranks_hear_that_one_cannot_write(folder):
    mine = folder / f"place-{WORLD.rank}"
    if WORLD.rank == WORLD.size - 1:
        mine.write_text("a file")
    with pytest.raises(ConfigError, match="cannot be written"), Timeline(mine, WORLD):
        pass
