"""Start programs under ``mpirun`` from a test, with a hard end.

>>> program = "from hpcad.parallel import init; w = init(); w.is_root and print(w.size)"
>>> done = mpirun(2, ["-c", program])
>>> done.returncode, done.stdout
(0, '2\\n')
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

_LAUNCHERS = ("OMPI_COMM", "PMI_", "PMIX_", "MPI_LOCAL", "HYDI_", "SLURM_", "PALS_", "FLUX_")
_MPIRUN = Path(sys.executable).parent / "mpirun"


def mpirun(
    ranks: int,
    arguments: Sequence[str | Path],
    *,
    timeout: float = 60.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` on ``ranks`` ranks and return what it printed.

    Parameters
    ----------
    arguments : sequence
        Of this Python: a script and its arguments, or ``["-c", text]``, ``["-m", module, ...]``.
    timeout : float
        Seconds until the whole process group is killed and the test fails.
    env : mapping, optional
        Added to the environment, from which any outer launcher is removed.
    """
    command = [*mpirun_prefix(ranks), sys.executable, *map(str, arguments)]
    return run_bounded(command, timeout=timeout, env=env, cwd=cwd)


def mpirun_prefix(ranks: int) -> list[str]:
    """Return the words that start ``ranks`` ranks; skip the test where there is no mpirun."""
    found = str(_MPIRUN) if _MPIRUN.exists() else shutil.which("mpirun")
    if found is None:
        pytest.skip("no mpirun beside this Python or on PATH")
    return [found, "-n", str(ranks)]


def run_bounded(
    command: Sequence[str | Path],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process group of its own, which is killed after ``timeout`` seconds."""
    words = [str(word) for word in command]
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without_launcher(os.environ) | _open_mpi_on_one_machine() | dict(env or {}),
        cwd=cwd,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"no end after {timeout} s: {' '.join(words)}\n{out}\n{err}")
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def without_launcher(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without what an outer launcher put there (SLURM_CONF is no promise)."""
    return {
        name: value
        for name, value in environ.items()
        if name == "SLURM_CONF" or not name.startswith(_LAUNCHERS)
    }


def _open_mpi_on_one_machine() -> dict[str, str]:
    """What Open MPI's mpirun needs to start more ranks than cores, also as root."""
    return {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
    }
