"""`hpcad slurm requeue`: which ends of a run put its job back into the queue."""

from __future__ import annotations

import pytest

from hpcad import cli
from hpcad.errors import LaunchError
from hpcad.launch.batch.requeue import requeue
from hpcad.parallel.slurm import job_name, restarts

JOB = {"SLURM_JOB_ID": "12"}
ELEMENT = {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "0"}


class Scontrol:
    """Notes what it was told, and shows a job."""

    def __init__(self, preempted: str = "None") -> None:
        self.told: list[str] = []
        self.shown = f"JobId=12 PreemptEligibleTime=2026-11-26T11:06:02 PreemptTime={preempted} Q=1"

    def __call__(self, words) -> str:
        self.told.append(" ".join(words))
        return self.shown if words[0] == "show" else ""


@pytest.mark.parametrize(("status", "why"), [(138, "told to stop"), (200, "out of time")])
@pytest.mark.parametrize(("environ", "name"), [(JOB, "12"), (ELEMENT, "12_0")])
def test_a_run_that_has_saved_and_wants_to_go_on(status, why, environ, name):
    scontrol = Scontrol()
    said = requeue(status, 100, environ, scontrol)
    assert scontrol.told == [f"requeue {name}"]
    assert said == f"{why}, and saved: job {name} is requeued"


@pytest.mark.parametrize("status", [0, 1, 2, 14, 130, 137, 1000])
def test_other_ends_are_ends(status):
    scontrol = Scontrol(preempted="2026-11-26T11:06:04")
    said = requeue(status, 100, JOB, scontrol)
    assert scontrol.told == []
    assert said == f"job 12 is not requeued: exit code {status} does not ask for it"


def test_a_terminated_job_is_requeued_where_it_was_preempted():
    scontrol = Scontrol(preempted="2026-11-26T11:06:04")
    assert "preempted, and saved: job 12_0 is requeued" in requeue(143, 100, ELEMENT, scontrol)
    assert scontrol.told == ["show job -o 12_0", "requeue 12_0"]


def test_a_cancelled_job_stays_cancelled():
    scontrol = Scontrol()
    assert "is not requeued" in requeue(143, 100, JOB, scontrol)
    assert scontrol.told == ["show job -o 12"]


@pytest.mark.parametrize(("count", "requeued"), [("", True), ("4", True), ("5", False)])
def test_restarts_have_a_bound(count, requeued):
    scontrol = Scontrol()
    said = requeue(200, 5, JOB | {"SLURM_RESTART_COUNT": count}, scontrol)
    assert bool(scontrol.told) == requeued
    assert ("was restarted 5 times" in said) != requeued


def test_outside_slurm_nothing_is_done(monkeypatch, capsys, plain_environment):
    monkeypatch.setenv("PATH", "")
    assert cli.main(["slurm", "requeue", "138"]) == 0
    assert "this is no Slurm job" in capsys.readouterr().out


def test_a_refusal_of_slurm_is_told(monkeypatch, tmp_path, capsys, plain_environment):
    program = tmp_path / "scontrol"
    program.write_text("#!/bin/sh\necho 'slurm_requeue error: Access denied' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert cli.main(["slurm", "requeue", "138"]) == LaunchError.exit_code
    err = capsys.readouterr().err
    assert "`scontrol requeue 12` failed: slurm_requeue error: Access denied" in err
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["slurm", "requeue", "138"]) == LaunchError.exit_code
    assert "No such file" in capsys.readouterr().err


def test_what_slurm_says_of_a_job():
    assert (job_name({}), job_name(JOB), job_name(ELEMENT)) == ("", "12", "12_0")
    assert [restarts({"SLURM_RESTART_COUNT": text}) for text in ("", "3", "x")] == [0, 3, 0]
