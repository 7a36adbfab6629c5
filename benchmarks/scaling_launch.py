"""Start one point of a scaling study under mpirun, with a hard end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_WORKER = Path(__file__).with_name("scaling_worker.py")
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

# Open MPI's mpirun refuses root and more ranks than cores, and binds each rank to one core.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}


class PointError(Exception):
    """A point of the study did not run to its end."""


def run_point(
    model: str, ranks: int, batch: int, *, steps: int, warmup: int, threads: int, timeout: float
) -> dict[str, Any]:
    """Run scaling_worker.py on ``ranks`` ranks and return what it wrote.

    Parameters
    ----------
    batch : int
        Of all ranks together.
    threads : int
        BLAS threads of each rank.
    timeout : float
        Seconds until all its processes are killed.

    Raises
    ------
    PointError
        It failed, hung, or ran on another number of ranks.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "point.json"
        numbers = {"--batch": batch, "--steps": steps, "--warmup": warmup}
        words = [mpirun(), "-n", str(ranks), sys.executable, str(_WORKER), "--model", model]
        for option, number in numbers.items():
            words += [option, str(number)]
        environment = {
            **OPEN_MPI,
            **os.environ,
            **dict.fromkeys(_THREADS, str(threads)),
            "HPCAD_MPI": "1",
        }
        output = _run([*words, "--out", str(out)], environment, timeout)
        if not out.exists():
            raise PointError(f"{' '.join(words)} wrote no result:\n{output}")
        result = json.loads(out.read_text())
    if result["ranks"] != ranks:
        raise PointError(f"{ranks} ranks were asked of mpirun, but {result['ranks']} ran")
    return result


def mpirun() -> str:
    """Path of the mpirun that belongs to this Python, or the one on PATH."""
    beside = Path(sys.executable).with_name("mpirun")
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None:
        raise PointError(
            "no mpirun beside this Python or on PATH: pip install mpich, or load the site's module"
        )
    return found


def _run(words: list[str], environment: dict[str, str], timeout: float) -> str:
    """Run in a process group of its own, which does not outlive the call."""
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise PointError(f"no end after {timeout} s: {' '.join(words)}") from None
            raise
    if process.returncode != 0:
        raise PointError(f"{' '.join(words)} ended with code {process.returncode}:\n{output}")
    return output
