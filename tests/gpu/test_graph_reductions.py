"""Reductions by NCCL inside of a CUDA graph: alone with itself, and on two GPUs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from launched import mpirun

from hpcad.parallel.devices.in_graph import GraphReductions
from hpcad.parallel.devices.nccl import NcclCommunicator
from hpcad.parallel.devices.nccl_group import nccl_of
from hpcad.parallel.serial import SerialCommunicator
from hpcad.program.device.effect_kinds import COLD, WARM
from hpcad.program.device.held_graph import HeldGraph

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)
if not nccl_of(cupy).available:
    pytest.skip("CuPy finds no NCCL library", allow_module_level=True)

pytestmark = pytest.mark.gpu
COUNTS = [1, 997, 1 << 20]


@pytest.fixture
def group():
    made = NcclCommunicator(SerialCommunicator("nccl"), cupy)
    yield made
    made.close()


def test_a_world_of_one_captures_reductions_as_branches_and_ends(group):
    assert group.capture_obstacle() == ""
    arrays = [cupy.zeros(count, np.float32) for count in COUNTS]
    plan = [(f"bucket {i}", a.dtype, a.size) for i, a in enumerate(arrays)]
    reductions = GraphReductions(group, SerialCommunicator("host"), cupy, plan, lambda _: None)

    def work():
        for array in arrays:
            cupy.add(array, 1, out=array)
            reductions.reduce(array)
        reductions.join()
        for array in arrays:
            cupy.add(array, 1, out=array)

    held = HeldGraph()
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.get_current_stream().synchronize()
    with stream:
        assert reductions.agree(COLD) == COLD
        work()  # connects, and compiles
        reductions.launched()
        number = reductions.agree(WARM)
        stream.begin_capture()
        work()
        held.graph = stream.end_capture()
        assert reductions.settle("")
        reductions.hold(held)
        for _ in range(3):
            held.graph.launch(stream)
            reductions.launched()
            assert reductions.agree(number) == number
        stream.synchronize()
    assert [set(cupy.asnumpy(array)) for array in arrays] == [{8.0}] * len(arrays)
    group.close()  # hangs where a graph is left
    assert held.graph is None


TWO_RANKS = """
import json
import numpy as np
from hpcad import nn, optim, parallel
from hpcad.backend import get_backend
from hpcad.models import MLP, MLPConfig
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

world = parallel.init("{device}")
backend = get_backend("{device}")
model = MLP(MLPConfig([64, 48]), 32, 10)
model.initialize(1, np.float32, backend)
engine = parallel.DataParallel(model, world, bucket_mb=4e-3, first_bucket_mb=1e-3)
optimizer = optim.AdamW(model, 1e-2, clip_norm=0.5)

def step(x, y):
    loss = nn.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()

run, random, losses = Compiled(step, Options(ahead=True, strict=True)), np.random.default_rng(world.rank), []
for _ in range(20):
    x = backend.asarray(random.standard_normal((16, 32)).astype(np.float32))
    y = backend.asarray(random.integers(0, 10, 16))
    losses.append(float(run(x, y).value))
if world.is_root:
    graphs = getattr(run.program._call, "graphs", 0)
    print("FOUND", json.dumps([losses, graphs, len(engine.buckets), engine.describe()]))
"""  # noqa: E501


def found(device, **env):
    done = mpirun(2, ["-c", TWO_RANKS.replace("{device}", device)], timeout=240, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))
    return json.loads(line.removeprefix("FOUND"))


def test_two_gpus_take_a_step_as_one_graph():
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two GPUs: NCCL connects no two ranks on one")
    expected = found("cpu")[0]
    losses, graphs, buckets, says = found("gpu", HPCAD_DEVICE_COMMUNICATOR="nccl")
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
    assert (graphs, buckets > 1) == (1, True), says
    off = found("gpu", HPCAD_DEVICE_COMMUNICATOR="nccl", HPCAD_GRAPH_REDUCTIONS="0")
    np.testing.assert_allclose(off[0], expected, rtol=1e-3)
    assert off[1] == buckets + 2
