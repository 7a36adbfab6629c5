"""The world: how many ranks there are, which one this is, and what it may use."""

from __future__ import annotations

import os
import socket
import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.errors import ConfigError, LaunchError
from hpcad.parallel import abort, device, library, threads
from hpcad.parallel.communicator import Communicator
from hpcad.parallel.launcher import Launcher, detect
from hpcad.parallel.serial import SerialCommunicator


@dataclass(frozen=True)
class World:
    """All processes of the job, seen from this one.

    Attributes
    ----------
    rank, size : int
        This process among all.
    local_rank, local_size : int
        This process among those that share memory with it (its node).
    node, nodes : int
        This node among all.
    host : str
        Its name.
    launcher : str
        What started the job; ``"none"`` for a plain process.
    communicator : Communicator
        For the library's own traffic; a program's own MPI messages cannot meet it.
    thread_level : str
        MPI's promise for threads (``"single"`` ... ``"multiple"``); ``"none"`` without MPI.
    device : str
        ``"cpu"`` or ``"gpu:N"``.
    mpi_library : str
        Name and version, e.g. ``"MPICH 5.0.2"``; ``"none"`` without MPI.
    blas_threads : int or None
        BLAS threads of this rank; ``None`` where an ``*_NUM_THREADS`` variable rules.
    choice : str
        Why the communicator is of its kind; see :func:`~hpcad.parallel.choice.make_communicator`.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    node: int
    nodes: int
    host: str
    launcher: str
    communicator: Communicator
    thread_level: str
    device: str
    mpi_library: str = "none"
    blas_threads: int | None = None
    choice: str = "there is one process"

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0, which prints and writes."""
        return self.rank == 0

    def communicator_line(self) -> str:
        """Which communicator the job has, and why."""
        return f"communicator {self.communicator.kind!r}: {self.choice}"


_world: World | None = None
_lock = threading.Lock()


def init(device: str | None = None) -> World:
    """Find the world this process belongs to. The first call decides; later ones return it.

    Collective under MPI. Under a launcher (``mpirun``, ``srun``, ...) MPI is loaded; a plain
    process is a world of one, without MPI. ``HPCAD_MPI=1`` loads MPI in any case, ``HPCAD_MPI=0``
    never does. With more than one rank an uncaught exception ends the whole job from here on
    (:mod:`hpcad.parallel.abort`), and BLAS threads are divided among the ranks of a node.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto", "strict"}, optional
        Where this rank computes; at the first call the CPU if not given. Ranks of a node take its
        GPUs in turn. ``"strict"`` is no GPU; see :mod:`hpcad.backend.strict`.

    Raises
    ------
    LaunchError
        The launcher promised another number of ranks than MPI delivers, or no MPI library can be
        loaded, or an earlier call chose another device.
    DeviceError
        A GPU was asked for where a rank has none.
    """
    global _world
    _check_device(device or "cpu")
    with _lock:
        if _world is None:
            _world = _find_world(device or "cpu")
        elif device in ("cpu", "gpu", "strict") and not _world.device.startswith(device):
            raise LaunchError(
                f"init(device={device!r}) was called, but this process already runs on "
                f"{_world.device}; choose the device in the first call"
            )
        return _world


def load_mpi() -> None:
    """Load MPI where this process is one of several; :func:`init` does it otherwise.

    Programs that import much before they call :func:`init` may call this first of all. Ranks of
    a library that speaks PMI to Slurm then begin MPI close together: where imports of seconds
    had drawn them apart, Slurm's exchange of addresses was seen to fail.

    Raises
    ------
    LaunchError
        As :func:`init`.
    """
    _load_mpi(detect(os.environ))


def _check_device(name: str) -> None:
    device.check_name(name)


def _find_world(device_name: str) -> World:
    launcher = detect(os.environ)
    MPI = _load_mpi(launcher)
    if MPI is None:
        return _one_process(launcher, device_name)
    version = MPI.Get_library_version()
    library.check_promise(launcher, MPI.COMM_WORLD.Get_size(), version)
    return _mpi_world(MPI, launcher, device_name, version)


def _load_mpi(launcher: Launcher | None) -> Any:
    """Return ``mpi4py.MPI`` where this process is, or may be, one of several; else ``None``."""
    wish = os.environ.get("HPCAD_MPI", "")
    if wish not in ("", "0", "1"):
        raise ConfigError(f"HPCAD_MPI={wish!r} is not understood; set it to 0 or 1, or not at all")
    if wish == "0":
        return None
    loaded = sys.modules.get("mpi4py.MPI")
    unknown_launcher = loaded is not None and loaded.Is_initialized() and _many(loaded)
    if wish != "1" and launcher is None and not unknown_launcher:
        return None
    try:
        return library.load(launcher)
    except LaunchError:
        if wish != "1" and launcher is not None and launcher.size == 1:
            return None  # nothing is lost: one process was promised
        raise


def _many(MPI: Any) -> bool:
    return MPI.COMM_WORLD.Get_size() > 1


def _one_process(launcher: Launcher | None, device_name: str) -> World:
    communicator = SerialCommunicator("world")
    return World(
        rank=0,
        size=1,
        local_rank=0,
        local_size=1,
        node=0,
        nodes=1,
        host=socket.gethostname(),
        launcher=launcher.name if launcher else "none",
        communicator=communicator,
        thread_level="none",
        device=device.choose(device_name, 0, communicator),
        blas_threads=threads.limit_blas(len(threads.available_cores()), os.environ),
    )


def _mpi_world(MPI: Any, launcher: Launcher | None, device_name: str, version: str) -> World:
    from hpcad.parallel import farewell, watchdog
    from hpcad.parallel.choice import make_communicator

    comm = MPI.COMM_WORLD.Dup()
    local_rank, local_size, leaders = _nodes(MPI, comm)
    largest = int(np.unique(leaders, return_counts=True)[1].max())
    communicator, choice = make_communicator(comm, largest, os.environ)
    abort.install(communicator)
    if communicator.size > 1:
        farewell.install(communicator, watchdog.start(communicator, comm))
    node = int(np.searchsorted(np.unique(leaders), leaders[communicator.rank]))
    return World(
        rank=communicator.rank,
        size=communicator.size,
        local_rank=local_rank,
        local_size=local_size,
        node=node,
        nodes=len(np.unique(leaders)),
        host=socket.gethostname(),
        launcher=launcher.name if launcher else "none",
        communicator=communicator,
        thread_level=_thread_level(MPI),
        device=device.choose(device_name, local_rank, communicator),
        mpi_library=library.short_version(version),
        blas_threads=_share_cores(communicator, leaders),
        choice=choice,
    )


def _nodes(MPI: Any, comm: Any) -> tuple[int, int, np.ndarray]:
    """Return local rank, local size, and the first rank of every rank's node (shape (size,))."""
    local = comm.Split_type(MPI.COMM_TYPE_SHARED)
    leader = np.array([comm.Get_rank()], np.int64)
    local.Bcast(leader, 0)
    leaders = np.empty(comm.Get_size(), np.int64)
    comm.Allgather(leader, leaders)
    place = local.Get_rank(), local.Get_size(), leaders
    local.Free()
    return place


def _share_cores(communicator: Communicator, leaders: np.ndarray) -> int | None:
    masks = communicator.gather_json(threads.available_cores(), "cores")
    here = leaders[communicator.rank]
    neighbours = [mask for mask, leader in zip(masks, leaders, strict=True) if leader == here]
    share = threads.fair_share(masks[communicator.rank], neighbours)
    return threads.limit_blas(share, os.environ)


def _thread_level(MPI: Any) -> str:
    names = {
        MPI.THREAD_SINGLE: "single",
        MPI.THREAD_FUNNELED: "funneled",
        MPI.THREAD_SERIALIZED: "serialized",
        MPI.THREAD_MULTIPLE: "multiple",
    }
    return names[MPI.Query_thread()]
