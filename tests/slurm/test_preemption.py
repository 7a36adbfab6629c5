"""A job on two nodes is preempted, saves, is requeued, and ends as if nothing had happened."""

from __future__ import annotations

import pytest
from training_job import STEPS, TrainingJob, array_hashes, library, tried

pytestmark = [pytest.mark.alone, pytest.mark.slurm, pytest.mark.timeout(600)]

NAMES = {"mpich": "MPICH", "openmpi": "Open MPI"}


def requeued_and_whole(jobs: TrainingJob, preempt, *options: str) -> tuple:
    """Run the job twice, and preempt one of the two in its middle. Return both when they ended."""
    script = jobs.script()
    preempted = jobs.submit(script, "preempted", *options, PACE="0.1")
    preempted.until(r"^step 10/60 ")
    # Started as soon as the other has left the nodes.
    whole = jobs.submit(script, "whole")
    preempt(preempted)
    assert (whole.end(), preempted.end()) == ("COMPLETED", "COMPLETED"), preempted.log
    return preempted, whole


@pytest.mark.parametrize("name", ["mpich", "openmpi"])
def test_a_job_that_was_told_to_stop_ends_with_the_bits_of_one_that_was_not(slurm, tmp_path, name):
    def attempt(number: int) -> None:
        jobs = TrainingJob(slurm, library(name), tmp_path / str(number))
        try:
            check(*requeued_and_whole(jobs, lambda job: job.signal("USR1")), NAMES[name])
        finally:
            jobs.cancel()

    tried(attempt)


def check(preempted, whole, name: str, signal: int = 10) -> None:
    # One world of four, which stopped at one step, and saved there.
    first = preempted.records(start=0)
    assert [(r["rank"], r["size"], r["host"]) for r in first] == [
        (rank, 4, f"n{rank // 2}") for rank in range(4)
    ]
    assert all(r["library"].startswith(name) for r in first)
    stopped = first[0]["step"]
    assert 10 < stopped < STEPS
    assert {(r["step"], r["saved"], r["signal"]) for r in first} == {(stopped, stopped, signal)}

    # Slurm has started the same job again, and the ranks went on from there.
    log = preempted.log
    assert f"job {preempted.number} is requeued" in log
    assert f"start 2 of this run (job {preempted.number}, restart 1)" in log
    second = preempted.records(start=1)
    assert {(r["resumed"], r["step"], r["signal"]) for r in second} == {(stopped, STEPS, 0)}
    assert len(second) == 4
    assert not preempted.records(start=2)

    found, expected = (array_hashes(job.folder / "runs/small") for job in (preempted, whole))
    assert {name.split("/")[0] for name in expected} == {"parameters", "optimizer"}
    assert found == expected
    assert {r["resumed"] for r in whole.records(start=0)} == {None}
