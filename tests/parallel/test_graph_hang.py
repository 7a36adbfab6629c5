"""A rank that does not come to a step whose reductions stand in a graph is named; nobody hangs."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from launched import mpirun

PROGRAM = """
import sys, time
sys.path.insert(0, FOLDER)
import numpy as np
import strict_nccl
strict_nccl.install(setattr)

from hpcad import nn, optim, parallel
from hpcad.backend import get_backend
from hpcad.parallel.gradients import fit
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

fit.SIZES = fit.SIZES[:2]
world, backend = parallel.init(), get_backend("strict")
model = nn.Linear(6, 4)
model.initialize(1, np.float32, backend)
parallel.DataParallel(model, world)
optimizer = optim.SGD(model, 0.1)

def step(x, y):
    loss = nn.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()

run = Compiled(step, Options(ahead=True, strict=True))
x, y = backend.asarray(np.ones((3, 6), np.float32)), backend.asarray(np.arange(3))
for _ in range(4):
    run(x, y)
assert run.program._call.graphs == 1
if world.rank == world.size - 1:
    WHAT
print("goes on", flush=True)
run(x, y)
"""
# What the last rank does instead of its step, and what must be said.
CASES = {
    "elsewhere": ("time.sleep(60)", "allreduce min of 3 x int64 'gradients in 1 message (plan "),
    # All have agreed, and one device stands still: the others' graphs wait for it.
    "hangs": (
        "run.program._call._divide()[0].graph.launch = lambda stream: time.sleep(60)",
        "pass sums on devices by nccl of 48 x float32 'gradients in 1 message (plan ",
    ),
    "another call": (
        "world.communicator.barrier('another')",
        "rank 1 (on {host}) called barrier 'another'",
    ),
}


@pytest.mark.alone
@pytest.mark.parametrize("case", CASES)
def test_a_rank_that_does_not_come_is_named(case):
    what, said = CASES[case]
    folder = Path(__file__).parents[1] / "mpi"
    program = PROGRAM.replace("FOLDER", repr(str(folder))).replace("WHAT", what)
    env = {"HPCAD_TIMEOUT": "2", "HPCAD_DEVICE_COMMUNICATOR": "nccl"}
    started = time.monotonic()
    done = mpirun(2, ["-c", program], timeout=50, env=env)
    assert time.monotonic() - started < 40  # and not the minute for which the last rank sleeps
    assert done.returncode != 0
    assert "goes on" in done.stdout
    assert said.partition("(on {host})")[0] in done.stderr
    assert said.partition("(on {host})")[2] in done.stderr
    if case != "another call":
        assert "HPCAD_TIMEOUT is 2 seconds" in done.stderr
        where = "waits for its device" if case == "hangs" else "is elsewhere: it last called"
        line = PROGRAM.count("\n", 0, PROGRAM.index("    WHAT")) + 1
        assert re.search(rf"rank 1 on \S+ {where}.*<string>:{line}\b", done.stderr)
