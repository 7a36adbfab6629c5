"""Products that take activations, slopes and gradients of biases with them."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from hpcad import nn, optim
from hpcad.backend import get_backend
from hpcad.errors import ConfigError, DeviceError
from hpcad.models import CharGPT, CharGPTConfig
from hpcad.primitives.elementwise import add, multiply, tanh
from hpcad.primitives.product import matmul
from hpcad.program.compiled import Compiled
from hpcad.program.device import fused_product
from hpcad.program.improve.epilogue_choice import Epilogues, wished
from hpcad.program.options import Options

from .epilogue_runs import Net, Run, close

BACKEND = get_backend("strict")

FUSED = {
    ("gelu", "forward"): {"matmul_gelu_aux_bias": 1},
    ("gelu", "backward"): {"matmul_dgelu": 1, "matmul_bias": 1},
    ("gelu", "both"): {"matmul_gelu_aux_bias": 1, "matmul_dgelu": 1},
    ("gelu", "both_bgrad"): {"matmul_gelu_aux_bias": 1, "matmul_dgelu_bgrad": 1},
    ("relu", "forward"): {"matmul_relu_bias": 1},
    ("relu", "both"): {"matmul_relu_aux_bias": 1, "matmul_drelu": 1},
    ("relu", "both_bgrad"): {"matmul_relu_aux_bias": 1, "matmul_drelu_bgrad": 1},
    ("relu", "bgrad"): {"matmul_bgrad_b": 4},
    ("gelu", "both_bgrad,bgrad"): {
        "matmul_gelu_aux_bias": 1, "matmul_dgelu_bgrad": 1, "matmul_bgrad_b": 3,
    },
}  # fmt: skip
FEWER = {"forward": 1, "backward": 1, "both": 2, "both_bgrad": 3, "bgrad": 4, "both_bgrad,bgrad": 6}


def separate(name, precision="float32", **settings):
    run = Run("separate", getattr(nn, name), precision, **settings)
    return run, *run.train()


SEEN_IN_OTHERS = {("gelu", "forward"), ("gelu", "both"), ("gelu", "both_bgrad"), ("relu", "both")}


@pytest.mark.parametrize(
    ("name", "form"),
    [pytest.param(*k, marks=pytest.mark.slow) if k in SEEN_IN_OTHERS else k for k in FUSED],
)
def test_losses_and_gradients_are_those_of_separate_kernels(name, form):
    plain, losses, gradients = separate(name)
    assert plain.names() == {}
    run = Run(form, getattr(nn, name))
    found = run.train()
    assert run.names() == FUSED[name, form]
    np.testing.assert_allclose(found[0], losses, rtol=1e-6)
    close(found[1], gradients, 2e-5)
    (kernels, nbytes), (before, bytes_before) = run.kernels(), plain.kernels()
    assert kernels == before - FEWER[form]
    assert nbytes < bytes_before


def gpt(*forms):
    """The compiled step of a small GPT-2, whose activations are made again, and its losses."""
    model = CharGPT(CharGPTConfig(width=32, layers=3, heads=2, bias=True), 11, 32)
    model.initialize(1, np.float32, BACKEND)
    optimizer = optim.AdamW(model, 1e-3)

    def step(x, y):
        loss = model.loss({"x": x, "y": y})
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = Compiled(step, Options(ahead=True, strict=True, epilogues=Epilogues(wish=forms)))
    text = np.random.default_rng(0).integers(0, 11, (8, 33))
    x, y = (BACKEND.asarray(np.ascontiguousarray(t)) for t in (text[:, :-1], text[:, 1:]))
    return run, [float(BACKEND.to_host(run(x, y).value)) for _ in range(3)]


def test_layers_of_a_gpt():
    plain, losses = gpt("separate")
    run, found = gpt("both", "bgrad")
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    names = Counter(i.name for i in run.program.program.instructions)
    assert names["matmul_gelu_aux_bias"] == names["matmul_dgelu"] == 3
    assert names["matmul_bgrad_b"] == 12
    assert names["tanh"] == 2  # the last layer's is not made again for its weights
    assert run.program.arena_bytes <= plain.program.arena_bytes
    kernels, before = (sum(s.kind == "kernel" for s in r.program.steps) for r in (run, plain))
    assert kernels <= before - 12 - 3


@pytest.mark.parametrize(
    ("name", "form"),
    [pytest.param("gelu", "both,bgrad", marks=pytest.mark.slow), ("relu", "both,bgrad")],
)
def test_half_precision(name, form):
    plain, losses, gradients = separate(name, "bfloat16")
    run = Run(form, getattr(nn, name), "bfloat16")
    found = run.train()
    # Gradients of biases are summed in float32; those of the layer with the slope, too.
    assert run.names()["matmul_bgrad_b"] == 4
    np.testing.assert_allclose(found[0], losses, rtol=5e-3)
    close(found[1], gradients, 3e-2)
    assert run.kernels()[1] < plain.kernels()[1]


def test_without_a_bias():
    _, losses, gradients = separate("gelu", bias=False)
    run = Run("both", bias=False)
    found = run.train()
    assert run.names() == {"matmul_gelu_aux": 1, "matmul_dgelu": 1}
    np.testing.assert_allclose(found[0], losses, rtol=1e-6)
    close(found[1], gradients, 2e-5)


@pytest.mark.parametrize(
    "form", [pytest.param("both_bgrad", marks=pytest.mark.slow), "both_bgrad,bgrad"]
)
def test_gradients_that_are_added_to_what_is_there(form):
    _, losses, gradients = separate("gelu", passes=2)
    found = Run(form, passes=2).train()
    np.testing.assert_allclose(found[0], losses, rtol=1e-6)
    close(found[1], gradients, 2e-5)


def test_aux_is_kept_from_the_forward_to_the_backward_pass():
    run = Run("both", nn.relu)
    run.train()
    program = run.program
    forward, back = (
        next(
            (i, t.instruction) for i, t in enumerate(program.schedule.tasks)
            if getattr(t, "instruction", None) is not None and t.instruction.name == name
        )
        for name in ("matmul_relu_aux_bias", "matmul_drelu")
    )  # fmt: skip
    mask = forward[1].outs[1]
    assert mask is back[1].args[2]
    assert mask.nbytes == 18 * 16  # a bit for each of 64 columns, in steps of 128
    buffer = program.storage.buffer(mask)
    assert (buffer.first, buffer.last) == (forward[0], back[0])
    others = [b for b in program.storage.owned() if b is not buffer]
    for other in others:  # nobody else's memory meanwhile
        apart = other.last < buffer.first or other.first > buffer.last
        beside = (
            other.offset + other.nbytes <= buffer.offset
            or buffer.offset + buffer.nbytes <= other.offset
        )
        assert apart or beside


def test_without_a_backward_pass_nothing_is_left_beside():
    model = Net(nn.gelu)
    model.initialize(1, np.float32, BACKEND)
    x = BACKEND.asarray(np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32))
    answers, names = [], {}
    for form in ("separate", "forward"):
        options = Options(ahead=True, strict=True, epilogues=Epilogues(wish=(form,)))
        run = Compiled(lambda x: model(x).detach(), options)
        answers.append(BACKEND.to_host(run(x).value))
        names[form] = [i.name for i in run.program.program.instructions]
    assert "matmul_gelu_bias" in names["forward"]
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-5, atol=1e-6)


def test_what_somebody_else_reads_stays_a_value():
    def leaky(x):
        return nn.relu(x) + 0.1 * x

    run = Run("forward", leaky)
    run.train()
    assert run.names() == {}  # a product with ReLU leaves no x for the other term


@pytest.mark.parametrize("cubic", [0.044715, 0.05])
def test_another_formula_is_no_gelu(cubic):
    scale = math.sqrt(2 / math.pi)

    def like_gelu(x):
        inner = add(multiply(multiply(x, x), scale * cubic), scale)
        return multiply(multiply(add(tanh(multiply(inner, x)), 1), x), 0.5)

    run = Run("forward", like_gelu)
    run.train()
    assert bool(run.names()) == (cubic == 0.044715)


def trained_between(device, options):
    """An activation, behind an update of the weight that its product has read."""
    backend, random = get_backend(device), np.random.default_rng(0)
    model = nn.Linear(8, 16)
    model.initialize(1, np.float32, backend)
    optimizer = optim.SGD(model, 0.1)

    def step(x):
        z = matmul(x, model.weight)
        (model.weight * model.weight).sum().backward()
        optimizer.step()
        return nn.gelu(add(z.detach(), model.bias.detach()))

    run = step if options is None else Compiled(step, options)
    xs = [backend.asarray(random.standard_normal((4, 8)).astype(np.float32)) for _ in range(4)]
    return run, [backend.to_host(run(x).value) for x in xs]


def test_a_product_does_not_move_behind_an_update_of_its_weight():
    options = Options(strict=True, epilogues=Epilogues(wish=("forward",)))
    run, found = trained_between("strict", options)
    assert run.program.steps
    np.testing.assert_allclose(found, trained_between("cpu", None)[1], rtol=1e-4, atol=1e-6)


def test_columns_that_are_no_multiple_of_eight():
    run = Run("both", nn.gelu, width=7)  # 28 columns, and aux wants eights
    run.train()
    assert run.names() == {}


def test_in_parts_where_the_library_refuses(monkeypatch):
    _, losses, gradients = separate("gelu")
    monkeypatch.setattr(fused_product, "bind_product", lambda *_args, **_more: None)
    run = Run("both_bgrad,bgrad")
    found = run.train()
    assert run.names() == FUSED["gelu", "both_bgrad,bgrad"]
    np.testing.assert_allclose(found[0], losses, rtol=1e-5)
    close(found[1], gradients, 2e-5)


def test_masks_are_made_by_the_library_or_not_at_all(monkeypatch):
    monkeypatch.setattr(fused_product, "bind_product", lambda *_args, **_more: None)
    with pytest.raises(Exception, match="relu_aux_bias") as caught:
        Run("both", nn.relu).train()
    assert isinstance(caught.value.__cause__ or caught.value, DeviceError)


def test_a_form_that_there_is_not():
    with pytest.raises(ConfigError, match="no form 'fuse', but"):
        wished("both,fuse")


def test_the_form_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("HPCAD_EPILOGUES", "both, bgrad")
    assert Epilogues().wish == ("both", "bgrad")
    monkeypatch.delenv("HPCAD_EPILOGUES")
    assert Epilogues().wish == ()
