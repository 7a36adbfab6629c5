"""A private Slurm of two nodes for the tests of this folder; see ``cluster.sh``."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `from slurm_jobs import ...`

NODES, CPUS = 2, 2
_SCRIPT = Path(__file__).with_name("cluster.sh")
_PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "unshare")


@pytest.fixture(scope="session")
def slurm() -> Iterator[dict[str, str]]:
    """Return the environment in which ``sbatch`` and ``srun`` reach the private Slurm."""
    _skip_without_slurm()
    # Not tmp_path: munge wants a short path that every user may enter.
    directory = Path(tempfile.mkdtemp(prefix="hpcad-slurm-", dir="/tmp"))
    try:
        up = _cluster("up", directory, NODES, CPUS, _free_ports(NODES + 1))
        assert up.returncode == 0, up.stdout + up.stderr
        yield {"SLURM_CONF": str(directory / "slurm.conf")}
    finally:
        _cluster("down", directory)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def mpi_type() -> str:
    """The plugin of srun that the installed MPI wheel speaks."""
    from hpcad.parallel.library import installed_wheel

    if installed_wheel() != "mpich":
        pytest.skip("these tests start the MPICH wheel (srun --mpi=pmi2)")
    return "pmi2"


def _skip_without_slurm() -> None:
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"Slurm cannot be started here: no {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("Slurm cannot be started here: slurmd needs root")
    allowed = subprocess.run(["unshare", "--uts", "--mount", "true"], check=False, timeout=30)
    if allowed.returncode:
        pytest.skip("Slurm cannot be started here: unshare is not permitted")


def _cluster(*arguments: object) -> subprocess.CompletedProcess[str]:
    # Output goes to files: the daemons would keep a pipe open.
    with tempfile.TemporaryFile("w+") as out:
        done = subprocess.run(
            [_SCRIPT, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            timeout=60,
            check=False,
        )
        out.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, out.read(), "")


def _free_ports(count: int) -> int:
    """Return the first of ``count`` ports in a row that nobody listens on."""
    for first in range(21000, 29000, 100):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    pytest.skip("Slurm cannot be started here: no free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
