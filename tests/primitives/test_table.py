"""Every primitive in the table, on all of its samples."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import hpcad.parallel
import hpcad.primitives  # noqa: F401  (fills the table)
from hpcad.autodiff import PRIMITIVES, Parameter, check_grads, jvp, linearize, value_of, vjp
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import CONSTANT
from hpcad.errors import DifferentiationError

_spec = importlib.util.spec_from_file_location(
    "samples_of", Path(__file__).parent / "samples_of.py"
)
_samples = importlib.util.module_from_spec(_spec)
sys.modules["samples_of"] = _samples
_spec.loader.exec_module(_samples)
as_tuple, like = _samples.as_tuple, _samples.like

SAMPLES = _samples.gather()
REFERENCES = _samples.gather("REFERENCES")
CONSTRAINTS = _samples.gather("CONSTRAINTS")


def chosen(condition):
    """The samples of the primitives that meet a condition."""
    return pytest.mark.parametrize(
        "sample",
        [
            pytest.param(_samples.Sample(primitive, args, params), id=f"{name}-{i}")
            for name, primitive in PRIMITIVES.items()
            if condition(primitive)
            for i, (args, params) in enumerate(SAMPLES.get(name, []))
        ],
    )


every = chosen(lambda p: True)
differentiable = chosen(lambda p: p.differentiable and not p.constant)


# -- what the table must have -------------------------------------------------------------------


def test_every_primitive_has_samples():
    assert set(PRIMITIVES) == set(SAMPLES)
    assert [name for name in SAMPLES if not SAMPLES[name]] == []


def test_every_primitive_has_another_way_to_its_value_or_what_determines_it():
    assert set(REFERENCES) | set(CONSTRAINTS) == set(PRIMITIVES)
    assert set(REFERENCES) & set(CONSTRAINTS) == set()


def test_every_differentiable_primitive_has_rules_of_its_own_for_both_modes():
    """None is derived from the other by transposition, which is slower."""
    differentiable = {n: p for n, p in PRIMITIVES.items() if p.differentiable and not p.constant}
    assert [name for name, p in differentiable.items() if not p.has_vjp] == []
    assert [name for name, p in differentiable.items() if not p.has_jvp] == []


def test_every_primitive_that_takes_complex_numbers_has_a_complex_sample():
    """All of the following are for real numbers only, and say why by what they are."""

    def complex_somewhere(name):
        return any(getattr(a, "dtype", np.dtype(int)).kind == "c"
                   for args, _ in SAMPLES[name] for a in args)  # fmt: skip

    without = {n for n in SAMPLES if PRIMITIVES[n].differentiable and not complex_somewhere(n)}
    taking = {name for name in without if _takes_complex(PRIMITIVES[name], *SAMPLES[name][0])}
    assert taking - FOR_REAL_NUMBERS == set()


# Meant for real numbers, whatever NumPy makes of complex ones; of the last row the derivatives
# are not implemented for complex numbers, or the answers have phases that differences jump across.
FOR_REAL_NUMBERS = {
    "attention", "cross_entropy", "gelu", "gelu_slope", "global_mean", "layer_norm", "logsumexp",
    "alike", "max_pool", "relu", "sigmoid", "softmax", "softplus", "unpool", "pick",
    "clip", "fmax", "fmin", "max", "maximum", "min", "minimum", "nanmax", "nanmin", "sort",
    "nan_to_num",
    "digamma", "gamma", "eig", "eigh", "svd",
}  # fmt: skip


def _takes_complex(primitive, args, params):
    turned = [a + 0.1j * a if getattr(a, "dtype", None) == np.float64 else a for a in args]
    try:
        with np.errstate(all="ignore"):
            primitive(*turned, **params)
    except (TypeError, ValueError, ArithmeticError, DifferentiationError, Warning):
        return False
    return True


# -- values ---------------------------------------------------------------------------------------


@chosen(lambda p: p.shape is not None)
def test_shape_rule(sample):
    answer = sample(*sample.points)
    shapes = [None if a is None else np.shape(a) for a in sample.args]
    expected = sample.primitive.shape(*shapes, **sample.params)
    expected = list(expected) if sample.primitive.outputs else [expected]
    assert [np.shape(a) for a in as_tuple(answer)] == [tuple(s) for s in expected]


@chosen(lambda p: p.name in REFERENCES)
def test_value_equals_another_way_to_it(sample):
    found = as_tuple(sample(*sample.points))
    expected = as_tuple(REFERENCES[sample.primitive.name](*sample.args, **sample.params))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert_equal_to_rounding(a, b)


@chosen(lambda p: p.name in CONSTRAINTS)
def test_value_meets_what_determines_it(sample):
    answer = sample(*sample.points)
    for a, b in CONSTRAINTS[sample.primitive.name](sample.args, sample.params, answer):
        assert_equal_to_rounding(a, b)


def assert_equal_to_rounding(a, b):
    assert np.shape(a) == np.shape(b)
    size = np.max(np.abs(b), initial=0.0, where=np.isfinite(b))
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * (1.0 + size))


# -- derivatives ----------------------------------------------------------------------------------


@differentiable
def test_both_modes_equal_numerical_differentiation_to_second_order(sample):
    """And each other; the second order by all four nestings of the modes."""
    check_grads(sample, sample.points, order=2)


@differentiable
def test_reading_a_tape_does_not_change_what_it_says(sample):
    """Pulled twice, and pulled with the records consumed; pushed by a tape kept for tangents."""
    rng = np.random.default_rng(1)
    value, pullback = vjp(sample, *sample.points)
    multiple = isinstance(value, tuple)
    ws = tuple(like(y, rng) for y in as_tuple(value))
    ws = ws if multiple else ws[0]
    pulled = pullback(ws)
    again, consumed = pullback(ws), pullback(ws, retain=False)
    vs = [like(x, rng) for x in sample.points]
    pushed = as_tuple(jvp(sample, sample.points, vs)[1])
    kept = as_tuple(linearize(sample, *sample.points)[1](*vs))
    for a, b, c in zip(pulled, again, consumed, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    for a, b in zip(pushed, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@differentiable
def test_arguments_are_left_as_they_are(sample):
    """A rule that works in place works on its own arrays; arguments may not be writeable."""
    before = [np.array(x) for x in sample.points]
    frozen = [np.array(x) for x in sample.points]
    for x in frozen:
        x.flags.writeable = False
    value, pullback = vjp(sample, *frozen)
    pullback(tuple(np.ones_like(y) for y in value) if isinstance(value, tuple)
             else np.ones_like(value))  # fmt: skip
    jvp(sample, frozen, [np.ones_like(x) for x in frozen])
    for x, y in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(x, y)


@chosen(lambda p: p.into)
def test_direct_gradient_equals_the_rule(sample):
    """``into`` writes, and then adds, what the VJP rule returns."""
    primitive, args, params = sample.primitive, sample.args, sample.params
    rng = np.random.default_rng(1)
    w = like(primitive(*args, **params), rng)
    pulled = vjp(sample, *sample.points)[1](w)
    for i, expected in zip(sample.floating, pulled, strict=True):
        if i not in primitive.into:
            continue
        parameter = Parameter(args[i].copy())
        parameter.grad = np.full_like(args[i], np.nan)
        full = [parameter if k == i else a for k, a in enumerate(args)]
        for times in (1, 2):
            primitive(*full, **params).backward(w)
            np.testing.assert_allclose(parameter.grad, times * expected, rtol=1e-12, atol=1e-13)


@differentiable
def test_single_precision_stays_single_precision(sample):
    """In value and derivatives, and these are those of double precision, rounded."""
    if "dtype" in sample.params:
        pytest.skip("the dtype is asked for")
    single = sample.in_single_precision()
    rng = np.random.default_rng(2)
    exact, pullback = vjp(sample, *sample.points)
    values, pull = vjp(single, *single.points)
    ws = tuple(like(y, rng) for y in as_tuple(exact))
    vs = [like(x, rng) for x in sample.points]
    _, pushed = jvp(sample, sample.points, vs)
    narrow = [v.astype(x.dtype) for v, x in zip(vs, single.points, strict=True)]
    _, push = jvp(single, single.points, narrow)
    narrow = [w.astype(y.dtype) for w, y in zip(ws, as_tuple(values), strict=True)]
    several = isinstance(exact, tuple)
    found = pull(tuple(narrow) if several else narrow[0])
    expected = pullback(ws if several else ws[0])
    for y in as_tuple(values):
        assert y.dtype.kind not in "fc" or np.finfo(y.dtype).bits == 32
    for t, y in zip(as_tuple(push), as_tuple(values), strict=True):
        assert t.dtype == y.dtype
    for g, x in zip(found, single.points, strict=True):
        assert g.dtype == x.dtype
    for a, b in zip((*as_tuple(push), *found), (*as_tuple(pushed), *expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-3 * (1 + np.max(np.abs(b), initial=0)))


# -- primitives without derivatives -------------------------------------------------------------


@chosen(lambda p: p.constant)
def test_the_answer_of_a_constant_primitive_is_not_tracked(sample):
    with Tape() as tape:
        answer = as_tuple(sample(*map(tape.input, sample.points)))
    assert {getattr(y, "level", CONSTANT) for y in answer} <= {CONSTANT}
    assert tape.records == []
    for y, expected in zip(answer, as_tuple(sample(*sample.points)), strict=True):
        np.testing.assert_array_equal(value_of(y), expected)


@chosen(lambda p: not p.constant and not p.differentiable)
def test_a_primitive_without_rules_refuses_tracked_tensors_by_name(sample):
    with Tape() as tape, pytest.raises(DifferentiationError, match=sample.primitive.name):
        sample.primitive(*(tape.input(a) if hasattr(a, "dtype") else a for a in sample.args),
                         **sample.params)  # fmt: skip
