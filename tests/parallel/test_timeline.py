"""Timelines are valid files in which spans nest, and say so where they leave something out."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from launched import mpirun

import hpcad
from hpcad.errors import ConfigError
from hpcad.parallel import clock
from hpcad.parallel.record import listeners
from hpcad.parallel.timeline import COMMUNICATION, COMPUTE, STARTED, Timeline, _Rows
from hpcad.training.phases import PhaseTimer

JOBS = Path(__file__).resolve().parents[2] / "jobs"
SLACK = 0.0015  # us: times are rounded to nanoseconds


def spans(events: list[dict], track: int | None = None) -> list[dict]:
    return [e for e in events if e["ph"] == "X" and track in (None, e["tid"])]


def assert_they_nest(events: list[dict]) -> None:
    """Spans of one track contain one another, or do not overlap."""
    for track in {e["tid"] for e in spans(events)}:
        open_until: list[float] = []
        for event in sorted(spans(events, track), key=lambda e: (e["ts"], -e["dur"])):
            while open_until and open_until[-1] <= event["ts"] + SLACK:
                open_until.pop()
            end = event["ts"] + event["dur"]
            assert not open_until or end <= open_until[-1] + SLACK, event
            open_until.append(end)


def timeline_of(folder: Path, rank: int = 0) -> list[dict]:
    return json.loads((folder / f"rank-{rank:05d}.json").read_text())


def test_phases_and_their_times_are_in_the_file(tmp_path):
    with Timeline(tmp_path, hpcad.init()) as timeline:
        phases = PhaseTimer(watch=lambda *span: timeline.phase(*span, 7))
        for _ in range(50):
            with phases("forward"):
                with phases("inner"):
                    np.ones(100)
                phases.turn("backward")
    events = timeline_of(tmp_path)
    assert Counter(e["name"] for e in spans(events)) == dict.fromkeys(
        ("forward", "inner", "backward"), 50
    )
    assert_they_nest(events)
    microseconds = Counter()
    for event in spans(events):
        microseconds[event["name"]] += event["dur"]
        assert event["args"] == {"step": 7}
    own = phases.seconds()
    assert microseconds["backward"] == pytest.approx(1e6 * own["backward"], abs=0.1)
    assert microseconds["inner"] == pytest.approx(1e6 * own["inner"], abs=0.1)
    with_inner = 1e6 * (own["forward"] + own["inner"])
    assert microseconds["forward"] == pytest.approx(with_inner, abs=0.1)


def test_collectives_say_what_where_and_how_much(tmp_path):
    communicator = hpcad.parallel.SerialCommunicator("mine")
    with Timeline(tmp_path, hpcad.init()):
        communicator.allreduce(np.zeros(5), "max", "norm")
        communicator.iallreduce(np.zeros(6, np.float32), "sum", "gradients")
        communicator.gather_json([1, 2])
    communicator.barrier()
    events = timeline_of(tmp_path)
    found = [e for e in spans(events) if e["args"]["communicator"] == "mine"]
    assert [(e["name"], e["args"]["bytes"], e["tid"]) for e in found] == [
        ("allreduce norm", 40, COMMUNICATION),
        ("iallreduce gradients", 24, STARTED),
        ("gather_json", 6, COMMUNICATION),
    ]
    assert found[0]["args"]["call"] == "allreduce max of 5 x float64 'norm'"
    assert found[0]["args"]["line"].startswith(__file__)
    assert [e["args"]["number"] for e in found] == [0, 1, 2]


def test_tracks_are_named(tmp_path):
    world = hpcad.init()
    with Timeline(tmp_path, world):
        world.communicator.iallreduce(np.zeros(1))
    named = {(e["name"], e["tid"]): e["args"] for e in timeline_of(tmp_path) if e["ph"] == "M"}
    assert named["process_name", 0]["name"] == f"rank 0 on {world.host}"
    assert named["thread_name", COMPUTE]["name"] == "compute"
    assert named["thread_name", STARTED]["name"] == "started"


def test_reductions_under_way_together_lie_side_by_side():
    rows = _Rows("started")
    # From 0 to 4, from 1 to 5, from 4 to 6, from 2 to 7, from 5 to 8: in the order of their ends.
    placed = [rows.place(*span)[0] for span in [(0, 4), (1, 5), (4, 6), (2, 7), (5, 8)]]
    assert placed == [0, 1, 0, 2, 1]
    assert rows.name(2) == "started 3"


def test_a_full_file_says_how_much_it_lacks(tmp_path):
    with Timeline(tmp_path, hpcad.init(), limit=10) as timeline:
        for _ in range(25):
            timeline.phase("work", perf_counter(), perf_counter(), 0)
    events = timeline_of(tmp_path)
    assert len(spans(events)) == 10
    (last,) = [e for e in events if e["ph"] == "i"]
    assert last["name"] == "the file is full: 15 more events are left out"


def test_what_is_in_memory_stays_small_and_what_a_killed_job_loses_too(tmp_path):
    with Timeline(tmp_path, hpcad.init()) as timeline:
        for _ in range(2500):
            timeline.phase("work", perf_counter(), perf_counter(), 0)
        assert len(timeline._lines) < 1000
        # As viewers read a file that was cut off.
        events = json.loads(timeline.path.read_text() + "]")
        assert len(spans(events)) >= 1500
    assert len(spans(timeline_of(tmp_path))) == 2500


def test_nobody_listens_before_and_after(tmp_path):
    assert not listeners
    with Timeline(tmp_path, hpcad.init()):
        assert len(listeners) == 1
    assert not listeners


def test_an_error_closes_the_file(tmp_path):
    with pytest.raises(ZeroDivisionError), Timeline(tmp_path, hpcad.init()):
        raise ZeroDivisionError
    assert not listeners
    timeline_of(tmp_path)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="timeline cannot be written to"):
        Timeline(tmp_path / "file", hpcad.init()).__enter__()


def test_files_of_ranks_that_there_are_no_more_are_removed(tmp_path):
    for name in ("rank-00003.json", "rank-notes.json"):
        (tmp_path / name).write_text("[]")
    with Timeline(tmp_path, hpcad.init()):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rank-00000.json", "rank-notes.json"]


def test_clocks_are_compared_within_a_bound_that_holds():
    rng = np.random.default_rng(0)
    ahead = 1234.5
    for _ in range(200):
        come = rng.exponential(1e-3, (2, 20)) + np.arange(20)
        leave = come.max(0) + rng.exponential(1e-4, (2, 20))
        root, mine = np.stack([come[0], leave[0]], 1), np.stack([come[1], leave[1]], 1) + ahead
        found, error = clock.difference(mine, root)
        assert 0 < error < 1e-3
        assert abs(found - ahead) <= error


def test_the_command_line_writes_a_file_per_rank(tmp_path):
    job = [JOBS / "digits.toml", "--set", "training.steps=12", "checkpoint.enabled=false"]
    job += ["parallel.bucket_mb=0.02", "parallel.first_bucket_mb=0.01"]
    done = mpirun(2, ["-m", "hpcad", "train", *job, "--timeline", "trace"], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    ranks = [timeline_of(tmp_path / "trace", rank) for rank in range(2)]
    calls = []
    for rank, events in enumerate(ranks):
        assert {e["pid"] for e in events} == {rank}
        assert_they_nest(events)
        phases = Counter(e["name"] for e in spans(events, COMPUTE) if e["cat"] == "phase")
        assert phases["forward"] == phases["backward"] == phases["optimizer"] == 12
        started = [e for e in spans(events) if e["tid"] >= STARTED]
        assert len(started) % 12 == 0
        assert len(started) >= 24
        collectives = [e for e in spans(events) if e["cat"] == "collective"]
        said = [e["args"] for e in collectives]
        numbered = sorted((a["communicator"], a["number"], a["call"]) for a in said)
        assert all(b[1] - a[1] == 1 for a, b in pairwise(numbered) if a[0] == b[0])
        calls.append(numbered)
        top = [e for e in spans(events, COMPUTE) if e["cat"] == "phase"]
        whole = max(e["ts"] + e["dur"] for e in top) - min(e["ts"] for e in top)
        assert sum(e["dur"] for e in top) <= whole + 1  # these phases do not nest
    assert calls[0] == calls[1]
