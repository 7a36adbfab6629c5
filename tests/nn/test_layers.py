"""Layers and models: values against plain NumPy, gradients against numerical differentiation."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn
from hpcad.autodiff import value_of
from hpcad.errors import ConfigError, ShapeError
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

rng = np.random.default_rng(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gradient_matches(model, loss, rtol=1e-6):
    """Backward along a random direction of all parameters equals a central difference."""
    model.initialize(7, np.float64)
    arenas = nn.flatten(model)
    loss().backward()
    (arena,) = arenas
    arena.zero_unused()
    direction = rng.standard_normal(arena.values.size)
    exact = arena.grads.flat @ direction
    values = arena.values.flat.copy()

    def at(h):
        arena.values.flat[:] = values + h * direction
        return float(loss())

    h = 1e-5
    numerical = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    np.testing.assert_allclose(numerical, exact, rtol=rtol)


def test_lstm_against_numpy():
    cell = nn.LSTM(3, 4)
    cell.initialize(1, np.float64)
    x = rng.standard_normal((2, 5, 3))
    W, U, b = (value_of(p) for p in cell.parameters())
    h = c = np.zeros((2, 4))
    for t in range(5):
        i, f, o, g = np.split(x[:, t] @ W + h @ U + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    outputs, (h_end, c_end) = cell(x)
    np.testing.assert_allclose(outputs.numpy()[:, -1], h, rtol=1e-12)
    np.testing.assert_allclose(h_end.numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(c_end.numpy(), c, rtol=1e-12)


def test_gru_against_numpy():
    cell = nn.GRU(3, 4)
    cell.initialize(1, np.float64)
    x = rng.standard_normal((2, 5, 3))
    W, U, b = (value_of(p) for p in cell.parameters())
    h = np.zeros((2, 4))
    for t in range(5):
        (xr, xu, xn), (hr, hu, hn) = np.split(x[:, t] @ W + b, 3, 1), np.split(h @ U, 3, 1)
        r, u = sigmoid(xr + hr), sigmoid(xu + hu)
        h = (1 - u) * np.tanh(xn + r * hn) + u * h
    np.testing.assert_allclose(cell(x)[0].numpy()[:, -1], h, rtol=1e-12)


def test_rnn_continues_from_a_state():
    cell = nn.RNN(3, 4)
    cell.initialize(1, np.float64)
    x = rng.standard_normal((2, 6, 3))
    whole, _ = cell(x)
    first, state = cell(x[:, :4])
    second, _ = cell(x[:, 4:], state.detach())
    joined = np.concatenate([first.numpy(), second.numpy()], axis=1)
    np.testing.assert_allclose(joined, whole.numpy(), rtol=1e-12)


def test_attention_is_causal():
    layer = nn.CausalSelfAttention(8, 2)
    layer.initialize(1, np.float64)
    x = rng.standard_normal((1, 5, 8))
    y = layer(x).numpy()
    x[0, 3:] += 1.0
    changed = layer(x).numpy()
    np.testing.assert_array_equal(y[0, :3], changed[0, :3])
    assert not np.allclose(y[0, 3:], changed[0, 3:])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradient_of_recurrent_models(cell):
    model = RecurrentClassifier(RecurrentConfig(cell, 5), 4, 3)
    batch = {"x": rng.standard_normal((3, 6, 4)), "y": np.array([0, 2, 1])}
    gradient_matches(model, lambda: model.loss(batch))


def test_gradient_of_mlp():
    model = MLP(MLPConfig([7, 6]), 12, 3)
    batch = {"x": rng.standard_normal((4, 3, 4)), "y": np.array([0, 2, 1, 1])}
    gradient_matches(model, lambda: model.loss(batch))


def test_gradient_of_cnn():
    model = CNN(CNNConfig([3, 4], 6), (8, 9), 3)
    batch = {"x": rng.standard_normal((4, 8, 9)), "y": np.array([0, 2, 1, 1])}
    gradient_matches(model, lambda: model.loss(batch))


def test_gradient_of_char_gpt():
    model = CharGPT(CharGPTConfig(layers=2, heads=2, width=8, bias=True), 11, 6)
    batch = {"x": rng.integers(0, 11, (3, 6)), "y": rng.integers(0, 11, (3, 6))}
    gradient_matches(model, lambda: model.loss(batch))


def test_an_untrained_gpt_knows_nothing():
    model = CharGPT(CharGPTConfig(), 65, 16)
    model.initialize(0)
    tokens = rng.integers(0, 65, (8, 16))
    loss = float(model.loss({"x": tokens, "y": rng.integers(0, 65, (8, 16))}))
    assert abs(loss - np.log(65)) < 0.1


def test_gpt_continues_a_prompt():
    model = CharGPT(CharGPTConfig(layers=1, heads=1, width=8), 11, 6)
    model.initialize(0)
    out = model.generate(np.array([1, 2, 3]), 10, seed=5)
    np.testing.assert_array_equal(out, model.generate(np.array([1, 2, 3]), 10, seed=5))
    assert out.shape == (13,)
    assert ((out >= 0) & (out < 11)).all()


def test_dropout_acts_only_in_a_training_step_and_by_sample():
    layer = nn.Dropout(0.25)
    x = np.ones((6, 400), np.float32)
    assert layer(x) is x
    with nn.training_step(seed=1, step=4, ids=np.arange(6)):
        whole = layer(x)
    kept = whole != 0
    assert abs(kept.mean() - 0.75) < 0.03
    np.testing.assert_allclose(whole[kept], 1 / 0.75, rtol=1e-6)
    with nn.training_step(seed=1, step=4, ids=np.array([5, 0])):
        np.testing.assert_array_equal(layer(x[:2]), whole[[5, 0]])
    with nn.training_step(seed=1, step=5, ids=np.arange(6)):
        assert not np.array_equal(layer(x), whole)


def test_wrong_use_is_explained():
    with pytest.raises(ConfigError, match="dropout rate"):
        nn.Dropout(1.0)
    with pytest.raises(ConfigError, match="multiple of the number of heads"):
        nn.CausalSelfAttention(10, 3)
    with pytest.raises(ShapeError, match=r"x has 5 features.*takes 3"):
        nn.Linear(3, 4)(np.ones((2, 5), np.float32))
    with pytest.raises(ShapeError, match="smaller than the kernel"):
        nn.Conv2d(1, 2, kernel=5)(np.ones((1, 3, 3, 1), np.float32))
    with pytest.raises(ShapeError, match=r"labels of shape \(2,\)"):
        nn.cross_entropy(np.ones((2, 3)), np.array([1]))
    with pytest.raises(ConfigError, match="too small"):
        CNN(CNNConfig([2, 2, 2]), (4, 4), 2)
