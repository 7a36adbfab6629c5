"""Which device each rank computes on."""

from __future__ import annotations

from hpcad.backend import get_backend
from hpcad.errors import ConfigError, DeviceError, HpcadError
from hpcad.parallel.communicator import Communicator

DEVICES = ("cpu", "gpu", "auto", "strict")


def check_name(device: str) -> None:
    """Raise :class:`ConfigError` unless ``device`` is one of :data:`DEVICES`."""
    if device not in DEVICES:
        raise ConfigError(f"unknown device {device!r}; expected one of {', '.join(DEVICES)}")


def choose(device: str, local_rank: int, communicator: Communicator) -> str:
    """Make this rank's device current, and return its name: ``"cpu"``, ``"gpu:N"``, ``"strict"``.

    Collective. ``"auto"`` takes GPUs only where every rank has one.

    Raises
    ------
    DeviceError
        On every rank, when ``"gpu"`` was asked for and a rank has none.
    """
    if device in ("cpu", "strict"):
        return device
    chosen, problem = "cpu", None
    try:
        chosen = f"gpu:{_take_gpu(local_rank)}"
    except DeviceError as error:
        problem = error
    if device == "gpu":
        communicator.agree(problem, "device")
        return chosen
    try:
        communicator.agree(problem, "device")
    except HpcadError:
        return "cpu"
    return chosen


def _take_gpu(local_rank: int) -> int:
    """Select GPU ``local_rank`` modulo the visible ones; launchers that bind show one, as 0."""
    cuda = get_backend("gpu").xp.cuda
    index = local_rank % cuda.runtime.getDeviceCount()
    cuda.Device(index).use()
    return index
