"""What a measurement depends on besides the code, and the file that keeps it beside the numbers."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import hpcad

_VARIABLES = ("OMP_", "OPENBLAS_", "MKL_", "KMP_", "GOMP_", "MPICH_", "FI_", "OMPI_MCA_", "MALLOC_")


def available_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0))


def describe() -> dict[str, Any]:
    """Return date, machine, versions and settings, JSON-able."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": available_cores(),
        "load_average": list(os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "hpcad": hpcad.__version__,
        "commit": _commit(),
        "blas": blas(),
        "blas_hint": blas_hint(),
        "variables": _variables(),
    }


def _variables() -> dict[str, str]:
    """What steers the libraries. What a launcher tells its processes about paths does not."""
    found = {k: v for k, v in sorted(os.environ.items()) if k.startswith(_VARIABLES)}
    return {k: v for k, v in found.items() if os.sep not in v}


def lines(facts: dict[str, Any]) -> list[str]:
    """Return what a reader of a table needs to know, as comment lines."""
    head = [
        f"# {facts['date']}  {facts['cpu']}, {facts['cores']} cores, "
        f"load {facts['load_average'][0]:.1f} at the start",
        f"# hpcad {facts['hpcad']} ({facts['commit']}), Python {facts['python']}, "
        f"NumPy {facts['numpy']}; {facts['blas']}",
    ]
    return [*head, f"# {facts['blas_hint']}"] if facts["blas_hint"] else head


def blas() -> str:
    """Name, version and kernels of the BLAS library under NumPy."""
    found = [entry for entry in threadpool_info() if entry["user_api"] == "blas"]
    return "; ".join(
        f"{entry['internal_api']} {entry.get('version')} with kernels for "
        f"{entry.get('architecture', 'an unnamed processor')}"
        for entry in found
    ) or "BLAS unknown to threadpoolctl"  # fmt: skip


def blas_hint() -> str | None:
    """Say so where OpenBLAS leaves the widest registers of the processor unused."""
    narrow = {"Haswell", "Zen", "Sandybridge", "Nehalem", "Prescott"}
    kernels = {entry.get("architecture") for entry in threadpool_info()}
    if "avx512f" not in _processor().get("flags", "").split() or not narrow & kernels:
        return None
    return "note: this processor has AVX-512, which these BLAS kernels do not use; " + (
        "OPENBLAS_CORETYPE is set; without it OpenBLAS chooses by itself"
        if "OPENBLAS_CORETYPE" in os.environ
        else "OPENBLAS_CORETYPE=SkylakeX chooses others"
    )


def cpu_model() -> str:
    """Name of the processor, with family and model number where the name says little."""
    facts = _processor()
    name = facts.get("model name", platform.processor() or platform.machine())
    return f"{name} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')})"


def write_json(path: Path, results: dict[str, Any]) -> None:
    """Write the results, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {path}", file=sys.stderr)


def _commit() -> str:
    """Commit of the checkout, with + where the package differs from it."""
    folder = Path(hpcad.__file__).parent
    words = ("describe", "--always", "--dirty=+", "--exclude=*")
    try:
        found = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "no git checkout"
    return found.stdout.strip()


def _processor() -> dict[str, str]:
    """What Linux says about the first processor."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    pairs = (line.partition(":")[::2] for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, value in pairs}
