"""One rule from the other, held against the rules that every primitive of the table has."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import hpcad.numpy
import hpcad.parallel  # noqa: F401  (its collectives are primitives)
from hpcad.autodiff import PRIMITIVES, Primitive, jvp, linearize, vjp
from hpcad.autodiff.transposed import transposed

_spec = importlib.util.spec_from_file_location(
    "samples_of", Path(__file__).parents[1] / "primitives" / "samples_of.py"
)
_samples = importlib.util.module_from_spec(_spec)
sys.modules["samples_of"] = _samples
_spec.loader.exec_module(_samples)

SAMPLES = _samples.gather()


def chosen(condition):
    """The samples of the primitives that meet a condition."""
    return pytest.mark.parametrize(
        "sample",
        [
            pytest.param(_samples.Sample(primitive, args, params), id=f"{name}-{i}")
            for name, primitive in PRIMITIVES.items()
            if primitive.differentiable and not primitive.constant and condition(primitive)
            for i, (args, params) in enumerate(SAMPLES.get(name, []))
        ],
    )


def with_rules_only(primitive):
    """Words such as "linear" name VJP rules or the primitive: no transpose follows."""
    words = [primitive.jvp] if isinstance(primitive.jvp, str) else primitive.jvp or ()
    return not any(isinstance(word, str) for word in words)


def twin(sample, **rules):
    """The sample with a primitive that has some of the rules only."""
    p = sample.primitive
    made = Primitive(
        p.name, p.value, p.shape, outputs=p.outputs, saves=p.saves, register=False, **rules
    )
    return _samples.Sample(made, sample.args, sample.params)


def close(found, expected):
    for a, b in zip(_samples.as_tuple(found), _samples.as_tuple(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def draw(points):
    rng = np.random.default_rng(0)
    return tuple(_samples.like(np.asarray(x), rng) for x in points)


@chosen(lambda primitive: True)
def test_a_JVP_derived_from_the_VJP_equals_the_rule(sample):
    points = tuple(sample.points)
    vs = draw(points)
    derived = twin(sample, vjp=sample.primitive.vjp, joint=sample.primitive.joint)
    value, tangent = jvp(sample, points, vs)
    found = jvp(derived, points, vs)
    close(found[0], value)
    close(found[1], tangent)
    close(linearize(derived, *points)[1](*vs), tangent)


@chosen(with_rules_only)
def test_a_VJP_derived_from_the_JVP_equals_the_rule(sample):
    points = sample.points
    derived = twin(sample, jvp=sample.primitive.jvp, joint_jvp=sample.primitive.joint_jvp)
    value, pullback = vjp(sample, *points)
    w = draw(_samples.as_tuple(value))
    w = w if sample.primitive.outputs else w[0]
    close(vjp(derived, *points)[1](w), pullback(w))


def test_the_transpose_of_the_transpose_is_the_map():
    A = np.arange(6.0).reshape(2, 3)

    def linear(x, y):
        return [x @ A.T + y, None, y * 2.0]

    once = transposed(linear, [np.zeros(3), np.zeros(2)])
    w = [np.array([1.0, -1.0]), np.ones(4), np.array([0.5, 0.0])]
    x, y = once(w)
    np.testing.assert_allclose(x, A.T @ w[0])
    np.testing.assert_allclose(y, w[0] + 2 * w[2])
    twice = transposed(lambda a, c: once([a, None, c]), [np.zeros(2), np.zeros(2)])
    a, c = twice([np.ones(3), w[0]])
    np.testing.assert_allclose(a, A @ np.ones(3) + w[0])
    np.testing.assert_allclose(c, 2 * w[0])


def test_results_that_do_not_depend_on_an_argument_give_none():
    x, y = transposed(lambda x, y: [x * 2.0, np.ones(2)], [np.zeros(2), np.zeros(3)])(
        [np.ones(2), np.ones(2)]
    )
    np.testing.assert_allclose(x, [2.0, 2.0])
    assert y is None
