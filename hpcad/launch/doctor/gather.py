"""The facts of this rank, asked of the system and of each library."""

from __future__ import annotations

import importlib.util
import os
import platform
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import hpcad
from hpcad.data.staging.room import file_system, free_bytes
from hpcad.errors import HpcadError
from hpcad.launch.doctor.clock import offset
from hpcad.launch.doctor.facts import SHARED_MEMORY, THREAD_VARIABLES, Facts, Gpu, Place
from hpcad.launch.doctor.network.links import measure
from hpcad.launch.doctor.network.sums import on_devices, on_hosts
from hpcad.parallel import World, init
from hpcad.parallel.devices.gpu_aware import Verdict, gpu_aware
from hpcad.parallel.devices.nccl_group import nccl_of
from hpcad.parallel.launcher import detect
from hpcad.parallel.library import short_version
from hpcad.parallel.threads import available_cores

_NODES = Path("/sys/devices/system/node")
_SETTINGS = (
    *THREAD_VARIABLES,
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "CUDA_VISIBLE_DEVICES",
    "HDF5_USE_FILE_LOCKING",
    "HPCAD_COMMUNICATOR",
    "HPCAD_DEVICE_COMMUNICATOR",
    "MPICH_GPU_SUPPORT_ENABLED",
    "SLURM_CPUS_PER_TASK",
)
_VERSIONS = ("numpy", "mpi4py", "h5py")


def gather(device: str, seconds: Mapping[str, float], links: str = "few") -> list[Facts]:
    """The facts of all ranks, on every rank; of this one alone where MPI gives no common world.

    Collective.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"}
        What the job asks for.
    seconds : mapping
        What the start took.
    links : {"none", "few", "all"}
        What to measure of the network.
    """
    try:
        world = init()
    except HpcadError as error:
        return [replace(_alone(str(error)), **_own(device, seconds))]
    clock, error_bound = offset(world.communicator)
    mine = replace(_placed(world), clock=clock, clock_error=error_bound, **_own(device, seconds))
    if links != "none" and world.size > 1:
        mine = replace(mine, **_network(world, device, thorough=links == "all"))
    everyone = world.communicator.gather_json(mine.to_json(), "facts of the launch")
    return [Facts.from_json(each) for each in everyone]


def _network(world: World, device: str, *, thorough: bool) -> dict[str, Any]:
    found = measure(world, thorough=thorough)
    sums = on_hosts(world)
    more, problem = on_devices(world) if device != "cpu" else ([], "")
    return {
        "links": found.between,
        "inside": found.inside,
        "links_cut": found.cut,
        "sums": [*sums, *more] if world.rank == 0 else [],
        "device_problem": problem if world.rank == 0 else "",
    }


def _placed(world: World) -> Facts:
    launcher = detect(os.environ)
    return Facts(
        rank=world.rank,
        size=world.size,
        local_rank=world.local_rank,
        node=world.node,
        host=world.host,
        launcher=world.launcher,
        promised=launcher.size if launcher else None,
        mpi=world.mpi_library,
        thread_level=world.thread_level,
        **_cores(),
    )


def _alone(problem: str) -> Facts:
    """Of a process that found no common world."""
    launcher = detect(os.environ)
    MPI = _loaded_mpi()
    return Facts(
        rank=(launcher.rank if launcher else None) or 0,
        size=MPI.COMM_WORLD.Get_size() if MPI else 0,
        local_rank=(launcher.local_rank if launcher else None) or 0,
        node=0,
        host=socket.gethostname(),
        launcher=launcher.name if launcher else "none",
        promised=launcher.size if launcher else None,
        problem=problem,
        mpi=short_version(MPI.Get_library_version()) if MPI else "none",
        **_cores(),
    )


def _cores() -> dict[str, Any]:
    cores = available_cores()
    return {
        "cores": cores,
        "numa": _numa_nodes(cores),
        "host_cores": os.cpu_count() or len(cores),
        "blas_threads": _blas_threads(),
    }


def _own(device: str, seconds: Mapping[str, float]) -> dict[str, Any]:
    """What needs no other rank."""
    verdict = _gpu_aware()
    gpus, nccl = _gpus()
    return {
        "settings": {name: os.environ[name] for name in _SETTINGS if os.environ.get(name)},
        "gpus": gpus,
        "nccl": nccl,
        "device": device,
        "gpu_aware": verdict.aware,
        "gpu_aware_how": verdict.how,
        "versions": _versions(),
        "hdf5_files": file_system(Path()),
        "package_files": file_system(Path(hpcad.__file__).parent),
        "places": _places(),
        "seconds": dict(seconds),
    }


def _loaded_mpi() -> Any:
    """``mpi4py.MPI`` where it is loaded and runs, else None."""
    MPI = sys.modules.get("mpi4py.MPI")
    return MPI if MPI is not None and MPI.Is_initialized() else None


def _gpu_aware() -> Verdict:
    MPI = _loaded_mpi()
    if MPI is None:
        return Verdict(False, "no MPI library is loaded")
    try:
        return gpu_aware(os.environ, MPI.Get_library_version())
    except HpcadError as error:
        return Verdict(False, str(error))


def _numa_nodes(cores: list[int]) -> list[int]:
    """The NUMA nodes of these cores; empty where Linux does not tell."""
    return sorted(
        int(path.parent.name.removeprefix("node"))
        for path in _NODES.glob("node[0-9]*/cpulist")
        if not set(cores).isdisjoint(parse_cores(path.read_text()))
    )


def parse_cores(text: str) -> list[int]:
    """The numbers of a list as Linux writes it: ``"0-3,8"`` is [0, 1, 2, 3, 8]."""
    result: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            result.extend(range(int(first), int(last or first) + 1))
    return result


def _blas_threads() -> int:
    from threadpoolctl import threadpool_info

    counts = [each["num_threads"] for each in threadpool_info() if each.get("user_api") == "blas"]
    return max(counts, default=1)


def _gpus() -> tuple[list[Gpu], str]:
    """The GPUs that CuPy sees, and NCCL's version; neither where there is no CuPy or no driver."""
    if importlib.util.find_spec("cupy") is None:
        return [], ""
    try:
        import cupy

        runtime = cupy.cuda.runtime
        gpus = [_gpu(runtime, index) for index in range(runtime.getDeviceCount())]
        nccl = nccl_of(cupy)
        return gpus, _nccl_version(nccl.get_version()) if nccl.available else ""
    except Exception:  # noqa: BLE001  # CuPy fails in many ways where no driver is
        return [], ""


def _gpu(runtime: Any, index: int) -> Gpu:
    name = runtime.getDeviceProperties(index)["name"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    part = visible[index] if index < len(visible) and visible[index].startswith("MIG-") else ""
    text = name.decode() if isinstance(name, bytes) else str(name)
    return Gpu(text, runtime.deviceGetPCIBusId(index), part)


def _nccl_version(code: int) -> str:
    """NCCL's number in words: 22705 is 2.27.5, and 2708 was 2.7.8."""
    major = 10000 if code >= 10000 else 1000
    return f"{code // major}.{code % major // 100}.{code % 100}"


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version(), "hpcad": hpcad.__version__}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _places() -> list[Place]:
    """Where temporary files go, and the shared memory of the node."""
    chosen = [name for name in ("SLURM_TMPDIR", "TMPDIR") if os.environ.get(name)]
    named = [(f"${name}", os.environ[name]) for name in chosen] or [("/tmp", "/tmp")]
    return [_place(name, Path(path)) for name, path in [*named, (SHARED_MEMORY, SHARED_MEMORY)]]


def _place(name: str, path: Path) -> Place:
    usable = path.is_dir() and os.access(path, os.W_OK | os.X_OK)
    return Place(name, str(path), file_system(path), free_bytes(path) if usable else None)
