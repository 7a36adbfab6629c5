"""Signals to `mpirun`, without a batch system: the ranks stop at one step, and go on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from launched import run_bounded, without_launcher
from training_job import (
    STEPS,
    array_hashes,
    library_without_slurm,
    program_of,
    records_in,
    write_job,
)

from hpcad.launch.mpirun import ON_ONE_MACHINE, OPEN_MPI_DEFAULTS

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]

CASES = [
    ("mpich", signal.SIGUSR1),
    pytest.param("mpich", signal.SIGTERM, marks=pytest.mark.slow),
    ("openmpi", signal.SIGUSR1),
]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_signal_to_mpirun_saves_at_one_step(name, number, tmp_path):
    command = start_of(library_without_slurm(name), tmp_path)
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment(tmp_path) | {"PACE": "0.2"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            until_step_10(tmp_path / "log")
            process.send_signal(number)
            code = process.wait(60)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    found = records_in(tmp_path / "records", start=0)
    assert len(found) == 2, (tmp_path / "log").read_text()
    stopped = found[0]["step"]
    assert 10 <= stopped < STEPS
    assert {(r["step"], r["saved"], r["signal"]) for r in found} == {(stopped, stopped, number)}
    assert code == 128 + number

    again = run_bounded(command, timeout=60, env=environment(tmp_path), cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert {r["resumed"] for r in records_in(tmp_path / "records", start=0)} == {stopped}
    assert "start 2 of this run" in again.stdout
    assert array_hashes(tmp_path / "runs/small")


def start_of(python: str, folder: Path) -> list[str]:
    write_job(folder)
    (folder / "records").mkdir()
    mpirun = str(Path(python).with_name("mpirun"))
    return [mpirun, "-n", "2", python, str(program_of()), "train", "job.toml"]


def environment(folder: Path) -> dict[str, str]:
    own = {"RECORDS": str(folder / "records"), "OMP_NUM_THREADS": "1"}
    return without_launcher(os.environ) | OPEN_MPI_DEFAULTS | ON_ONE_MACHINE | own


def until_step_10(log: Path) -> None:
    end = time.monotonic() + 60
    while "\nstep 10/" not in log.read_text().replace("\r", ""):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
