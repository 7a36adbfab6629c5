"""Where a run ran: versions, variables, code; what a reader needs to believe its numbers."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hpcad
from hpcad.backend import Backend
from hpcad.parallel import World

_PREFIXES = ("MPICH_", "MPIR_", "FI_", "NCCL_", "OMP_", "OMPI_", "PRTE_", "SLURM_", "UCX_")
_MORE_PREFIXES = ("OPENBLAS_", "MKL_", "HPCAD_", "CUDA_VISIBLE_", "ROCR_VISIBLE_")
_NAMES = ("LOADEDMODULES", "HDF5_USE_FILE_LOCKING")
_SECRET = ("JWT", "TOKEN", "PASSWORD", "SECRET", "KEY")  # nothing of these belongs into a report
_GIT_SECONDS = 10


def code_version() -> dict[str, Any]:
    """The git hash of the library's code, and whether it was changed since; empty without git."""
    folder = Path(hpcad.__file__).parent
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"git": "", "dirty": None}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", ".")
    return {"git": commit, "dirty": bool(changed)}


def environment(world: World, backend: Backend, code: dict[str, Any]) -> dict[str, Any]:
    """What this rank runs in."""
    return {
        "code": code,
        "versions": {
            "hpcad": hpcad.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "hdf5": h5py.version.hdf5_version,
            "mpi4py": _package("mpi4py"),
            "cupy": getattr(backend.xp, "__version__", "") if backend.on_device else "",
        },
        "mpi": world.mpi_library,
        "thread level": world.thread_level,
        "blas": _blas(),
        "processor": _processor(),
        "kernel": platform.release(),
        "variables": variables(dict(os.environ)),
    }


def variables(environ: dict[str, str]) -> dict[str, str]:
    """The variables that decide how a run is started and how its messages travel."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if (name.startswith(_PREFIXES + _MORE_PREFIXES) or name in _NAMES)
        and not any(word in name for word in _SECRET)
    }


def clock() -> str:
    """The clock of the steps, and its resolution."""
    info = time.get_clock_info("perf_counter")
    return f"{info.implementation}, resolution {info.resolution:g} s"


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _blas() -> list[str]:
    from threadpoolctl import threadpool_info

    return sorted(
        f"{entry['internal_api']} {entry.get('version') or ''} ({entry.get('architecture', '?')})"
        for entry in threadpool_info()
        if entry.get("user_api") == "blas"
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
