"""Optimizers against their formulas, written out per parameter in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn, optim
from hpcad.errors import ConfigError

rng = np.random.default_rng(1)


def model_of(shapes=((300, 200), (200,), (7,))):
    """More elements than one chunk of an update, and weights between vectors."""
    model = nn.Module()
    model.items = [nn.Parameter(rng.standard_normal(shape)) for shape in shapes]
    return model


def run(optimizer, model, steps=3):
    """Take steps with random gradients; return the gradients."""
    history = []
    for _ in range(steps):
        grads = [rng.standard_normal(p.shape) for p in model.items]
        history.append([g.copy() for g in grads])
        for p, g in zip(model.items, grads, strict=True):
            p.accumulate(g)
        optimizer.step()
    return history


def check(make, formula, steps=3):
    model = model_of()
    values = [p.numpy().copy() for p in model.items]
    optimizer = make(model)
    history = run(optimizer, model, steps)
    for i, p in enumerate(model.items):
        expected = formula(values[i], [grads[i] for grads in history])
        np.testing.assert_allclose(p.value, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd(momentum, nesterov):
    if nesterov and not momentum:
        pytest.skip("Nesterov needs momentum")

    def formula(p, grads):
        v = np.zeros_like(p)
        for g in grads:
            g = g + (0.01 * p if p.ndim >= 2 else 0)
            v = momentum * v + g
            p = p - 0.1 * (g + momentum * v if nesterov else v)
        return p

    check(
        lambda m: optim.SGD(m, 0.1, momentum=momentum, nesterov=nesterov, weight_decay=0.01),
        formula,
    )


def test_rmsprop():
    def formula(p, grads):
        s = np.zeros_like(p)
        for g in grads:
            s = 0.9 * s + 0.1 * g * g
            p = p - 0.01 * g / (np.sqrt(s) + 1e-6)
        return p

    check(lambda m: optim.RMSProp(m, 0.01, alpha=0.9, eps=1e-6), formula)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(decoupled):
    def formula(p, grads):
        m = v = np.zeros_like(p)
        decay = 0.1 if p.ndim >= 2 else 0.0
        for t, g in enumerate(grads, start=1):
            if decoupled:
                p = p - 0.01 * decay * p
            else:
                g = g + decay * p
            m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
            p = p - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        return p

    kind = optim.AdamW if decoupled else optim.Adam
    check(lambda m: kind(m, 0.01, betas=(0.9, 0.99), weight_decay=0.1), formula)


def test_clipping_scales_the_whole_gradient():
    model = model_of()
    values = [p.numpy().copy() for p in model.items]
    optimizer = optim.SGD(model, 1.0, clip_norm=0.5)
    (grads,) = run(optimizer, model, 1)
    norm = np.sqrt(sum((g * g).sum() for g in grads))
    np.testing.assert_allclose(optimizer.gradient_norm, norm, rtol=1e-12)
    for p, before, g in zip(model.items, values, grads, strict=True):
        np.testing.assert_allclose(before - p.value, g * 0.5 / norm, rtol=1e-9, atol=1e-12)


def test_small_gradients_are_not_clipped():
    model = model_of()
    optimizer = optim.SGD(model, 1.0, clip_norm=1e9)
    values = [p.numpy().copy() for p in model.items]
    (grads,) = run(optimizer, model, 1)
    np.testing.assert_allclose(values[0] - model.items[0].value, grads[0], rtol=1e-12, atol=1e-14)


def test_unused_and_frozen_parameters():
    model = model_of()
    used, unused, frozen = model.items
    frozen.freeze()
    optimizer = optim.AdamW(model, 0.1, weight_decay=0.1)
    before = [p.numpy().copy() for p in model.items]
    for _ in range(2):
        (used * 2.0).sum().backward()
        unused.grad[...] = 5.0  # stale: no backward wrote it
        optimizer.step()
    assert not np.array_equal(used.value, before[0])
    np.testing.assert_array_equal(unused.value, before[1])
    np.testing.assert_array_equal(frozen.value, before[2])


def test_state_by_name_restores_the_run():
    model, other = model_of(), model_of()
    optimizer, twin = optim.Adam(model, 0.1), optim.Adam(other, 0.1)
    run(optimizer, model)
    other.load(model.arrays())
    twin.load({k: v.copy() for k, v in optimizer.arrays().items()}, optimizer.step_count)
    assert "m/items.0" in optimizer.arrays()
    for p, q in zip(model.items, other.items, strict=True):
        g = rng.standard_normal(p.shape)
        p.accumulate(g)
        q.accumulate(g)
    optimizer.step()
    twin.step()
    for p, q in zip(model.items, other.items, strict=True):
        np.testing.assert_array_equal(p.value, q.value)


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="clip_norm must be positive"):
        optim.SGD(model_of(), 0.1, clip_norm=0.0)
