"""Gradients of single samples."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.errors import ShapeError

RNG = np.random.default_rng(0)
PARAMS = {"w": RNG.standard_normal((3, 2)), "b": RNG.standard_normal(2), "s": 1.5}
X, Y = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 2))


def loss(p, x, y):
    return ((hnp.tanh(hnp.matmul(x, p["w"]) + p["b"]) * p["s"] - y) ** 2).sum()


def batched_loss(p, x, y):
    hidden = hnp.matmul(x[:, None, :], p["w"])[:, 0] + p["b"]
    return ((hnp.tanh(hidden) * p["s"][:, None] - y) ** 2).sum(axis=1)


def test_both_ways_give_the_gradient_of_each_sample():
    looped = hpcad.per_sample_grad(loss)(PARAMS, X, Y)
    batched = hpcad.per_sample_grad(batched_loss, batched=True)(PARAMS, X, Y)
    for name in PARAMS:
        assert looped[name].shape == (5, *np.shape(PARAMS[name]))
        np.testing.assert_allclose(batched[name], looped[name], rtol=1e-12)
    one = hpcad.grad(loss)(PARAMS, X[2], Y[2])
    np.testing.assert_array_equal(looped["w"][2], one["w"])

    def total(w):
        return batched_loss({"w": w[None], "b": PARAMS["b"], "s": np.full(1, 1.5)}, X, Y).sum()

    np.testing.assert_allclose(looped["w"].sum(axis=0), hpcad.grad(total)(PARAMS["w"]), rtol=1e-12)


@pytest.mark.parametrize("batched", [False, True])
def test_parameters_may_stand_anywhere_and_batches_may_be_empty(batched):
    f = batched_loss if batched else loss
    swapped = hpcad.per_sample_grad(lambda x, y, p: f(p, x, y), -1, batched=batched)
    np.testing.assert_allclose(
        swapped(X, Y, PARAMS)["b"], hpcad.per_sample_grad(loss)(PARAMS, X, Y)["b"], rtol=1e-12
    )
    assert swapped(X[:0], Y[:0], PARAMS)["w"].shape == (0, 3, 2)


@pytest.mark.parametrize("batched", [False, True])
def test_it_can_be_differentiated(batched):
    """The gradient of the sum of squared norms of the gradients."""
    f = batched_loss if batched else loss
    per_sample = hpcad.per_sample_grad(f, batched=batched)

    def penalty(b):
        found = per_sample({**PARAMS, "b": b}, X, Y)
        return (found["b"] ** 2).sum()

    slope = hpcad.grad(penalty)(PARAMS["b"])
    step = np.array([1e-6, 0.0])
    numeric = (penalty(PARAMS["b"] + step) - penalty(PARAMS["b"] - step)) / 2e-6
    np.testing.assert_allclose(slope[0], numeric, rtol=1e-6)


def test_disagreeing_batches_are_refused():
    with pytest.raises(ShapeError, match=r"\[\(4,\), \(5,\)\]"):
        hpcad.per_sample_grad(loss)(PARAMS, X, Y[:4])
    with pytest.raises(ShapeError, match="first axis of every array"):
        hpcad.per_sample_grad(loss)(PARAMS, X, 3.0)
    with pytest.raises(ShapeError, match=r"shape \(5,\), not \(\)"):
        hpcad.per_sample_grad(lambda p, x: batched_loss(p, x, Y).sum(), batched=True)(PARAMS, X)
