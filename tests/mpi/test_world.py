"""The world that init finds under a launcher."""

from __future__ import annotations

import socket

import pytest

from hpcad.errors import DeviceError, LaunchError
from hpcad.parallel import door, init

pytestmark = pytest.mark.mpi


def test_world_is_mpi_world():
    from mpi4py import MPI

    world = init()
    assert (world.rank, world.size) == (MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size)
    assert world.communicator.gather_json(world.rank) == list(range(world.size))
    assert world.is_root == (world.rank == 0)


def test_all_ranks_share_this_machine():
    world = init()
    assert (world.local_rank, world.local_size) == (world.rank, world.size)
    assert (world.node, world.nodes) == (0, 1)
    assert world.host == socket.gethostname()


def test_launcher_and_library_are_named():
    world = init()
    assert world.launcher.startswith("mpirun")
    assert world.mpi_library.split()[0] in ("MPICH", "Open", "Intel(R)")
    assert world.thread_level == "multiple"


def test_init_again_is_the_same_world():
    assert init() is init(device="cpu") is init(device="auto")


def test_device_cannot_change_later():
    with pytest.raises(LaunchError, match="already runs on cpu"):
        init(device="gpu")


def test_missing_gpu_is_an_error_on_every_rank():
    from hpcad.parallel import device

    cupy = pytest.importorskip("cupy") if _has_cupy() else None
    if cupy is not None and cupy.cuda.is_available():
        pytest.skip("this machine has a GPU")
    world = init()
    with pytest.raises(DeviceError, match="device = 'cpu'"):
        device.choose("gpu", world.local_rank, world.communicator)
    assert device.choose("auto", world.local_rank, world.communicator) == "cpu"


def _has_cupy() -> bool:
    from importlib.util import find_spec

    return find_spec("cupy") is not None


def test_collectives_are_recorded_alike_on_every_rank():
    communicator = init().communicator
    communicator.barrier("here")
    record = door.records()[-1]
    assert record.file == __file__
    assert record.name == "here"
    signatures = communicator.gather_json(list(record.signature))
    assert all(signature == signatures[0] for signature in signatures)
