"""Every primitive in the table: shape rule, VJP, VJP of the VJP, direct gradient, float32."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import hpcad.parallel
import hpcad.primitives  # noqa: F401  (fills the table)
from hpcad.autodiff import PRIMITIVES, Parameter, check_vjp, value_of, vjp

_spec = importlib.util.spec_from_file_location(
    "samples_of", Path(__file__).parent / "samples_of.py"
)
_samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_samples)
SAMPLES = _samples.gather()

CASES = [
    pytest.param(PRIMITIVES[name], args, params, id=f"{name}-{i}")
    for name in PRIMITIVES
    for i, (args, params) in enumerate(SAMPLES.get(name, []))
]
DIFFERENTIABLE = [case for case in CASES if case.values[0].differentiable]


def first(answer):
    return answer[0] if isinstance(answer, tuple) else answer


def test_every_primitive_has_samples():
    assert set(PRIMITIVES) == set(SAMPLES)


@pytest.mark.parametrize(("primitive", "args", "params"), CASES)
def test_shape_rule(primitive, args, params):
    if primitive.shape is None:
        pytest.skip("its shape depends on the values")
    answer = primitive(*args, **params)
    shapes = [None if a is None else np.shape(a) for a in args]
    expected = primitive.shape(*shapes, **params)
    if primitive.outputs:
        assert [a.shape for a in answer] == list(expected)
    else:
        assert np.shape(answer) == tuple(expected)


@pytest.mark.parametrize(("primitive", "args", "params"), DIFFERENTIABLE)
def test_vjp_equals_numerical_differentiation(primitive, args, params):
    check_vjp(lambda *a: first(primitive(*a, **params)), args)


@pytest.mark.parametrize(("primitive", "args", "params"), DIFFERENTIABLE)
def test_second_order_equals_numerical_differentiation(primitive, args, params):
    """The pullback is differentiated again, with respect to the arguments and the cotangent."""
    floating = [i for i, a in enumerate(args) if a is not None and a.dtype.kind == "f"]

    def pull_all(w, *inputs):
        full = list(args)
        for i, x in zip(floating, inputs, strict=True):
            full[i] = x

        def restricted(*chosen):
            for i, x in zip(floating, chosen, strict=True):
                full[i] = x
            return first(primitive(*full, **params))

        _, pullback = vjp(restricted, *inputs)
        total = 0.0
        for k, part in enumerate(pullback(w)):
            total = total + (part * probes[k]).sum()
        return total

    w = np.asarray(first(primitive(*args, **params))) * 0 + 0.7
    r = np.random.default_rng(3)
    probes = [r.standard_normal(args[i].shape) for i in floating]
    check_vjp(pull_all, [w, *(args[i] for i in floating)], rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(("primitive", "args", "params"), DIFFERENTIABLE)
def test_direct_gradient_equals_the_rule(primitive, args, params):
    """``into`` writes, and then adds, what the VJP rule returns."""
    for i in primitive.into:
        if args[i] is None:
            continue
        parameter = Parameter(args[i].copy())
        parameter.grad = np.full_like(args[i], np.nan)
        full = [parameter if k == i else a for k, a in enumerate(args)]
        w = np.random.default_rng(1).standard_normal(np.shape(primitive(*args, **params)))

        def restricted(x, i=i):
            return primitive(*(x if k == i else a for k, a in enumerate(args)), **params)

        expected = value_of(vjp(restricted, args[i])[1](w)[0])
        primitive(*full, **params).backward(w)
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-12, atol=1e-13)
        primitive(*full, **params).backward(w)
        np.testing.assert_allclose(parameter.grad, 2 * expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("primitive", "args", "params"), DIFFERENTIABLE)
def test_float32_stays_float32(primitive, args, params):
    if primitive.name == "cast":
        pytest.skip("casts on purpose")
    singles = [a.astype(np.float32) if getattr(a, "dtype", None) == np.float64 else a for a in args]
    floating = [i for i, a in enumerate(singles) if getattr(a, "dtype", None) == np.float32]
    seen = []

    def restricted(*chosen):
        full = list(singles)
        for i, x in zip(floating, chosen, strict=True):
            full[i] = x
        seen.append(full)
        return first(primitive(*full, **params))

    value, pullback = vjp(restricted, *(singles[i] for i in floating))
    assert value.dtype == np.float32
    for cotangent in pullback(np.ones(value.shape, np.float32)):
        assert cotangent.dtype == np.float32
