"""Other ways in which Slurm ends a job of training, and starts it again."""

from __future__ import annotations

import dataclasses
import json

import pytest
from launched import run_bounded
from training_job import STEPS, TrainingJob, library, tried

pytestmark = [pytest.mark.alone, pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(600)]


def attempts(slurm, tmp_path, check) -> None:
    """Make a check with Open MPI where it is there: its start under Slurm is never garbled."""
    try:
        mpi = library("openmpi")
    except pytest.skip.Exception:
        mpi = library("mpich")

    def attempt(number: int) -> None:
        jobs = TrainingJob(slurm, mpi, tmp_path / str(number))
        try:
            check(jobs)
        finally:
            jobs.cancel()

    tried(attempt)


def test_a_job_that_makes_room_for_an_urgent_one_is_requeued(slurm, tmp_path):
    """It leaves long before its time of grace is over, and must not count as ended."""

    def check(jobs: TrainingJob) -> None:
        job = jobs.submit(jobs.script(), "job", "--partition=patient", PACE="0.2")
        job.until(r"^step 10/60 ")
        urgent = ["sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--time=1"]
        urgent += ["--parsable", "--output=/dev/null", "--wrap", "sleep 1"]
        done = run_bounded(urgent, timeout=30, env=slurm)
        assert done.returncode == 0, done.stderr
        assert job.end() == "COMPLETED"
        assert f"preempted, and saved: job {job.number} is requeued" in job.log
        first, second = job.records(start=0), job.records(start=1)
        stopped = first[0]["step"]
        assert {(r["step"], r["saved"], r["signal"]) for r in first} == {(stopped, stopped, 15)}
        assert {(r["resumed"], r["step"]) for r in second} == {(stopped, STEPS)}

    attempts(slurm, tmp_path, check)


def test_a_cancelled_job_stays_cancelled(slurm, tmp_path):
    def check(jobs: TrainingJob) -> None:
        job = jobs.submit(jobs.script(), "job", PACE="0.1")
        job.until(r"^step 10/60 ")
        run_bounded(["scancel", job.number], timeout=30, env=slurm)
        assert job.end() == "CANCELLED"
        assert "is requeued" not in job.log

    attempts(slurm, tmp_path, check)


def test_one_element_of_an_array_is_requeued_alone(slurm, tmp_path):
    def change(text: str) -> str:
        """Give each element a directory of its own, as the guide says."""
        assert text.count("job.toml || status") == 1
        own = '--set "output.directory=runs/$SLURM_ARRAY_TASK_ID"'
        text = text.replace("job.toml || status", f"job.toml {own} || status")
        records = 'export RECORDS="$RECORDS/$SLURM_ARRAY_TASK_ID"; mkdir -p "$RECORDS"'
        return text.replace("\nset -euo", f"\n{records}\nset -euo")

    def check(jobs: TrainingJob) -> None:
        folder = jobs.folder / "array" / "records"
        array = jobs.submit(
            jobs.script(change=change), "array", "--array=0-1", "--open-mode=append", PACE="0.1"
        )
        # Both want all of the nodes, so one of them runs first.
        array.until(r"^step 10/60 ")
        (running,) = [task for task in (0, 1) if element(array, task).state == "RUNNING"]
        other = 1 - running
        element(array, running).signal("USR1")
        array.until(rf"job {array.number}_{running} is requeued")
        assert element(array, running).end(240.0) == "COMPLETED"
        assert element(array, other).end(240.0) == "COMPLETED"
        assert array.log.count("is requeued") == 1
        starts = {
            task: sorted(path.name[6] for path in (folder / str(task)).glob("*rank-0*"))
            for task in (0, 1)
        }
        assert starts == {running: ["0", "1"], other: ["0"]}
        record = array.folder / "runs" / str(running) / "starts.json"
        assert json.loads(record.read_text())["job"] == f"{array.number}_{running}"

    attempts(slurm, tmp_path, check)


def element(array, task: int):
    """One element, under the number by which Slurm knows it."""
    return dataclasses.replace(array, number=f"{array.number}_{task}")


def test_a_time_limit_is_kept_without_a_signal(slurm, tmp_path):
    """A minute, of which the last half is the margin; the paced run would take longer."""

    def check(jobs: TrainingJob) -> None:
        script = jobs.script("checkpoint.margin=30")
        options = ["--time=1", "--signal=USR1@0"]
        job = jobs.submit(script, "job", *options, PACE="1.0")
        assert job.end(300.0) == "COMPLETED"
        first = job.records(start=0)
        stopped = first[0]["step"]
        assert 0 < stopped < STEPS
        assert {(r["step"], r["saved"], r["out_of_time"]) for r in first} == {
            (stopped, stopped, True)
        }
        assert f"out of time, and saved: job {job.number} is requeued" in job.log
        assert {r["resumed"] for r in job.records(start=1)} == {stopped}

    attempts(slurm, tmp_path, check)
