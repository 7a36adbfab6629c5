"""Layers in half precision: float32 parameters and gradients, and float32 where it matters."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from hpcad import nn
from hpcad.errors import ConfigError
from hpcad.models import (
    CNN,
    MLP,
    CharGPT,
    CharGPTConfig,
    CNNConfig,
    MLPConfig,
    RecurrentClassifier,
    RecurrentConfig,
)
from hpcad.primitives.elementwise import cast
from hpcad.primitives.reduction import sum

HALVES = pytest.mark.parametrize("dtype", [np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16)])
EPS = {"bfloat16": 2.0**-8, "float16": 2.0**-11}  # of one rounding
random = np.random.default_rng(5)
IMAGES = {"x": random.normal(size=(32, 8, 8)), "y": random.integers(0, 10, 32)}
TEXT = {"x": random.integers(0, 50, (6, 16)), "y": random.integers(0, 50, (6, 16))}
MODELS = {
    "mlp": (lambda: MLP(MLPConfig([16], dropout=0.1), 64, 10), IMAGES),
    "cnn": (lambda: CNN(CNNConfig([4, 8], hidden=16), (8, 8), 10), IMAGES),
    "rnn": (lambda: RecurrentClassifier(RecurrentConfig("rnn", 12), 8, 10), IMAGES),
    "lstm": (lambda: RecurrentClassifier(RecurrentConfig("lstm", 12), 8, 10), IMAGES),
    "gru": (lambda: RecurrentClassifier(RecurrentConfig("gru", 12), 8, 10), IMAGES),
    "gpt": (lambda: CharGPT(CharGPTConfig(2, 2, 16, 0.1, bias=True), 50, 16), TEXT),
}


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def gradient(make, data, precision):
    """Loss, answer, and the whole gradient at the same parameters."""
    model = make().initialize(2)
    precision.apply(model)
    x = data["x"] if data is TEXT else data["x"].astype(np.float32).astype(precision.dtype)
    with nn.training_step(1, np.array(0), np.arange(len(x))):
        answer = model(x)
        loss = nn.cross_entropy(answer, data["y"])
    loss.backward()
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    return loss, answer, np.concatenate([p.grad.ravel() for p in model.parameters()])


@HALVES
@pytest.mark.parametrize("name", MODELS)
def test_models_compute_in_half_precision_and_learn_in_single(name, dtype):
    loss, _, exact = gradient(*MODELS[name], nn.Precision())
    rough_loss, answer, rough = gradient(*MODELS[name], nn.Precision(dtype.name))
    assert answer.dtype == dtype
    assert rough_loss.dtype == np.float32
    assert abs(float(rough_loss) - float(loss)) < 4 * EPS[dtype.name] * float(loss)
    # A maximum or a ReLU may fall the other way, which moves a cotangent as a whole.
    bound = 0.1 if name in ("cnn", "mlp") else 8 * EPS[dtype.name]
    assert 0 < relative(rough, exact) < bound


@HALVES
def test_gradients_of_weights_are_not_rounded_to_half(dtype):
    """They are the float32 products of halves, to float32 roundings."""
    layer = nn.Linear(300, 7).initialize(1)
    x = random.normal(size=(500, 300)).astype(dtype)
    g = random.normal(size=(500, 7)).astype(dtype)
    y = layer(x)
    assert y.dtype == dtype
    sum(cast(y, dtype=np.float32) * g.astype(np.float32)).backward()
    exact = x.astype(np.float64).T @ g.astype(np.float64)
    np.testing.assert_allclose(layer.weight.grad, exact, atol=1e-4 * np.abs(exact).max())
    np.testing.assert_allclose(layer.bias.grad, g.astype(np.float64).sum(0), rtol=1e-5)
    assert relative(exact.astype(dtype).astype(np.float64), exact) > EPS[dtype.name] / 10


@HALVES
def test_gradients_of_filters_are_not_rounded_to_half(dtype):
    layer = nn.Conv2d(2, 3, 3, padding=1).initialize(1)
    x = random.normal(size=(9, 6, 6, 2)).astype(dtype)
    g = random.normal(size=(9, 6, 6, 3)).astype(dtype)
    sum(cast(layer(x), dtype=np.float32) * g.astype(np.float32)).backward()
    rough = layer.weight.grad.copy(), layer.bias.grad.copy()
    for p in layer.parameters():
        p.clear_grad()
    sum(layer(x.astype(np.float32)) * g.astype(np.float32)).backward()
    for got, exact in zip(rough, (layer.weight.grad, layer.bias.grad), strict=True):
        np.testing.assert_allclose(got, exact, atol=1e-5 * np.abs(exact).max())


@HALVES
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.BatchNorm])
def test_normalisation_is_computed_in_float32(kind, training, dtype):
    """Of numbers around 100, whose squares overflow in float16 when they are summed up."""
    layer = kind(64).initialize(1)
    layer.scale.assign(random.normal(size=64))
    x = (100 + 10 * random.normal(size=(40, 64))).astype(dtype)

    def answer(x):
        if training:
            with nn.training_step(1, np.array(0)):
                return layer(x)
        return layer(x)

    exact = answer(x.astype(np.float32)).numpy()
    rough = answer(x)
    assert rough.dtype == dtype
    np.testing.assert_array_equal(rough.numpy(), exact.astype(dtype))


@HALVES
def test_losses_are_computed_in_float32(dtype):
    logits, labels = (30 * random.normal(size=(50, 20))).astype(dtype), random.integers(0, 20, 50)
    assert nn.cross_entropy(logits, labels).dtype == np.float32
    exact = nn.cross_entropy(logits.astype(np.float32), labels)
    assert float(nn.cross_entropy(logits, labels)) == float(exact)
    # The square of 300 does not exist in float16, and 256 + 1 not in bfloat16.
    error = nn.mean_squared_error(np.full(400, 300, dtype), np.zeros(400, dtype))
    assert (error.dtype, float(error)) == (np.float32, 90000.0)
    ones = nn.mean_squared_error(np.ones(2049, dtype), np.zeros(2049, dtype), reduction="none")
    assert float(sum(ones)) == 2049.0


def test_a_precision_is_taken_back():
    model = CharGPT(CharGPTConfig(1, 1, 8), 11, 6).initialize(0)
    tokens = random.integers(0, 11, (2, 6))
    before = model(tokens)
    nn.Precision("bfloat16").apply(model)
    assert model(tokens).dtype == ml_dtypes.bfloat16
    nn.Precision("float32").apply(model)
    np.testing.assert_array_equal(model(tokens).numpy(), before.numpy())


def test_names_of_precisions():
    kinds = {name: nn.Precision(name) for name in ("float32", "tf32", "bfloat16", "float16")}
    assert [p.dtype.itemsize for p in kinds.values()] == [4, 4, 2, 2]
    assert [p.is_half for p in kinds.values()] == [False, False, True, True]
    assert [p.scales_losses for p in kinds.values()] == [False, False, False, True]
    with pytest.raises(ConfigError, match="no precision 'half'; there are 'float32', 'tf32', "):
        nn.Precision("half")


def test_models_may_be_made_without_being_drawn():
    drawn = CNN(CNNConfig([4], hidden=8), (8, 8), 10).initialize(4)
    with nn.undrawn():
        other = CNN(CNNConfig([4], hidden=8), (8, 8), 10)
    assert all((p.numpy() == 0).all() for p in other.parameters())
    other.initialize(4)
    for p, q in zip(drawn.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())
