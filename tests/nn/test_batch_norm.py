"""Batch normalisation: values against NumPy, derivatives, running averages, buffers."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import nn, optim
from hpcad.autodiff import grad, hvp, jvp
from hpcad.autodiff.numerical.check import check_grads
from hpcad.errors import ConfigError, ShapeError
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

rng = np.random.default_rng(0)
X = 3 * rng.standard_normal((5, 2, 3)) + 100
ROWS = X.reshape(-1, 3)


def layer(**options):
    made = nn.BatchNorm(3, **options)
    made.initialize(0, np.float64)
    made.scale.assign(np.array([1.0, 2.0, 3.0]))
    made.shift.assign(np.array([0.5, 0.0, -0.5]))
    return made


def trained(made, x):
    with nn.training_step(0, 0):
        return made(x)


def test_a_batch_is_normalised_by_its_own_mean_and_variance():
    expected = (X - ROWS.mean(0)) / np.sqrt(ROWS.var(0) + 1e-5) * [1, 2, 3] + [0.5, 0, -0.5]
    np.testing.assert_allclose(trained(layer(), X).numpy(), expected, rtol=1e-10, atol=1e-12)


def test_nothing_cancels_far_from_zero():
    x = (ROWS + 1e4).astype(np.float32)
    made = nn.BatchNorm(3)
    np.testing.assert_allclose(trained(made, x).numpy().std(0), 1, rtol=1e-3)


def test_evaluation_uses_the_running_averages_and_leaves_them():
    made = layer(momentum=0.25)
    trained(made, X)
    mean, variance = 0.25 * ROWS.mean(0), 0.75 + 0.25 * ROWS.var(0, ddof=1)
    np.testing.assert_allclose(made.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(made.running_variance.numpy(), variance, rtol=1e-12)
    expected = (X - mean) / np.sqrt(variance + 1e-5) * [1, 2, 3] + [0.5, 0, -0.5]
    np.testing.assert_allclose(made(X).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(made.running_mean.numpy(), mean, rtol=1e-12)


def loss_of(made):
    return lambda x: hnp.sum(hnp.sin(trained(made, x)))


def test_derivatives_in_both_modes():
    check_grads(loss_of(layer()), (X / 10,), order=2)


def test_derivative_in_evaluation():
    check_grads(lambda x: hnp.sum(hnp.sin(layer()(x))), (X / 10,), order=2)


def test_gradients_of_scale_and_shift():
    made = layer()
    (trained(made, X) * X).sum().backward()
    hat = (X - ROWS.mean(0)) / np.sqrt(ROWS.var(0) + 1e-5)
    np.testing.assert_allclose(made.scale.grad, (X * hat).sum((0, 1)), rtol=1e-8)
    np.testing.assert_allclose(made.shift.grad, X.sum((0, 1)), rtol=1e-12)


def test_a_batch_without_samples_changes_nothing():
    made = layer()
    y = trained(made, X[:0])
    assert y.shape == (0, 2, 3)
    hnp.sum(y).backward()
    assert not made.scale.grad.any()
    assert not made.running_mean.numpy().any()
    assert (made.running_variance.numpy() == 1).all()


def test_one_sample_has_no_variance():
    made = layer()
    assert np.isfinite(trained(made, X[0, :1]).numpy()).all()
    np.testing.assert_allclose(made.running_variance.numpy(), 0.9)


PRODUCTS = [
    lambda f, x, v: jvp(f, (x,), (v,)),
    lambda f, x, v: hvp(f, x, v),
    lambda f, x, _v: grad(f)(x),
]


@pytest.mark.parametrize("product", PRODUCTS)
def test_averages_follow_once_under_transforms(product):
    made = layer()
    product(loss_of(made), X, np.ones_like(X))
    np.testing.assert_allclose(made.running_mean.numpy(), 0.1 * ROWS.mean(0), rtol=1e-12)


def test_averages_follow_once_when_the_forward_pass_is_run_again():
    made = layer()
    grad(hpcad.remat(loss_of(made)))(X)
    np.testing.assert_allclose(made.running_mean.numpy(), 0.1 * ROWS.mean(0), rtol=1e-12)


class Training:
    def __init__(self):
        self.norm = nn.BatchNorm(4)
        self.model = nn.Sequential(nn.Linear(3, 4, False), self.norm, nn.relu, nn.Linear(4, 2))
        self.model.initialize(1, np.float64)
        self.optimizer = optim.AdamW(self.model, 1e-2, weight_decay=0.1, clip_norm=0.5)

    def step(self, x, y):
        with nn.training_step(0, 0):
            loss = nn.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("ahead", [True, False])
def test_compiled_steps_move_the_averages_as_eager_ones_do(ahead, native):
    fast, slow = Training(), Training()
    program = Compiled(fast.step, Options(ahead=ahead, strict=True, native=native))
    for i in range(5):
        x, y = np.random.default_rng(i).standard_normal((7, 3)), np.arange(7) % 2
        np.testing.assert_allclose(float(program(x, y)), float(slow.step(x, y)), rtol=1e-10)
    assert program.program.steps
    for a, b in zip(fast.model.parameters(), slow.model.parameters(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12, err_msg=a.name)


def test_buffers_are_saved_and_loaded_and_never_trained():
    made = Training()
    for p in made.model.parameters():
        p.freeze(False)
    assert made.norm.running_mean.frozen
    assert made.model.parameter_count() == 12 + 8 + 10
    made.step(np.ones((4, 3)) * np.arange(4)[:, None], np.array([0, 1, 0, 1]))
    saved = {name: array.copy() for name, array in made.model.arrays().items()}
    assert saved["stages.1.running_variance"].std() > 0
    other = Training()
    other.model.load(saved)
    np.testing.assert_array_equal(other.norm.running_mean.numpy(), made.norm.running_mean.numpy())
    twin = copy.deepcopy(made.norm.running_mean)
    assert isinstance(twin, nn.Buffer)
    assert twin.frozen


def test_wrong_use_is_explained():
    with pytest.raises(ShapeError, match=r"BatchNorm of 3 features takes arrays \(..., 3\)"):
        layer()(np.ones((2, 4)))
    with pytest.raises(ConfigError, match=r"lie in \[0, 1\]"):
        nn.BatchNorm(3, momentum=2)
    with pytest.raises(ConfigError, match="reduction of a loss"):
        nn.cross_entropy(np.ones((2, 3)), np.array([0, 1]), "sum")


def trainer(folder, steps):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4), nn.relu, nn.Linear(4, 2))
    model.initialize(1)
    x = np.random.default_rng(0).standard_normal((24, 3)).astype(np.float32)
    data = hpcad.ArrayDataset({"x": x, "y": np.arange(24) % 2})
    run = hpcad.Trainer(
        model,
        optim.Adam(model, 1e-2),
        data,
        loss=lambda model, batch: nn.cross_entropy(model(batch["x"]), batch["y"]),
        batch=8,
        steps=steps,
        directory=folder,
    )
    run.run()
    return model.arrays()


def test_a_resumed_run_has_the_averages_of_one_that_was_not_interrupted(tmp_path):
    trainer(tmp_path / "twice", 4)
    twice, once = trainer(tmp_path / "twice", 7), trainer(tmp_path / "once", 7)
    assert once["stages.1.running_mean"].any()
    for name, array in once.items():
        np.testing.assert_array_equal(twice[name], array, err_msg=name)
