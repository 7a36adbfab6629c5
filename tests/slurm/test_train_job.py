"""jobs/train.sbatch on a real Slurm: 2 nodes, 4 ranks, from submission to a checkpoint."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from launched import run_bounded
from slurm_jobs import run_job

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "jobs" / "train.sbatch"
DIGITS = REPOSITORY / "jobs" / "digits.toml"

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]


@pytest.fixture
def environment(slurm, mpi_type) -> dict[str, str]:
    """What the user of train.sbatch sets: this virtual environment, and how srun speaks to it."""
    # Four ranks of nodes that are one machine: more BLAS threads would only slow them.
    return slurm | {"VENV": sys.prefix, "MPI_TYPE": mpi_type, "OMP_NUM_THREADS": "1"}


def test_digits_train_on_two_nodes_and_continue(environment, tmp_path):
    shorter = ["--set", "training.epochs=2", "schedule.warmup=5"]
    code, output = run_job(environment, [SCRIPT, DIGITS, *shorter], tmp_path)
    assert code == 0, output
    assert "4 ranks on 2 nodes" in output
    accuracy = re.search(r"^test accuracy (0\.\d+)", output, re.MULTILINE)
    assert accuracy, output
    assert float(accuracy.group(1)) > 0.5  # chance is 0.1; two epochs of twenty
    checkpoint = re.search(r"^checkpoint (\S+)", output, re.MULTILINE)
    assert checkpoint, output
    assert (tmp_path / checkpoint.group(1)).is_file()

    # The same job again is what a requeue does: it goes on from the checkpoint.
    longer = ["--set", "training.epochs=3", "schedule.warmup=5"]
    code, output = run_job(environment, [SCRIPT, DIGITS, *longer], tmp_path)
    assert code == 0, output
    last_job = output[output.rindex("4 ranks on 2 nodes") :]
    assert "epoch 2" in last_job
    assert "epoch 0" not in last_job


def test_wrong_mpi_type_is_refused(environment, tmp_path):
    wrong = environment | {"MPI_TYPE": "none"}
    code, output = run_job(wrong, [SCRIPT, DIGITS], tmp_path)
    assert code != 0
    assert "srun (Slurm) promised 4 ranks" in output
    assert not (tmp_path / "runs").exists()


def test_script_without_a_job_file_says_how_to_use_it(environment, tmp_path):
    code, output = run_job(environment, [SCRIPT], tmp_path)
    assert code == 2
    assert output.startswith("usage: sbatch [options] jobs/train.sbatch JOB.toml")


def test_script_is_valid_bash():
    done = run_bounded(["bash", "-n", SCRIPT], timeout=30)
    assert done.returncode == 0, done.stderr
