"""The parts of ``cupy.cuda.runtime`` that hpcad uses."""

from __future__ import annotations

from typing import Any

from hpcad.backend.strict import pinned
from hpcad.backend.strict.streams import synchronize_device

streamCaptureModeGlobal, streamCaptureModeThreadLocal, streamCaptureModeRelaxed = 0, 1, 2  # noqa: N816
streamNonBlocking = 1  # noqa: N816


class CUDARuntimeError(RuntimeError):
    """What CuPy raises for an error of CUDA."""


def getDeviceCount() -> int:  # noqa: N802
    """1."""
    return 1


def getDevice() -> int:  # noqa: N802
    """0."""
    return 0


def setDevice(device: int) -> None:  # noqa: N802
    """Nothing is to be done: there is one."""


def driverGetVersion() -> int:  # noqa: N802
    """As if CUDA 13.0."""
    return 13000


def runtimeGetVersion() -> int:  # noqa: N802
    """As if CUDA 13.0."""
    return 13000


def deviceGetPCIBusId(device: int) -> str:  # noqa: N802
    """A name that says what it is."""
    return f"strict:{device}"


def getDeviceProperties(device: int) -> dict[str, Any]:  # noqa: N802
    """Some properties of an H100, by its name none."""
    return {
        "name": b"strict device (a stand-in, no GPU)",
        "major": 9,
        "minor": 0,
        "multiProcessorCount": 132,
        "totalGlobalMem": 80 << 30,
    }


def hostRegister(address: int, nbytes: int, flags: int = 0) -> None:  # noqa: N802
    """Pin memory that is there already."""
    pinned.pin(address, nbytes)


def hostUnregister(address: int) -> None:  # noqa: N802
    """The opposite."""
    pinned.unpin(address)


def deviceSynchronize() -> None:  # noqa: N802
    """Let the host wait for all streams."""
    synchronize_device()
