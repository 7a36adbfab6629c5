"""Compiled programs on half precision: what eager ones compute, rounded less often.

Eager execution rounds every operation, a program what it stores; so they differ by some units in
the last place, and not at all where both round alike: single operations, and conversions.
"""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import Tensor, nn, optim
from hpcad.autodiff import value_of
from hpcad.autodiff.pytree import flatten
from hpcad.backend.half import named
from hpcad.primitives.elementwise import gelu, relu
from hpcad.primitives.normalization import layer_norm
from hpcad.primitives.product import linear
from hpcad.primitives.softmax import cross_entropy, softmax

pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")

HALVES = {"bfloat16": 2.0**-8, "float16": 2.0**-11}  # the largest relative error of a rounding
ROUNDINGS = 6  # of the largest number of an array, by which programs may differ from eager ones
LABELS = np.random.default_rng(5).integers(0, 16, 24)


def _arguments(half):
    rng = np.random.default_rng(4)
    shapes = ((24, 40), (40, 16), (40,))
    return [Tensor(rng.normal(size=shape).astype(named(half))) for shape in shapes]


def _network(x, w, b):
    return hnp.mean(cross_entropy(gelu(linear(layer_norm(x, b, b), w)), LABELS))


def _normalised(x, w, b):
    return layer_norm(x, b, b)


SINGLE = {
    "add": lambda x, w, b: x + b,
    "divide": lambda x, w, b: x / b,
    "sqrt": lambda x, w, b: hnp.sqrt(hnp.abs(x)),
    "number": lambda x, w, b: x * 0.3,
    "where": lambda x, w, b: hnp.where(x > 0, x, 0.1),
    "clip": lambda x, w, b: hnp.clip(x, -0.5, 0.7),
    "wider": lambda x, w, b: x * np.linspace(0, 1, 40, dtype=np.float32),
    "truth": lambda x, w, b: x * (x > b),
    "concatenate": lambda x, w, b: hnp.concatenate([x, -x]),
    "transpose": lambda x, w, b: hnp.transpose(x) + 1,
    "max": lambda x, w, b: hnp.max(x, axis=1),
    "to_single": lambda x, w, b: hnp.astype(x, np.float32),
    "from_double": lambda x, w, b: hnp.astype(np.linspace(0, 1, 77) * 3, x.dtype),
    "round_trip": lambda x, w, b: (
        hnp.astype(hnp.astype(hnp.astype(x, np.float32) * 1.001, x.dtype), np.float32) * 3
    ),
}
SEVERAL = {
    "chain": lambda x, w, b: hnp.tanh(x * 0.3 + b) * x,
    "sum": lambda x, w, b: hnp.sum(hnp.exp(x), axis=0),
    "mean_of_squares": lambda x, w, b: hnp.mean(x * x),
    "variance": lambda x, w, b: hnp.var(x, axis=1),
    "softmax": lambda x, w, b: softmax(x),
    "layer_norm": _normalised,
    "product": lambda x, w, b: relu(hnp.matmul(hnp.tanh(x), w)) * 2.0,
    "network": _network,
    "gradients": lambda x, w, b: hpcad.grad(_network, argnums=(0, 1, 2))(x, w, b),
    "tangent": lambda x, w, b: hpcad.jvp(_normalised, (x, w, b), (x, w, b)),
}


def _alike(found, expected, half, roundings):
    leaves, structure = flatten(found)
    others, other_structure = flatten(expected)
    assert structure == other_structure
    for x, y in zip(leaves, others, strict=True):
        x, y = np.asarray(value_of(x)), np.asarray(value_of(y))
        assert x.dtype == y.dtype
        x, y = x.astype(np.float64), y.astype(np.float64)
        atol = roundings * HALVES[half] * np.abs(y).max()
        np.testing.assert_allclose(x, y, rtol=0, atol=atol)


@pytest.fixture(scope="module", params=HALVES)
def half(request):
    return request.param


@pytest.fixture(scope="module", params=["C", "NumPy"])
def outcomes(half, request):
    """What all functions return, as one program and eagerly."""

    def everything(*args):
        return {name: function(*args) for name, function in (SINGLE | SEVERAL).items()}

    compiled = hpcad.compile(everything, native=request.param == "C", strict=True)
    for _ in range(3):
        found = compiled(*_arguments(half))
    assert compiled.program is not None
    return found, everything(*_arguments(half))


@pytest.mark.parametrize("name", SINGLE)
def test_programs_that_round_as_eager_ones_do_equal_them(outcomes, half, name):
    found, expected = outcomes
    _alike(found[name], expected[name], half, roundings=0)


@pytest.mark.parametrize("name", SEVERAL)
def test_programs_equal_eager_ones_within_roundings(outcomes, half, name):
    found, expected = outcomes
    _alike(found[name], expected[name], half, ROUNDINGS)


def test_programs_are_closer_to_the_exact_result_than_eager_ones(half):
    """Of a long chain: the program rounds once."""

    def chain(x):
        for _ in range(20):
            x = x * 1.25 - hnp.tanh(x) * 0.25
        return x

    x = np.linspace(-2, 2, 500).astype(named(half))
    exact = chain(x.astype(np.float64))
    compiled = hpcad.compile(chain, strict=True)
    for _ in range(3):
        found = value_of(compiled(Tensor(x)))
    assert compiled.program is not None
    eager = value_of(chain(Tensor(x)))
    errors = [np.abs(y.astype(np.float64) - exact).max() for y in (found, eager)]
    assert errors[0] < errors[1] / 2


def test_infinities_and_nan_pass(half):
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 3e4, -3e4], named(half))
    compiled = hpcad.compile(lambda x: (x * 4, hnp.isnan(x)), strict=True)
    with np.errstate(all="ignore"):
        expected = (x * x.dtype.type(4), np.isnan(x))
        for _ in range(3):
            found = compiled(Tensor(x))
    for one, other in zip(found, expected, strict=True):
        one, other = (np.asarray(value_of(y), np.float32) for y in (one, other))
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.signbit(one), np.signbit(other))


class _Mixed(nn.Module):
    """Parameters in single precision, which are converted to that of the activations."""

    def __init__(self, half):
        self.first, self.norm, self.last = nn.Linear(40, 32), nn.LayerNorm(32), nn.Linear(32, 8)
        self.half = half

    def forward(self, x):
        def converted(layer, *names):
            return [hnp.astype(getattr(layer, name), self.half) for name in names]

        y = gelu(linear(hnp.astype(x, self.half), *converted(self.first, "weight", "bias")))
        y = layer_norm(y, *converted(self.norm, "scale", "shift"))
        return linear(y, *converted(self.last, "weight", "bias"))


def _losses(half, compiled):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(64, 40)).astype(np.float32)
    labels = np.argmax(x @ rng.normal(size=(40, 8)), axis=1)
    model = _Mixed(named(half))
    model.initialize(seed=0)
    optimizer = optim.AdamW(model, 0.01)

    def step(x, labels):
        loss = hnp.mean(cross_entropy(model(x), labels))
        loss.backward()
        optimizer.step()
        return loss

    run = hpcad.compile(step, strict=True) if compiled else step
    losses = [float(run(x, labels)) for _ in range(15)]
    assert model.first.weight.dtype == model.first.weight.grad.dtype == np.float32
    return losses


def test_training_with_weights_in_single_precision_goes_as_without_half(half):
    single = _losses("float32", compiled=True)
    assert single[-1] < single[0] / 10
    for compiled in (False, True):
        np.testing.assert_allclose(_losses(half, compiled), single, rtol=0.03)
