"""jobs/train.sbatch on a real Slurm: 2 nodes, 4 ranks, from submission to a checkpoint."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from launched import run_bounded
from slurm_jobs import run_job

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "jobs" / "train.sbatch"
DIGITS = REPOSITORY / "jobs" / "digits.toml"

pytestmark = [pytest.mark.alone, pytest.mark.slurm, pytest.mark.timeout(300)]


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
    assert (tmp_path / checkpoint.group(1) / "manifest.json").is_file()

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


def packed_images(folder: Path) -> list[str]:
    """Two small datasets of the shape of Fashion-MNIST, and where the job finds them."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 256), ("test", 64)):
        y = rng.integers(0, 10, count)
        x = rng.integers(0, 100, (count, 28, 28)).astype(np.uint8) + 15 * y[:, None, None]
        np.savez(folder / f"{name}.npz", x=x.astype(np.uint8), y=np.sort(y).astype(np.uint8))
        pack(folder / name, "--npz", folder / f"{name}.npz")
    return ["data.train=train", "data.test=test", "training.epochs=1"]


def packed_text(folder: Path) -> list[str]:
    """A short text, and where the job finds it."""
    (folder / "input.txt").write_text("To be, or not to be, that is the question:\n" * 100)
    pack(folder / "text", "--text", folder / "input.txt", "--split", "0.9")
    return ["data.train=text/train", "data.test=text/val", "training.steps=8"]


def pack(*arguments: object) -> None:
    command = [sys.executable, "-m", "hpcad", "data", "pack", *map(str, arguments)]
    done = run_bounded(command, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "make"), [("fashion_mnist", packed_images), ("char_gpt", packed_text)]
)
def test_the_other_jobs_train_on_two_nodes(environment, tmp_path, job, make):
    settings = [*make(tmp_path), "schedule.warmup=0"]
    path = REPOSITORY / "jobs" / f"{job}.toml"
    code, output = run_job(environment, [SCRIPT, path, "--set", *settings], tmp_path)
    assert code == 0, output
    assert "4 ranks on 2 nodes" in output
    assert re.search(r"^test accuracy 0\.\d+", output, re.MULTILINE), output
    assert list((tmp_path / "runs" / job / "checkpoints").glob("step-*/manifest.json"))


@pytest.mark.parametrize("program", ["own_trainer.py", "own_loop.py"])
def test_a_program_of_ones_own_under_srun(environment, tmp_path, mpi_type, program):
    path = REPOSITORY / "docs" / "examples" / program
    script = tmp_path / "job.sbatch"
    script.write_text(
        "#!/usr/bin/env bash\n#SBATCH --nodes=2 --ntasks-per-node=2\n"
        f"srun --mpi={mpi_type} {sys.executable} {path}\n"
    )
    code, output = run_job(environment, [script], tmp_path)
    assert code == 0, output
    last = re.findall(r"^(?:epoch 9|step 630/630) .*loss (0\.\d+)", output, re.MULTILINE)
    assert len(last) == 1, output  # rank 0 alone tells it
    assert float(last[0]) < 0.06
