"""Which way device arrays are reduced: the strict device, and a stand-in for NCCL; no GPU."""

from __future__ import annotations

import pytest

from hpcad.backend import strict as cuda
from hpcad.errors import ConfigError
from hpcad.parallel.devices import choice as choosing
from hpcad.parallel.devices.choice import device_choice, find_obstacles
from hpcad.parallel.gradients import fit

from . import strict_nccl
from .device_groups import WORLD
from .groups import make_group

pytestmark = pytest.mark.mpi


@pytest.fixture(autouse=True)
def _short_trials(monkeypatch):
    strict_nccl.install(monkeypatch.setattr)
    monkeypatch.setattr(choosing, "_BYTES", 1 << 18)


def test_without_nccl_and_a_gpu_aware_library_arrays_are_staged(monkeypatch):
    monkeypatch.setattr(strict_nccl.nccl, "available", False)
    choice = device_choice(make_group("mpi"), cuda, {})
    assert choice.communicator.kind == "staged"
    assert "CuPy finds no NCCL library on some rank" in choice.reason
    if WORLD.size > 1:
        assert "MPI is not known to be GPU-aware" in choice.reason


def test_the_choice_is_measured_told_and_remembered():
    host = make_group("mpi")
    choice = device_choice(host, cuda, {})
    assert device_choice(host, cuda, {}) is choice
    assert "ms for 0.26 MB against" in choice.reason
    assert host.gather_json(choice.reason) == [choice.reason] * WORLD.size


def test_gpu_aware_mpi_is_never_tried_where_nccl_is(monkeypatch):
    tried = []
    make_way = choosing._make

    def noted(way, *rest):
        tried.append(way)
        return make_way(way, *rest)

    monkeypatch.setattr(choosing, "_make", noted)
    device_choice(make_group("mpi"), cuda, {"HPCAD_GPU_AWARE": "1"})
    assert tried == ["nccl", "staged"]
    tried.clear()
    monkeypatch.setattr(strict_nccl.nccl, "available", False)
    device_choice(make_group("mpi"), cuda, {"HPCAD_GPU_AWARE": "1"})
    assert tried == (["mpi", "staged"] if WORLD.size > 1 else ["staged"])


def test_ranks_that_share_a_device_have_no_nccl(monkeypatch):
    if WORLD.size == 1:
        pytest.skip("one rank shares nothing")
    monkeypatch.setattr(cuda.cuda.runtime, "deviceGetPCIBusId", lambda device: "0000:01:00.0")
    obstacles = find_obstacles(make_group("mpi"), cuda, {})
    assert obstacles["nccl"] == obstacles["nccl+mpi"] == "two ranks share a device"


def test_several_nodes_may_be_reduced_in_two_levels():
    if WORLD.size != 4:
        pytest.skip("needs 4 ranks")
    host = make_group("nodes of 2")
    assert find_obstacles(host, cuda, {})["nccl+mpi"] == ""
    choice = device_choice(host, cuda, {"HPCAD_DEVICE_COMMUNICATOR": "nccl+mpi"})
    assert choice.communicator.kind == "nccl+mpi"
    assert choice.reason == "by nccl+mpi, as asked for"


def test_a_way_that_is_unknown_or_impossible_is_refused():
    with pytest.raises(ConfigError, match="is not understood; set it to one of auto, nccl"):
        device_choice(make_group("mpi"), cuda, {"HPCAD_DEVICE_COMMUNICATOR": "gloo"})
    with pytest.raises(ConfigError, match=r"nccl\+mpi is not possible here"):
        device_choice(make_group("mpi"), cuda, {"HPCAD_DEVICE_COMMUNICATOR": "nccl+mpi"})


def test_an_engine_of_device_arrays_gets_the_way_and_its_fit(monkeypatch):
    host = make_group("mpi")
    monkeypatch.setattr(choosing, "_seconds", lambda made, *_: 1.0)
    monkeypatch.setattr(fit, "SIZES", fit.SIZES[:3])
    progress = choosing.device_progress(host, cuda)
    assert progress.reducer is device_choice(host, cuda, {}).communicator
    assert progress.reason.startswith("on devices by nccl, ")
    found = choosing.device_fit(host, cuda)
    assert found.alpha > 0
    assert host.gather_json([found.alpha, found.beta]) == [[found.alpha, found.beta]] * WORLD.size


def test_only_a_way_that_is_clearly_faster_replaces_nccl(monkeypatch):
    monkeypatch.setattr(choosing, "_seconds", lambda made, *_: {"nccl": 1.0}.get(made.kind, 0.8))
    assert device_choice(make_group("mpi"), cuda, {}).communicator.kind == "nccl"
    monkeypatch.setattr(choosing, "_seconds", lambda made, *_: {"nccl": 1.0}.get(made.kind, 0.7))
    assert device_choice(make_group("mpi"), cuda, {}).communicator.kind == "staged"
