"""Device communicators on a device: NCCL alone with itself, and ranks that share one device."""

from __future__ import annotations

import json

import numpy as np
import pytest
from launched import mpirun

from hpcad.parallel.devices.choice import device_choice
from hpcad.parallel.devices.nccl import NcclCommunicator
from hpcad.parallel.devices.nccl_group import nccl_of
from hpcad.parallel.devices.staged import StagedCommunicator
from hpcad.parallel.serial import SerialCommunicator

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu

KINDS = ["staged"] + (["nccl"] if nccl_of(cupy).available else [])
COUNTS = [0, 1, 997, 1 << 20]


@pytest.fixture(params=KINDS)
def group(request):
    host = SerialCommunicator(request.param)
    made = (NcclCommunicator if request.param == "nccl" else StagedCommunicator)(host, cupy)
    yield made
    made.close()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "i8", "u1", "c8"])
def test_the_sum_over_one_rank_is_the_array(group, dtype):
    for count in COUNTS:
        host = np.arange(count).astype(dtype)
        array = cupy.asarray(host)
        group.allreduce(array)
        np.testing.assert_array_equal(cupy.asnumpy(array), host)


def test_requests_are_ordered_behind_and_ahead_of_the_compute_stream(group):
    array = cupy.ones(1 << 24, np.float32)
    for _ in range(5):
        for _ in range(20):
            array *= 1.5
            array /= 1.5
        array += 1
        request = group.iallreduce(array, "max", "ordered")
        request.wait()
        array += 1
    assert set(cupy.asnumpy(array)) == {11.0}
    assert request.test()


def test_waiting_for_nccl_leaves_the_host_free():
    if "nccl" not in KINDS:
        pytest.skip("CuPy finds no NCCL library")
    group = NcclCommunicator(SerialCommunicator("nccl"), cupy)
    array = cupy.ones(1 << 28, np.float32)
    group.allreduce(array)  # connects
    cupy.cuda.get_current_stream().synchronize()
    for _ in range(50):
        array *= 1
    request = group.iallreduce(array)
    request.wait()
    behind = cupy.cuda.get_current_stream().record()
    assert not behind.done
    behind.synchronize()
    assert request.test()
    group.close()


def test_nccls_other_collectives_move_one_ranks_blocks():
    if "nccl" not in KINDS:
        pytest.skip("CuPy finds no NCCL library")
    group = NcclCommunicator(SerialCommunicator("nccl"), cupy)
    array, out = cupy.arange(100, dtype=np.float32), cupy.zeros(100, np.float32)
    group.reduce_scatter(array, out)
    np.testing.assert_array_equal(cupy.asnumpy(out), np.arange(100))
    group.allgather(out, array)
    group.broadcast_all([array, out[:3]])
    np.testing.assert_array_equal(cupy.asnumpy(array), np.arange(100))
    group.close()


def test_bfloat16_is_reduced_where_cupy_knows_it():
    types = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    if "nccl" not in KINDS:
        pytest.skip("CuPy finds no NCCL library")
    group = NcclCommunicator(SerialCommunicator("nccl"), cupy)
    array = cupy.ones(10, np.float32).astype(types.bfloat16)
    group.allreduce(array)
    assert set(cupy.asnumpy(array.astype(np.float32))) == {1.0}
    group.close()


def test_the_choice_says_what_it_measured():
    choice = device_choice(SerialCommunicator("world"), cupy, {})
    assert choice.communicator.kind in KINDS
    assert " ms for 17 MB" in choice.reason


TWO_RANKS = """
import json
import numpy as np
from hpcad import nn, parallel
from hpcad.backend import get_backend

world = parallel.init("{device}")
backend = get_backend("{device}")
model = nn.Linear(64, 32)
model.initialize(1, np.float32, backend)
engine = parallel.DataParallel(model, world, bucket_mb=1e-3, first_bucket_mb=1e-4)
x = np.random.default_rng(world.rank).standard_normal((16, 64)).astype(np.float32)
for _ in range(2):
    (model(backend.asarray(x)) ** 2).mean().backward()
if world.is_root:
    norms = [float((backend.to_host(p.grad) ** 2).sum()) for p in model.parameters()]
    print("FOUND", json.dumps([norms, engine.describe()]))
"""


def found(device):
    done = mpirun(2, ["-c", TWO_RANKS.replace("{device}", device)], timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))
    return json.loads(line.removeprefix("FOUND"))


def test_two_ranks_find_the_gradients_of_the_host():
    norms, says = found("gpu")
    np.testing.assert_allclose(norms, found("cpu")[0], rtol=1e-4)
    assert "on devices" in says
    if cupy.cuda.runtime.getDeviceCount() == 1:
        assert "staged" in says
        assert "two ranks share a device" in says
