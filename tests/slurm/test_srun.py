"""Worlds under a real Slurm: 2 nodes with 2 ranks each, started by srun, sbatch and mpirun."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from launched import mpirun_prefix, run_bounded
from slurm_jobs import run_job, run_step

pytestmark = [pytest.mark.alone, pytest.mark.slurm, pytest.mark.timeout(180)]

REPORT = """\
import sys
from hpcad.parallel import init
world = init()
rows = world.communicator.gather_json(
    [world.rank, world.size, world.node, world.local_rank, world.host, world.launcher])
if world.is_root:
    for row in rows:
        sys.stdout.write(" ".join(map(str, row)) + "\\n")
"""
FOUR_RANKS = [f"{rank} 4 {rank // 2} {rank % 2} n{rank // 2} {{launcher}}" for rank in range(4)]
ON_TWO_NODES = ["-N2", "--ntasks-per-node=2"]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "report.py"
    path.write_text(REPORT)
    return path


def four_ranks(launcher: str) -> list[str]:
    return [line.format(launcher=launcher) for line in FOUR_RANKS]


def batch_script(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "job.sbatch"
    head = ["#!/usr/bin/env bash", f"#SBATCH {' '.join(ON_TWO_NODES)}"]
    path.write_text("\n".join([*head, *lines]) + "\n")
    return path


def test_srun_in_a_batch_job_forms_one_world(slurm, program, tmp_path, mpi_type):
    script = batch_script(tmp_path, f"srun --mpi={mpi_type} {sys.executable} {program}")
    code, output = run_job(slurm, [script], tmp_path)
    assert (code, output.splitlines()) == (0, four_ranks("srun (Slurm)"))


def test_mpirun_in_a_batch_job_forms_one_world(slurm, program, tmp_path, mpi_type):
    mpirun = " ".join(mpirun_prefix(4))
    script = batch_script(tmp_path, f"{mpirun} {sys.executable} {program}")
    code, output = run_job(slurm, [script], tmp_path)
    assert (code, output.splitlines()) == (0, four_ranks("mpirun (Hydra: MPICH or Intel MPI)"))


def test_batch_script_itself_is_one_process(slurm, program, tmp_path):
    script = batch_script(tmp_path, f"{sys.executable} {program}")
    code, output = run_job(slurm, [script], tmp_path)
    assert (code, output) == (0, "0 1 0 0 n0 none\n")


def test_shell_of_salloc_is_one_process(slurm, program):
    words = ["salloc", "--quiet", *ON_TWO_NODES, sys.executable, program]
    done = run_bounded(words, timeout=60, env=slurm)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:4] == ["0", "1", "0", "0"]
    assert done.stdout.endswith("none\n")


def test_four_silent_single_processes_are_refused(slurm, program, mpi_type):
    words = ["srun", "--mpi=none", *ON_TWO_NODES, sys.executable, program]
    done = run_bounded(words, timeout=60, env=slurm)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.count("LaunchError: srun (Slurm) promised 4 ranks") == 4
    assert f"start it with `srun --mpi={mpi_type}`" in done.stderr


def test_exception_on_one_rank_ends_the_step(slurm, tmp_path, mpi_type):
    program = tmp_path / "raise.py"
    program.write_text(
        "from hpcad.parallel import init\n"
        "world = init()\n"
        "if world.rank == 3: raise ValueError('a bad step')\n"
        "world.communicator.barrier()\n"
    )
    words = ["srun", f"--mpi={mpi_type}", *ON_TWO_NODES, sys.executable, program]
    done, seconds = run_step(words, timeout=30, env=slurm)
    assert seconds < 10
    assert done.returncode != 0
    assert "[rank 3 on n1] ValueError: a bad step" in done.stderr
