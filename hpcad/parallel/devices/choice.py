"""Which way device arrays are reduced: found out once a job, and never two ways at a time.

==============  ====================================================================================
way             taken
==============  ====================================================================================
``nccl``        every rank has a device of its own and NCCL, and no other way was clearly faster
``nccl+mpi``    the same, on several nodes of equally many ranks, and clearly faster than ``nccl``
``mpi``         the MPI library says that it is GPU-aware, and there is no NCCL
``staged``      where nothing else is possible, or it is clearly faster
==============  ====================================================================================

Clearly faster is a quarter, for a sum of 17 MB. GPU-aware MPI is not even tried where NCCL is
there: with both in flight, each can wait for the other. ``HPCAD_DEVICE_COMMUNICATOR`` names a way;
``HPCAD_GPU_AWARE`` answers for the MPI library.

Not yet proven on a GPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hpcad.errors import ConfigError, DeviceError
from hpcad.parallel.devices.communicator import DeviceCommunicator
from hpcad.parallel.devices.gpu_aware import Verdict, gpu_aware
from hpcad.parallel.devices.nccl_group import nccl_of
from hpcad.parallel.devices.staged import StagedCommunicator
from hpcad.parallel.devices.timed import Timed
from hpcad.parallel.gradients.fit import Fit, measured_fit
from hpcad.parallel.gradients.progress import Progress

WAYS = ("auto", "nccl", "nccl+mpi", "mpi", "staged")
_BYTES = 16 << 20
_TRIES = 3
_CLEARLY = 0.75  # of the time of the way that is named first
_NAME = "choosing how device arrays are reduced"


@dataclass(frozen=True)
class DeviceChoice:
    """How this job reduces device arrays.

    Attributes
    ----------
    communicator : DeviceCommunicator
    reason : str
        A clause: "by nccl, 0.9 ms for 17 MB against 4.1 ms staged".
    timed : Timed
        The same, for measurements.
    """

    communicator: DeviceCommunicator
    reason: str
    timed: Timed


_chosen: WeakKeyDictionary[Any, DeviceChoice] = WeakKeyDictionary()


def device_choice(host: Any, cupy: Any, environ: Mapping[str, str] = os.environ) -> DeviceChoice:
    """How the ranks of a communicator reduce device arrays; found out once, then remembered.

    Collective; equal on every rank.

    Parameters
    ----------
    host : Communicator
        Of the world.
    cupy : module

    Raises
    ------
    ConfigError
        ``HPCAD_DEVICE_COMMUNICATOR`` names no way, or one that is not possible here.
    """
    if host not in _chosen:
        _chosen[host] = _choose(host, cupy, environ)
    return _chosen[host]


def device_progress(host: Any, xp: Any) -> Progress:
    """How an engine reduces gradients on devices. Collective; of a communicator of the world.

    The buckets are reduced on a stream of their own; the host only hands them over.

    Parameters
    ----------
    host : Communicator
    xp : module
        CuPy, or the strict device.
    """
    choice = device_choice(host, xp)
    return Progress("poll", choice.communicator, f"on devices {choice.reason}")


def device_fit(host: Any, xp: Any) -> Fit:
    """The fit of reductions on devices, for the sizes of buckets. Collective."""
    return measured_fit(device_choice(host, xp).timed)  # type: ignore[arg-type]


def _choose(host: Any, cupy: Any, environ: Mapping[str, str]) -> DeviceChoice:
    wish = environ.get("HPCAD_DEVICE_COMMUNICATOR", "") or "auto"
    if wish not in WAYS:
        raise ConfigError(
            f"HPCAD_DEVICE_COMMUNICATOR={wish!r} is not understood; set it to one of "
            f"{', '.join(WAYS)}, or not at all"
        )
    obstacles = find_obstacles(host, cupy, environ)
    if wish != "auto":
        if obstacles[wish]:
            raise ConfigError(
                f"HPCAD_DEVICE_COMMUNICATOR={wish} is not possible here: {obstacles[wish]}; set it "
                "to auto"
            )
        made = _make(wish, host, cupy)
        return DeviceChoice(made, f"by {wish}, as asked for", Timed(made, host, cupy))
    ways = [way for way in WAYS[1:] if not obstacles[way]]
    if "nccl" in ways and "mpi" in ways:
        ways.remove("mpi")
    return _fastest(ways, obstacles, host, cupy)


def find_obstacles(host: Any, cupy: Any, environ: Mapping[str, str]) -> dict[str, str]:
    """What stands against each way, on any rank; empty where nothing does. Collective."""
    places = host.gather_json([_device(cupy), nccl_of(cupy).available, _node(host)], _NAME)
    verdicts = host.gather_json(_mpi_obstacle(host, environ), _NAME)
    nccl = ""
    if not all(available for _, available, _ in places):
        nccl = "CuPy finds no NCCL library on some rank"
    elif len({(device, node[0]) for device, _, node in places}) < host.size:
        nccl = "two ranks share a device"
    sizes = {size for _, _, (_, size) in places}
    nodes = {first for _, _, (first, _) in places}
    hierarchical = nccl
    if not nccl and (len(sizes) > 1 or len(nodes) < 2 or sizes == {1}):
        hierarchical = "it is for several nodes with several ranks each, as many on each"
    refused = next((said for said in verdicts if said), "")
    return {"nccl": nccl, "nccl+mpi": hierarchical, "mpi": refused, "staged": ""}


def _device(cupy: Any) -> str:
    runtime = cupy.cuda.runtime
    return str(runtime.deviceGetPCIBusId(runtime.getDevice()))


def _node(host: Any) -> tuple[int, int]:
    """First rank and number of ranks of this rank's node."""
    if host.size == 1:
        return 0, 1
    from mpi4py import MPI

    local = getattr(host, "local", None) or host.comm.Split_type(MPI.COMM_TYPE_SHARED)
    first = np.array([host.rank], np.int64)
    local.Bcast(first, 0)
    return int(first[0]), local.Get_size()


def _mpi_obstacle(host: Any, environ: Mapping[str, str]) -> str:
    if host.size == 1:
        return "there is one rank"
    from mpi4py import MPI

    verdict: Verdict = gpu_aware(environ, MPI.Get_library_version())
    return "" if verdict.aware else f"MPI is not known to be GPU-aware ({verdict.how})"


def _make(way: str, host: Any, cupy: Any) -> DeviceCommunicator:
    if way == "staged":
        return StagedCommunicator(host, cupy)
    if way == "nccl":
        from hpcad.parallel.devices.nccl import NcclCommunicator

        return NcclCommunicator(host, cupy)
    if way == "mpi":
        from hpcad.parallel.devices.mpi import GpuAwareCommunicator

        return GpuAwareCommunicator(host, cupy)
    from hpcad.parallel.devices.nccl_nodes import NcclNodesCommunicator

    return NcclNodesCommunicator(host, cupy, getattr(host, "local", None))


def _fastest(ways: list[str], obstacles: dict[str, str], host: Any, cupy: Any) -> DeviceChoice:
    """Try each way by itself; the device is idle between them."""
    made, seconds = {}, {}
    for way in ways:
        try:
            made[way] = _make(way, host, cupy)
        except DeviceError as error:  # raised on every rank
            obstacles[way] = str(error)
            continue
        seconds[way] = _seconds(made[way], host, cupy)
    best = next(iter(seconds))
    for way in seconds:
        # Ways add up in other orders: one that won by chance would change the bits of a run.
        if seconds[way] < _CLEARLY * seconds[best]:
            best = way
    order = [best, *(way for way in seconds if way != best)]
    for way in order[1:]:
        made[way].close()
    times = [f"{1e3 * seconds[way]:.1f} ms {_by(way)}" for way in order[1:]]
    against = f" against {' and '.join(times)}" if times else ""
    told = f"{_by(best)}, {1e3 * seconds[best]:.1f} ms for {_BYTES / 1e6:.2g} MB{against}"
    if best == "staged" and not times:
        told += f": {obstacles['nccl']}, and {obstacles['mpi']}"
    return DeviceChoice(made[best], told, Timed(made[best], host, cupy))


def _by(way: str) -> str:
    names = {"staged": "staged in pinned host memory", "mpi": "by GPU-aware MPI"}
    return names.get(way, f"by {way}")


def _seconds(communicator: DeviceCommunicator, host: Any, cupy: Any) -> float:
    """Of one reduction, until the device has its result: the best of a few, on the slowest rank."""
    timed = Timed(communicator, host, cupy)
    array = timed.allocate(_BYTES).view(np.float32)
    times = np.empty(1 + _TRIES)
    for i in range(len(times)):
        cupy.cuda.get_current_stream().synchronize()
        host.barrier(_NAME)
        started = time.perf_counter()
        timed.allreduce(array, "sum", _NAME)
        times[i] = time.perf_counter() - started
    host.allreduce(times, "max", _NAME)
    return float(times[1:].min())  # the first one opens connections
