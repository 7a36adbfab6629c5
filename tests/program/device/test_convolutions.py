"""Convolutions of compiled programs by cuDNN, on its stand-in, and what is fused around them."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
from hpcad import nn, optim
from hpcad.backend import counted_flops, get_backend
from hpcad.backend.cudnn import BoundConvolution, context, convolution_problem
from hpcad.primitives.convolution import conv2d
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

from .test_training import Run

CONVOLUTIONS = ("conv", "conv_relu", "conv_input", "conv_weight")
SLIDES = {
    "plain": ((3, 3), 1, 0),
    "padded": ((3, 3), 1, 1),
    "strided": ((3, 3), 2, 1),
    "uneven": ((3, 2), (2, 1), (0, 2)),
    "with gaps": ((2, 2), 3, 0),
    "point": ((1, 1), 1, 0),
    "wide padding": ((2, 2), 1, (3, 2)),
}
random = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def _asked_for(monkeypatch):
    monkeypatch.setenv("HPCAD_CUDNN", "1")
    monkeypatch.setattr(context, "_contexts", {})


def normal(*shape, dtype=np.float32):
    return random.standard_normal(shape).astype(dtype)


def steps_of(compiled):
    return [s for s in compiled.program.steps if s.name in CONVOLUTIONS]


def by_cudnn(step):
    """Whether one of the calls of a step is cuDNN's."""
    return "by cuDNN" in step.comment and any(
        isinstance(call, BoundConvolution) for call in step.products
    )


def on_the_device(function, *given):
    """Results of a program, the second time, and the program."""
    backend = get_backend("strict")
    compiled = Compiled(function, Options(ahead=True, strict=True))
    for _ in range(2):
        found = compiled(*(backend.asarray(array) for array in given))
    return [backend.to_host(array) for array in found], compiled


def derivatives(stride, padding, activation=None):
    def function(x, w, b, g):
        def convolved(x, w, b):
            y = conv2d(x, w, b, stride, padding)
            return y if activation is None else activation(y)

        y, pull = hpcad.vjp(convolved, x, w, b)
        return [y, *pull(g)]

    return function


@pytest.mark.parametrize("activation", [None, nn.relu], ids=["alone", "relu"])
@pytest.mark.parametrize("slide", SLIDES)
def test_values_and_derivatives_are_those_of_the_primitives(slide, activation):
    kernel, stride, padding = SLIDES[slide]
    x, w, b = normal(2, 6, 7, 3), normal(*kernel, 3, 5), normal(5)
    g = normal(*conv2d(x, w, b, stride, padding).shape)
    function = derivatives(stride, padding, activation)
    found, compiled = on_the_device(function, x, w, b, g)
    for one, other in zip(found, function(x, w, b, g), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-5)
    steps = steps_of(compiled)
    first = "conv" if activation is None else "conv_relu"
    assert [s.name for s in steps] == [first, *(s.name for s in steps[1:])]
    assert {s.name for s in steps} == {first, "conv_input", "conv_weight"}
    assert all(by_cudnn(step) for step in steps)


def test_relu_is_no_kernel_of_its_own():
    def function(x, w, b):
        return [nn.relu(conv2d(x, w, b))]

    given = normal(2, 6, 7, 3), normal(3, 3, 3, 5), normal(5)
    _, compiled = on_the_device(function, *given)
    assert [s.name for s in compiled.program.steps] == ["conv_relu"]


@pytest.mark.parametrize("other", [lambda y: y, lambda y: 2 * y, lambda y: y.sum((1, 2))])
def test_relu_stays_where_others_read_the_convolution(other):
    def function(x, w, b):
        y = conv2d(x, w, b)
        return [nn.relu(y), other(y)]

    given = normal(2, 6, 7, 3), normal(3, 3, 3, 5), normal(5)
    found, compiled = on_the_device(function, *given)
    for one, other in zip(found, function(*given), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert [s.name for s in steps_of(compiled)] == ["conv"]


def test_without_a_plan_the_patches_do_it(monkeypatch, caplog):
    monkeypatch.setattr(convolution_problem, "MOST", 100)
    x, w, b = normal(2, 6, 7, 3), normal(3, 3, 3, 5), normal(5)
    g = normal(2, 4, 5, 5)
    function = derivatives(1, 0, nn.relu)
    found, compiled = on_the_device(function, x, w, b, g)
    for one, other in zip(found, function(x, w, b, g), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-5)
    assert not any(by_cudnn(step) for step in steps_of(compiled))
    assert "cuDNN has no plan for ConvolutionProblem" in caplog.text


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_doubles_and_places_that_are_not_aligned_stay_with_the_patches(dtype):
    x, w = normal(3, 5, 5, 1, dtype=dtype), normal(2, 2, 1, 3, dtype=dtype)

    def function(x, w):
        return [conv2d(x[1:], w)]  # 25 elements on

    found, compiled = on_the_device(function, x, w)
    np.testing.assert_allclose(found[0], function(x, w)[0], rtol=1e-5, atol=1e-5)
    assert not any(by_cudnn(step) for step in steps_of(compiled))


def test_it_is_off_unless_asked_for(monkeypatch):
    monkeypatch.delenv("HPCAD_CUDNN")
    given = normal(2, 6, 7, 3), normal(3, 3, 3, 5), normal(5), normal(2, 4, 5, 5)
    _, compiled = on_the_device(derivatives(1, 0, nn.relu), *given)
    assert {s.name for s in steps_of(compiled)} == {"conv", "conv_input", "conv_weight"}
    assert not any(by_cudnn(step) for step in steps_of(compiled))


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_losses_of_the_network_are_those_of_the_host_and_of_the_patches(monkeypatch, precision):
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    run = Run("cnn", "strict", precision)
    found = run.losses()
    monkeypatch.setenv("HPCAD_CUDNN", "0")
    tolerance = 2e-5 if precision == "float32" else 2e-3
    np.testing.assert_allclose(found, Run("cnn", "strict", precision).losses(), rtol=tolerance)
    np.testing.assert_allclose(found, Run("cnn", "cpu", precision).losses(), rtol=tolerance)
    steps = steps_of(run.compiled)
    names = [s.name for s in steps]
    assert (names.count("conv"), names.count("conv_input"), names.count("conv_weight")) == (2, 1, 2)
    assert all(by_cudnn(step) for step in steps)
    assert run.compiled.program._call.graphs == 1  # with everything in it
    assert all(p.gradient.dtype == np.float32 for p in run.model.parameters())


def test_a_step_waits_for_nothing_and_counts_its_operations(monkeypatch):
    from hpcad.backend import strict

    counted = []
    for wish in "10":
        monkeypatch.setenv("HPCAD_CUDNN", wish)
        run = Run("cnn", "strict")
        for number in range(3):
            run.take(number)
        with strict.forbid_synchronisation(), counted_flops() as count:
            run.take(3)
        counted.append(count.total)
    assert counted[0] == counted[1] > 0


def test_gradients_are_added_to_those_that_are_there():
    class Twice(nn.Module):
        def __init__(self):
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def loss(self, fields):
            y = self.conv(self.conv(fields["x"]))
            return hpcad.numpy.mean(y * y)

    losses = {}
    for device in ("strict", "cpu"):
        backend, model = get_backend(device), Twice()
        model.initialize(1, np.float32, backend)
        optimizer = optim.SGD(model, 0.05)

        def step(x, model=model, optimizer=optimizer):
            loss = model.loss({"x": x})
            loss.backward()
            optimizer.step()
            return loss.detach()

        compiled = Compiled(step, Options(ahead=True, strict=True))
        x = np.random.default_rng(2).standard_normal((2, 6, 6, 4)).astype(np.float32)
        found = [compiled(backend.asarray(x)).value for _ in range(4)]
        losses[device] = [backend.to_host(loss) for loss in found]
        if device == "strict":
            weights = [s for s in steps_of(compiled) if s.name == "conv_weight"]
            assert len(weights) == 2
            assert all(by_cudnn(s) for s in weights)
    np.testing.assert_allclose(losses["strict"], losses["cpu"], rtol=2e-5)
    assert losses["cpu"][-1] < losses["cpu"][0]


# -- batch normalisation and activation ------------------------------------------------------------


class Block(nn.Module):
    def __init__(self):
        self.conv, self.norm = nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm(8)
        self.after = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return self.after(nn.relu(self.norm(self.conv(x))))


def kernels_of(precision, training):
    """Kernels over whole images between the convolutions of a block, and behind them."""
    backend, model = get_backend("strict"), Block()
    model.initialize(1, np.float32, backend)
    chosen = nn.Precision(precision)
    chosen.apply(model)

    def step(x, ids, number):
        if not training:
            return model(x).detach()
        with nn.training_step(3, number, ids):
            y = model(x)
        hpcad.numpy.sum(y).backward()
        return y.detach()

    compiled = Compiled(step, Options(ahead=True, strict=True))
    x = backend.asarray(normal(4, 8, 8, 4).astype(chosen.dtype))
    compiled(x, np.arange(4), np.array(0))
    steps = compiled.program.steps
    convolutions = [i for i, s in enumerate(steps) if s.name == "conv"]
    assert len(convolutions) == 2
    between = steps[convolutions[0] + 1 : convolutions[1]]
    behind = steps[convolutions[1] + 1 :]
    return [
        [s.comment for s in part if s.kind in ("kernel", "other") and "(4, 8, 8, 8):" in s.comment]
        for part in (between, behind)
    ]


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_inference_normalises_and_activates_in_one_kernel(precision):
    (kernel,), behind = kernels_of(precision, training=False)
    assert "relu(" in kernel
    assert "norm_running_variance" in kernel
    assert behind == []


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_training_normalises_and_activates_in_three_passes(precision):
    between, behind = kernels_of(precision, training=True)
    mean, squares, normalised = between
    assert "= sum(" in mean
    assert "= sum(" in squares
    assert "relu(" in normalised
    assert len(behind) == 3  # sums for scale and shift; for the mean; the gradient of the images
    assert all("= sum(" in kernel for kernel in behind)  # the last with that of the bias
