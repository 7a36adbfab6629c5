"""Compiled training steps on the strict device give the losses of those on the host."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn, optim
from hpcad.backend import get_backend, strict
from hpcad.models import CNN, MLP, CharGPT, CharGPTConfig, CNNConfig, MLPConfig
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

STEPS = 6


def images(random):
    x = random.standard_normal((16, 8, 8, 1)).astype(np.float32)
    return {"x": x, "y": random.integers(0, 10, 16)}


def vectors(random):
    fields = images(random)
    return {"x": fields["x"].reshape(16, 64), "y": fields["y"]}


def text(random):
    tokens = random.integers(0, 11, (4, 9))
    return {"x": tokens[:, :-1].copy(), "y": tokens[:, 1:].copy()}


MODELS = {
    "mlp": (lambda: MLP(MLPConfig([32], dropout=0.1), 64, 10), vectors),
    "cnn": (lambda: CNN(CNNConfig([8, 16], 32), (8, 8), 10), images),
    "gpt": (lambda: CharGPT(CharGPTConfig(width=16, layers=2, heads=2, bias=True), 11, 8), text),
}


class Run:
    """Training of a model by a compiled step."""

    def __init__(self, kind, device, precision="float32"):
        make, self.batch = MODELS[kind]
        self.backend = get_backend(device)
        self.precision = nn.Precision(precision)
        self.model = make()
        self.model.initialize(1, np.float32, self.backend)
        self.precision.apply(self.model)
        self.optimizer = optim.AdamW(self.model, 1e-3, weight_decay=0.01, clip_norm=0.1)
        self.compiled = Compiled(self.step, Options(ahead=True, strict=True))
        self.random = np.random.default_rng(5)

    def step(self, fields, ids, step):
        with nn.training_step(3, step, ids):
            loss = self.model.loss(fields)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def take(self, number):
        fields = self.batch(self.random)
        ids = np.arange(number, number + len(fields["y"]))
        if fields["x"].dtype == np.float32:
            fields["x"] = fields["x"].astype(self.precision.dtype)
        given = {name: self.backend.asarray(array) for name, array in fields.items()}
        return self.compiled(given, ids, np.array(number)).value

    def losses(self):
        return [self.backend.to_host(self.take(number)) for number in range(STEPS)]


@pytest.mark.parametrize("kind", MODELS)
def test_losses_are_those_of_the_host(kind):
    found = Run(kind, "strict")
    np.testing.assert_allclose(found.losses(), Run(kind, "cpu").losses(), rtol=2e-5)
    assert found.compiled.program._call.graphs == 1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", MODELS)
def test_losses_in_half_precision_are_those_of_the_host(kind, precision):
    found, host = (Run(kind, device, precision) for device in ("strict", "cpu"))
    # Attention by tiles rounds elsewhere than attention by products does.
    np.testing.assert_allclose(found.losses(), host.losses(), rtol=2e-3)
    assert all(p.dtype == np.float32 for p in found.model.parameters())
    assert all(p.gradient.dtype == np.float32 for p in found.model.parameters())


@pytest.mark.parametrize("kind", MODELS)
def test_a_step_waits_for_nothing_and_allocates_nothing(kind):
    run = Run(kind, "strict")
    for number in range(3):
        run.take(number)
    fields = {name: run.backend.asarray(array) for name, array in run.batch(run.random).items()}
    ids, number = np.arange(len(fields["y"])), np.array(3)
    before = strict.COUNTS.copy()
    with strict.forbid_synchronisation():
        run.compiled(fields, ids, number)
    after = strict.COUNTS
    assert after.synchronisations == before.synchronisations
    assert after.device_to_host - before.device_to_host == 1  # what was wrong, behind the step
    assert after.host_to_device - before.host_to_device == 3  # ids, step, numbers of the optimizer
    assert after.allocations - before.allocations <= 1  # the loss that is returned


def test_attention_is_one_kernel_each_way_on_arrays_as_they_lie():
    run = Run("gpt", "strict")
    run.take(0)
    names = [step.name for step in run.compiled.program.steps]
    assert names.count("matmul_bias") == 2  # what no elementwise operation reads
    assert names.count("tiled_attention") == names.count("tiled_attention_back") == 2
    # Queries, keys and values are windows of one product, and so are their gradients.
    assert not {"contiguous", "concatenate", "getitem"} & set(names)
    assert all(step.kind != "other" for step in run.compiled.program.steps)
