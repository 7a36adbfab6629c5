"""Programs on a device run step by step between events compute what their graphs do."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn, optim
from hpcad.backend import get_backend
from hpcad.errors import DeviceError
from hpcad.models import MLP, MLPConfig
from hpcad.program.compiled import Compiled
from hpcad.program.cuda.compile import compile_cubin
from hpcad.program.cuda.generate import translation_unit
from hpcad.program.cuda.nvrtc import find_nvrtc
from hpcad.program.cuda.routines.hold import hold
from hpcad.program.device.timing import StepTimes, timed
from hpcad.program.options import Options


class Run:
    """Training of a small network."""

    def __init__(self, device):
        self.backend = get_backend(device)
        self.model = MLP(MLPConfig([16]), 8, 4)
        self.model.initialize(1, np.float32, self.backend)
        self.optimizer = optim.AdamW(self.model, 1e-2, clip_norm=0.1)
        self.step = Compiled(self._step, Options(ahead=True, strict=True))
        self.random = np.random.default_rng(3)

    def _step(self, x, y):
        loss = nn.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def take(self):
        x = self.random.standard_normal((6, 8)).astype(np.float32)
        y = self.random.integers(0, 4, 6)
        loss = self.step(self.backend.asarray(x), self.backend.asarray(y)).value
        return float(self.backend.to_host(loss))


def test_timed_steps_train_as_graphs_do():
    one, other = Run("strict"), Run("strict")
    expected = [one.take() for _ in range(8)]
    found = [other.take() for _ in range(3)]
    program = other.step.program
    with timed(program) as times:
        found += [other.take() for _ in range(3)]
    found += [other.take() for _ in range(2)]
    np.testing.assert_array_equal(found, expected)
    assert times.runs == 2
    assert times.seconds.shape == (len(program.steps),)
    assert (times.seconds == 0).all()  # the strict device has no clock
    (update,) = (i for i, step in enumerate(program.steps) if step.text.startswith("AdamW"))
    assert times.host_seconds[update] > 0
    report = str(program.report(times.seconds))
    assert "products" in report


def test_a_run_that_fails_leaves_the_program_as_it_was():
    run = Run("strict")
    run.take()
    usual = run.step.program._call
    with pytest.raises(KeyError), timed(run.step.program):
        raise KeyError
    assert run.step.program._call is usual


def test_steps_for_the_host_are_refused():
    run = Run("cpu")
    run.take()
    program = run.step.program
    program.target.xp = get_backend("strict").xp
    with pytest.raises(RuntimeError, match=r"is a step for the host; time it with program.timed"):
        timed(program).__enter__()


def test_the_clock_of_the_host_is_not_for_steps_of_a_device():
    run = Run("strict")
    run.take()
    with (
        pytest.raises(DeviceError, match=r"use hpcad.program.device.timing.timed"),
        run.step.program.timed(),
    ):
        pass


def test_means_are_over_the_runs():
    times = StepTimes(2)
    assert times.seconds.tolist() == [0, 0]
    times.add(np.array([1.0, 2.0]), np.array([0.5, 0.0]))
    times.add(np.array([3.0, 2.0]), np.array([0.0, 0.0]))
    assert times.seconds.tolist() == [2, 2]
    assert times.host_seconds.tolist() == [0.25, 0]


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_the_kernel_that_holds_a_stream_is_machine_code(architecture):
    if find_nvrtc() is None:
        pytest.skip("NVRTC is not installed (pip install 'hpcad[nvrtc]')")
    code = compile_cubin(translation_unit([hold()]), architecture, "hold")
    assert b".text.hp_hold\0" in code
