"""Start this program again under mpirun: ``hpcad train JOB.toml --ranks N``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hpcad.errors import LaunchError

# Open MPI's mpirun refuses root and more ranks than cores, and binds each rank to one core.
# MPICH reads none of these.
OPEN_MPI_DEFAULTS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
# Not inside a Slurm allocation: there they would put all ranks on the first node.
ON_ONE_MACHINE = {
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}


def find_mpirun() -> Path:
    """Return the mpirun that belongs to this Python, else the one on PATH.

    Raises
    ------
    LaunchError
        There is none.
    """
    beside = Path(sys.executable).parent / "mpirun"
    if beside.exists():
        return beside
    found = shutil.which("mpirun")
    if found is None:
        raise LaunchError(
            f"no mpirun was found beside {sys.executable} or on PATH; install an MPI library "
            "(`pip install mpich`, or load your site's MPI module), or start one process "
            "without --ranks"
        )
    return Path(found)


def run_again(ranks: int, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by ``mpirun -n RANKS python -m hpcad ARGUMENTS``.

    Raises
    ------
    LaunchError
        There is no mpirun, or ``ranks`` is not positive.
    """
    if ranks < 1:
        raise LaunchError(f"--ranks must be at least 1, not {ranks}")
    command = [str(find_mpirun()), "-n", str(ranks), sys.executable, "-m", "hpcad", *arguments]
    print("+", " ".join(command), flush=True)
    defaults = dict(OPEN_MPI_DEFAULTS)
    if "SLURM_JOB_ID" not in os.environ:
        defaults |= ON_ONE_MACHINE
    os.execve(command[0], command, defaults | dict(os.environ))
