"""The card that a measurement is of: which, and with which libraries."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import environment

NO_GPU = 2  # the exit code
STRICT_NOTE = (
    "# the strict device: NumPy on the host that checks how a device is used, and no GPU; "
    "this run shows that the program is sound, and measures nothing"
)


class NoGpuError(RuntimeError):
    """There is no GPU that CuPy can use."""


def device(name: str) -> Any:
    """Return the backend of ``"gpu"`` or ``"strict"``.

    Raises
    ------
    NoGpuError
        No CuPy, or no CUDA device.
    """
    from hpcad.backend import get_backend
    from hpcad.errors import DeviceError

    try:
        return get_backend(name)
    except DeviceError as error:
        raise NoGpuError(str(error)) from error


def refused(program: str, error: Exception) -> int:
    """Say on standard error why nothing is measured, in one line; return the exit code."""
    print(f"{program}: nothing measured: {error}", file=sys.stderr)
    return NO_GPU


def describe(xp: Any, strict: bool) -> dict[str, Any]:
    """Return date, machine, card, driver and library versions, JSON-able.

    Parameters
    ----------
    xp : module
        CuPy, or the strict device.
    strict : bool
    """
    facts = environment.describe() | {"device": "the strict device, no GPU"}
    return facts if strict else facts | _card(xp)


def _card(xp: Any) -> dict[str, Any]:
    from hpcad.backend.cublaslt import find_cublaslt

    runtime = xp.cuda.runtime
    found = runtime.getDeviceProperties(runtime.getDevice())
    driver = runtime.driverGetVersion()
    library = find_cublaslt(newest=driver // 1000)
    return {
        "device": found["name"].decode(),
        "compute_capability": f"{found['major']}.{found['minor']}",
        "multiprocessors": found["multiProcessorCount"],
        "memory_bytes": found["totalGlobalMem"],
        "l2_bytes": found["l2CacheSize"],
        "driver": _driver(),
        "driver_cuda": _dotted(driver),
        "runtime_cuda": _dotted(runtime.runtimeGetVersion()),
        "cupy": xp.__version__,
        "cublaslt": None if library is None else ".".join(map(str, library.version)),
        "torch": _torch(),
    }


def lines(facts: dict[str, Any]) -> list[str]:
    """Return what a reader of a table needs to know, as comment lines."""
    head = environment.lines(facts)
    if "driver" not in facts:
        return [*head, STRICT_NOTE]
    return [
        *head,
        f"# {facts['device']}, {facts['memory_bytes'] / 2**30:.0f} GiB, "
        f"{facts['multiprocessors']} SMs, L2 {facts['l2_bytes'] / 2**20:.0f} MiB; driver "
        f"{facts['driver']} (CUDA {facts['driver_cuda']})",
        f"# CuPy {facts['cupy']} with CUDA {facts['runtime_cuda']}, cuBLASLt "
        f"{facts['cublaslt']}; PyTorch {facts['torch']}",
    ]


def _driver() -> str:
    """Version of the driver in the kernel, which the CUDA API does not tell."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return "of an unknown version"
    words = [word for word in text.split() if word[0].isdigit() and "." in word]
    return words[0] if words else "of an unknown version"


def _dotted(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _torch() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        return version("torch")
    except PackageNotFoundError:
        return "of an unknown version"
