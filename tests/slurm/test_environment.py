"""`hpcad env broadcast` in a batch job on two nodes, and a program that starts from the copies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from slurm_jobs import run_job

sys.path.insert(0, str(Path(__file__).parents[1] / "launch/environment"))

from small_environment import small_environment

pytestmark = [pytest.mark.alone, pytest.mark.slurm, pytest.mark.timeout(180)]


def test_the_copies_are_used(slurm, tmp_path, mpi_type):
    environment = small_environment(tmp_path)
    to = f"{tmp_path}/$SLURMD_NODENAME/env"
    script = tmp_path / "job.sbatch"
    send = f"{sys.executable} -m hpcad env broadcast '{to}' --environment {environment}"
    script.write_text(
        "#!/usr/bin/env bash\n"
        "#SBATCH -N2 --ntasks-per-node=1\n"
        "set -e\n"
        f"srun --mpi={mpi_type} {send}\n"
        f"mv {tmp_path}/slow {tmp_path}/away\n"  # nothing of the original is used
        f"srun --mpi=none -l sh -c '{to}/bin/python -c \"import hpcad; print(hpcad.__file__)\"'\n"
    )
    code, output = run_job(slurm, [script], tmp_path)
    assert code == 0, output
    assert "was copied to 2 of 2 nodes" in output
    for rank in range(2):
        assert f"{rank}: {tmp_path}/n{rank}/env/editable/0/hpcad/__init__.py" in output
