"""Dynamic loss scaling: the decision on the host and on a device, and what a step then does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpcad import nn, optim
from hpcad.errors import ConfigError
from hpcad.optim.decision import decision_kernel, left_out_by
from hpcad.optim.on_device import with_numbers_in_memory
from hpcad.optim.passes import _plan
from hpcad.program.cuda.compile import OPTIONS
from hpcad.program.cuda.generate import generate, translation_unit
from hpcad.program.cuda.nvrtc import find_nvrtc
from hpcad.program.kernels.interpret import interpret


def operands(kernel, arrays):
    """Flat arrays as the interpreter takes them."""
    return [
        np.lib.stride_tricks.as_strided(
            array, kernel.extents, [s * array.itemsize for s in operand.strides]
        )
        for array, operand in zip(arrays, kernel.operands, strict=True)
    ]


def by_kernel(scale, squares, clip_norm):
    """What a device decides: the factor, and the state of the scale."""
    kernel = decision_kernel(len(squares), clip_norm, scale.interval)
    state = [x.copy() for x in (scale.scale, scale.good, scale.skipped)]
    arrays = [*(np.array([x]) for x in squares), np.zeros(1), np.zeros(1), *state]
    interpret(kernel, operands(kernel, arrays))
    factor, norm, *state = (float(x[0]) for x in arrays[len(squares) :])
    return factor, norm, dict(zip(("scale", "good", "skipped"), state, strict=True))


@pytest.mark.parametrize("clip_norm", [None, 2.0, 1e-3])
def test_host_and_device_decide_alike(clip_norm):
    scale = optim.LossScale(2.0**10, interval=3)
    norms = [math.inf, 700.0, math.nan, 1.0, 5e3, 1e4, 0.0, math.inf]
    for norm in norms:
        squares = [0.36 * norm**2, 0.64 * norm**2]
        device = by_kernel(scale, squares, clip_norm)
        before = float(scale.scale[0])
        factor = scale.factor(math.sqrt(sum(squares)), clip_norm)
        assert device[0] == pytest.approx(factor, rel=1e-15)
        assert device[2] == scale.state()
        if math.isfinite(norm):
            assert device[1] == pytest.approx(norm / before, rel=1e-15)
    # Halved three times; doubled once, after the third good step in a row.
    assert scale.state() == {"scale": 2.0**8, "good": 0.0, "skipped": 3.0}


def test_the_scale_stays_in_its_range():
    low, high = optim.LossScale(1.0), optim.LossScale(2.0**24, interval=1)
    assert low.factor(math.nan) == 0.0
    assert high.factor(1.0) == 2.0**-24
    assert (low.value, high.value) == (1.0, 2.0**24)
    with pytest.raises(ConfigError, match=r"power of two from 1 to 2\^24, not 1000"):
        optim.LossScale(1000.0)
    with pytest.raises(ConfigError, match="interval must be at least 1, not 0"):
        optim.LossScale(interval=0)


def trained(scale, kind, steps, overflow=(), native="1"):
    """Parameters and state after some steps, whose gradients overflow in some of them."""
    model = nn.Linear(5, 3)
    model.initialize(1)
    settings = {} if scale is None else {"loss_scale": scale}
    optimizer = kind(model, 0.1, weight_decay=0.1, clip_norm=1.5, **settings)
    random = np.random.default_rng(3)
    for step in range(steps):
        for p in model.parameters():
            gradient = random.normal(size=p.shape).astype(np.float32)
            if scale is not None:
                gradient *= scale.value
            p.accumulate(gradient)
        if step in overflow:
            model.weight.grad[2, 1] = (np.inf, np.nan)[step % 2]
        optimizer.step()
    return {**model.arrays(), **optimizer.arrays()}, optimizer


@pytest.mark.parametrize("native", ["1", "0"])
@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
def test_a_scale_that_is_taken_away_changes_nothing(kind, native, monkeypatch):
    monkeypatch.setenv("HPCAD_NATIVE", native)
    plain, without = trained(None, kind, 6)
    scaled, optimizer = trained(optim.LossScale(2.0**12, interval=2), kind, 6)
    assert optimizer.loss_scale.state()["scale"] == 2.0**15
    assert optimizer.gradient_norm == pytest.approx(without.gradient_norm, rel=1e-7)
    for name, array in plain.items():
        np.testing.assert_allclose(scaled[name], array, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW, optim.RMSProp])
def test_a_step_that_overflows_leaves_everything_as_it_was(kind):
    before, _ = trained(optim.LossScale(2.0**12), kind, 3)
    after, optimizer = trained(optim.LossScale(2.0**12), kind, 5, overflow=(3, 4))
    assert optimizer.loss_scale.state() == {"scale": 2.0**10, "good": 0.0, "skipped": 2.0}
    assert optimizer.step_count == 5
    assert str(optimizer.loss_scale) == "loss scale 1024, 2 steps left out"
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name], err_msg=name)


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
def test_the_update_of_a_device_is_left_out_where_its_factor_is_zero(kind):
    _, optimizer = trained(optim.LossScale(), kind, 1)
    numbers = list(optimizer.numbers(0.1).values())
    random = np.random.default_rng(1)
    for each in _plan(optimizer, optimizer.arenas[0]):
        moved = with_numbers_in_memory(each.kernel)
        guarded = left_out_by(moved, len(moved.operands) - 1)
        size = math.prod(moved.extents)
        arrays = [random.random(size).astype(np.float32) for _ in range(2 + len(optimizer.slots))]
        arrays[1][0] = np.inf
        arrays += [] if each.mask is None else [each.mask]
        for factor, kernel in ((0.5, moved), (0.5, guarded), (0.0, guarded)):
            given = [a.copy() for a in arrays] + [np.array([n]) for n in (*numbers, factor)]
            interpret(kernel, operands(kernel, given))
            if kernel is moved:
                expected = given
            for a, b, old in zip(given, expected, arrays, strict=False):
                np.testing.assert_array_equal(a, b if factor else old)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_the_kernels_compile_for_devices(architecture):
    nvrtc = find_nvrtc()
    if nvrtc is None:
        pytest.skip("NVRTC is not installed (pip install 'hpcad[nvrtc]')")
    _, optimizer = trained(optim.LossScale(), optim.AdamW, 1)
    kernels = [decision_kernel(2, 1.0, 2000), decision_kernel(1, None, 1)]
    for each in _plan(optimizer, optimizer.arenas[0]):
        moved = with_numbers_in_memory(each.kernel)
        kernels.append(left_out_by(moved, len(moved.operands) - 1))
    codes = [generate(kernel, f"kernel_{i}") for i, kernel in enumerate(kernels)]
    options = (f"--gpu-architecture={architecture}", *OPTIONS)
    made, _ = nvrtc.compile(translation_unit(codes), "scaling.cu", options)
    assert all(f".text.{entry}\0".encode() in made for code in codes for entry in code.entries)


def test_the_state_is_put_back():
    scale, other = optim.LossScale(interval=5), optim.LossScale()
    for norm in (1.0, math.inf, 1.0, 1.0):
        scale.factor(norm)
    other.load(scale.state())
    assert other.state() == {"scale": 2.0**15, "good": 2.0, "skipped": 1.0}
    assert other.value == np.float32(2**15)
    assert other.value.dtype == np.float32
