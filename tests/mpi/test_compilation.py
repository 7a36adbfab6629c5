"""Kernels are compiled by one rank; the others are sent them, or told why there are none."""

from __future__ import annotations

import contextlib
from collections import Counter

import numpy as np
import pytest

from hpcad import nn, optim, parallel
from hpcad.backend import get_backend
from hpcad.data.arrays import ArrayDataset
from hpcad.errors import DeviceError
from hpcad.program.cuda import compile as compiling
from hpcad.program.cuda import launch
from hpcad.program.cuda.compile import compile_cubin
from hpcad.program.cuda.nvrtc import Nvrtc, find_nvrtc
from hpcad.training import Prepare, Trainer
from hpcad.training.compilation import SharedCompilation

pytestmark = pytest.mark.mpi
KERNEL = 'extern "C" __global__ void {name}(float *x) {{ x[threadIdx.x] += 1; }}\n'


@pytest.fixture
def world():
    return parallel.init()


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """What this rank has compiled; it has a cache of its own, as if on another node."""
    if find_nvrtc() is None:
        pytest.skip("NVRTC is not installed (pip install 'hpcad[nvrtc]')")
    monkeypatch.setenv("HPCAD_CACHE_DIR", str(tmp_path / f"cache-{parallel.init().rank}"))
    count, compile_one = Counter(), Nvrtc.compile

    def spy(self, source, name, options):
        count[name] += 1
        return compile_one(self, source, name, options)

    monkeypatch.setattr(Nvrtc, "compile", spy)
    return count


def no_lock(monkeypatch, world):
    """Waiting for a lock is a failure, where there is somebody to be sent the code by."""

    def alone(name):
        raise AssertionError(f"rank {world.rank} waits for the lock of {name}")

    if world.size > 1:
        monkeypatch.setattr(compiling, "alone", alone)


def total(world, number):
    return sum(world.communicator.gather_json(number))


def cubin(name):
    return compile_cubin(KERNEL.format(name=name), "sm_90", "test")


def test_each_piece_is_compiled_once_in_the_job(world, compiled, monkeypatch):
    no_lock(monkeypatch, world)
    own = f"of_parity_{world.rank % 2}"
    with SharedCompilation(world.communicator):
        first, other = cubin("of_all"), cubin(own)
        again = cubin("of_all")
    assert first == again
    assert first[:4] == other[:4] == b"\x7fELF"
    assert total(world, sum(compiled.values())) == 1 + min(world.size, 2)
    sums = world.communicator.gather_json([first.hex(), own, other.hex()])
    assert len({one for one, _, _ in sums}) == 1
    assert len({(name, code) for _, name, code in sums}) == min(world.size, 2)


def test_ranks_need_more_or_less_or_nothing(world, compiled, monkeypatch):
    no_lock(monkeypatch, world)
    with SharedCompilation(world.communicator):
        for number in range(world.rank):
            assert cubin(f"number_{number}")
    assert total(world, sum(compiled.values())) == world.size - 1


def test_what_is_in_the_cache_is_not_compiled_again(world, compiled):
    with SharedCompilation(world.communicator):
        cubin("kept")
    world.communicator.barrier()
    with SharedCompilation(world.communicator):
        cubin("kept")
    assert total(world, sum(compiled.values())) == 1


def together(world, source):
    """Compile with the others, and go on eagerly where that fails, as a compiled function does."""
    with SharedCompilation(world.communicator), contextlib.suppress(DeviceError):
        compile_cubin(source, "sm_90", "test")


def test_a_refused_source_is_an_error_on_all(world, compiled):
    if world.size == 1:
        pytest.skip("alone, the error is NVRTC's own")
    with pytest.raises(DeviceError, match=r"cannot be compiled: NVRTC") as caught:
        together(world, "no CUDA at all")
    messages = world.communicator.gather_json(str(caught.value))
    assert [message.startswith("rank 0") for message in messages] == [
        rank > 0 for rank in range(world.size)
    ]


def test_one_rank_without_nvrtc_is_an_error_on_all_even_if_it_is_caught(
    world, compiled, monkeypatch
):
    if world.size == 1:
        pytest.skip("alone, nobody is told")
    last = world.size - 1
    if world.rank == last:
        monkeypatch.setattr(compiling, "find_nvrtc", lambda newest=None: None)
    with pytest.raises(DeviceError, match="NVRTC, which is not to be found") as caught:
        together(world, KERNEL.format(name="anything"))
    assert (f"rank {last}" in str(caught.value)) == (world.rank != last)


def test_an_error_of_another_kind_does_not_leave_the_others_waiting(world, compiled):
    def work():
        if world.rank == world.size - 1:
            raise ValueError("something else")
        cubin("of_the_others")

    expected = ValueError if world.rank == world.size - 1 else Exception
    with pytest.raises(expected, match="something else"), SharedCompilation(world.communicator):
        work()


class Net(nn.Module):
    def __init__(self):
        self.layers = [nn.Linear(6, 16), nn.Linear(16, 4)]

    def loss(self, batch):
        hidden = nn.gelu(self.layers[0](batch["x"]))
        return nn.cross_entropy(self.layers[1](hidden), batch["y"])


def trainer(world, directory=None):
    backend, random = get_backend("strict"), np.random.default_rng(0)
    x, y = random.standard_normal((24, 6)).astype(np.float32), random.integers(0, 4, 24)
    model = Net()
    model.initialize(1, np.float32, backend)
    return Trainer(
        model, optim.AdamW(model, 1e-2, clip_norm=1.0), ArrayDataset({"x": x, "y": y}),
        batch=12, steps=3, world=world, prepare=Prepare(backend=backend), directory=directory,
    )  # fmt: skip


def test_a_training_compiles_its_kernels_on_one_rank(world, compiled, monkeypatch):
    monkeypatch.setenv(launch.STRICT_COMPILE, "sm_90")
    no_lock(monkeypatch, world)
    run = trainer(world)
    run.run()
    assert run._program._compiled.known is not None
    names = world.communicator.gather_json(sorted(compiled))
    counts = world.communicator.gather_json(dict(compiled))
    together = sum((Counter(count) for count in counts), Counter())
    assert set(together.values()) == {1}  # each source once in the job
    assert len(together) >= 2  # kernels of the program, and of the optimizer
    assert set(together) == set().union(*names)


def test_a_training_without_nvrtc_ends_on_all_ranks(world, monkeypatch):
    monkeypatch.setenv(launch.STRICT_COMPILE, "sm_90")
    monkeypatch.setattr(compiling, "find_nvrtc", lambda newest=None: None)
    if world.size == 1:
        pytest.skip("one rank goes on eagerly, whose optimizer then says what is missing")
    with pytest.raises(DeviceError, match="NVRTC, which is not to be found"):
        trainer(world).run()
    assert total(world, 1) == world.size
