"""Laws of differentiation on random programs from the whole table of primitives."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hpcad.numpy as hnp
from hpcad.autodiff import (
    PRIMITIVES,
    Parameter,
    Tape,
    grad,
    jvp,
    linearize,
    no_grad,
    value_and_grad,
    vjp,
)
from hpcad.autodiff import tape as tape_module
from hpcad.autodiff.state import STATE


def _sibling(name):
    """Import a helper of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


programs = _sibling("programs")
numerical = _sibling("numerical")


def law(examples):
    return settings(
        derandomize=True,
        deadline=None,
        max_examples=examples,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def gradients(program, xs):
    """By the transform, for all inputs at once."""
    value, found = value_and_grad(program, tuple(range(len(xs))))(*xs)
    return float(value), [np.asarray(g) for g in found]


def backward(program, xs, between=None):
    """By parameters and the ambient tape."""
    parameters = [Parameter(x) for x in xs]
    loss = program(*parameters, between=between)
    loss.backward()
    return float(loss), parameters


def close(found, expected, rtol=1e-9):
    """Relative to the largest element: sums in another order differ in the last bits."""
    for g, e in zip(found, expected, strict=True):
        assert np.shape(g) == np.shape(e)
        scale = 1.0 + np.max(np.abs(e), initial=0.0)
        np.testing.assert_allclose(g, e, rtol=rtol, atol=rtol * scale)


@law(600)
@given(programs.PROGRAMS, programs.inputs())
def test_reverse_mode_equals_numerical_differentiation(program, xs):
    v = numerical.directions(xs)
    expected = numerical.trusted_slope(program, xs, v)
    value, found = gradients(program, xs)
    assert value == pytest.approx(float(program(*xs)), rel=1e-12)
    assert numerical.inner(found, v) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@law(300)
@given(programs.PROGRAMS, programs.inputs(2))
def test_gradient_of_the_gradient_equals_numerical_differentiation(program, xs):
    v, w = numerical.directions(xs, 5), numerical.directions(xs, 6)
    every = tuple(range(len(xs)))

    def along(*at):  # <grad f, v>, a scalar function of the inputs
        total = 0.0
        for g, part in zip(grad(program, every)(*at), v, strict=True):
            total = total + hnp.sum(g * part)
        return total

    expected = numerical.trusted_slope(along, xs, w)
    found = grad(along, every)(*xs)
    assert numerical.inner(found, w) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@law(300)
@given(programs.PROGRAMS, programs.inputs())
def test_forward_mode_equals_reverse_mode(program, xs):
    """<grad f, v> is the derivative along v; also from a tape that is kept for tangents."""
    v = numerical.directions(xs)
    expected, found = gradients(program, xs)
    value, tangent = jvp(program, xs, v)
    assert float(value) == pytest.approx(expected, rel=1e-12)
    scale = 1.0 + sum(float(np.sum(np.abs(g * part))) for g, part in zip(found, v, strict=True))
    assert numerical.inner(found, v) == pytest.approx(float(tangent), abs=1e-11 * scale)
    assert float(linearize(program, *xs)[1](*v)) == float(tangent)


@law(100)
@given(programs.PROGRAMS, programs.inputs(2))
def test_the_modes_commute(program, xs):
    """Forward over reverse and reverse over forward are the same Hessian times a vector."""
    v = numerical.directions(xs)
    every = tuple(range(len(xs)))
    outer = jvp(grad(program, every), xs, v)[1]
    inner = grad(lambda *at: jvp(program, at, v)[1], every)(*xs)
    close(inner, outer)


@law(200)
@given(programs.PROGRAMS, programs.inputs())
def test_parameters_and_the_transform_agree(program, xs):
    """A second pass adds, on the path that writes into gradients that exist."""
    value, expected = gradients(program, xs)
    loss, parameters = backward(program, xs)
    assert loss == pytest.approx(value, rel=1e-13)
    close([p.grad for p in parameters], expected)
    program(*parameters).backward()
    close([p.grad for p in parameters], [2 * g for g in expected])


@law(150)
@given(programs.PROGRAMS, programs.inputs(1), st.integers(2, 3))
def test_a_shared_parameter_gets_the_sum_of_its_places(program, xs, places):
    _, apart = gradients(program, xs * places)
    shared = Parameter(xs[0])
    program(*[shared] * places).backward()
    close([shared.grad], [sum(apart)])


@law(150)
@given(programs.PROGRAMS, programs.inputs())
def test_freeing_never_changes_a_gradient(program, xs):
    """Bit for bit: with every intermediate kept alive, and with none."""
    kept = []
    _, held = backward(program, xs, between=lambda pool: kept.append(list(pool)))
    _, freed = backward(program, xs)
    for p, q in zip(held, freed, strict=True):
        np.testing.assert_array_equal(p.grad, q.grad)


@law(150)
@given(programs.PROGRAMS, programs.inputs())
def test_pruning_never_changes_a_gradient(program, xs):
    """The tape is pruned at nearly every step, among records that nobody needs any more."""
    _, expected = backward(program, xs)
    prunes = []

    class Counted(Tape):
        __slots__ = ()

        def _prune(self):
            prunes.append(len(self.records))
            super()._prune()
            self._prune_at = 0

    parameters = [Parameter(x) for x in xs]
    bystander = Parameter(np.array(0.5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tape_module, "Tape", Counted)
        patch.setattr(tape_module, "PRUNE_FROM", 0)
        patch.setattr(STATE, "ambient", lambda: None)  # another test's tensor may still live
        loss = program(*parameters, between=lambda _pool: hnp.sin(bystander) * 2.0)
        tape = loss.follower
        loss.backward()
    assert isinstance(tape, Counted)
    assert prunes
    for p, q in zip(parameters, expected, strict=True):
        np.testing.assert_array_equal(p.grad, q.grad)
    assert bystander.grad is None


@law(200)
@given(programs.PROGRAMS, programs.inputs(), st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_memory_layout_never_changes_a_gradient(program, xs, kinds):
    """Fortran order, negative strides, read-only views with gaps."""
    value, expected = gradients(program, xs)
    others = [programs.relaid(x, kind) for x, kind in zip(xs, kinds, strict=False)]
    moved, found = gradients(program, others)
    assert moved == pytest.approx(value, rel=1e-12)
    close(found, expected)


@law(200)
@given(programs.PROGRAMS, programs.inputs())
def test_float32_stays_float32(program, xs):
    singles = [x.astype(np.float32) for x in xs]
    dtypes = []
    value, found = value_and_grad(program, tuple(range(len(xs))))(*singles)
    program(*singles, between=lambda pool: dtypes.extend(v.dtype for v in pool))
    assert {*dtypes, value.dtype, *(g.dtype for g in found)} == {np.dtype(np.float32)}


@law(150)
@given(programs.PROGRAMS, programs.inputs())
def test_inputs_and_cotangents_are_left_as_they_are(program, xs):
    before = [x.copy() for x in xs]
    _, pullback = vjp(program, *xs)
    w = np.array(1.0)
    first = [np.array(g) for g in pullback(w)]
    for x, y in zip(xs, before, strict=True):
        np.testing.assert_array_equal(x, y)
    for g, again in zip(first, pullback(w), strict=True):
        np.testing.assert_array_equal(g, again)
    assert w == 1.0


@law(100)
@given(programs.PROGRAMS, programs.inputs())
def test_a_pullback_is_linear(program, xs):
    _, pullback = vjp(program, *xs)
    once, thrice = pullback(np.array(1.0)), pullback(np.array(3.0))
    close([3.0 * np.asarray(g) for g in once], thrice)


@law(100)
@given(programs.PROGRAMS, programs.inputs())
def test_without_recording_the_value_is_the_same(program, xs):
    parameters = [Parameter(x) for x in xs]
    recorded = program(*parameters)
    with no_grad():
        plain = program(*parameters)
    assert float(plain) == float(recorded)
    assert plain.follower is None


@law(100)
@given(programs.PROGRAMS, programs.inputs(2))
def test_a_gradient_penalty_reaches_the_parameters(program, xs):
    """grad() inside the loss, backward() through it: the same as nested transforms."""
    every = tuple(range(len(xs)))

    def penalty(*at):
        return sum((hnp.square(g)).sum() for g in grad(program, every)(*at))

    expected = grad(penalty, every)(*xs)
    parameters = [Parameter(x) for x in xs]
    loss = penalty(*parameters)
    if loss.follower is None:  # the gradient is constant: a program of linear steps
        close(expected, [np.zeros(x.shape) for x in xs])
        return
    loss.backward()
    found = [np.zeros(p.shape) if p.grad is None else p.grad for p in parameters]
    close(found, expected, rtol=1e-8)


def test_the_programs_are_made_of_a_third_of_the_table():
    """The others are tested one by one (tests/primitives), and are of the same kinds."""
    used = set()

    class Seen(Tape):
        __slots__ = ()

        def process(self, primitive, args, params):
            used.add(primitive.name)
            return super().process(primitive, args, params)

    for shape in [(3, 4), (2, 3, 4), (2,), ()]:
        for name in programs.OPERATIONS:
            with Seen() as tape:
                x = tape.input(np.linspace(-1.0, 1.0, int(np.prod(shape))).reshape(shape))
                for k in range(24):
                    programs.Program(((name, 0, k, k),))(x)
    differentiable = {name for name, p in PRIMITIVES.items() if p.differentiable}
    assert len(used & differentiable) >= len(differentiable) / 3
    assert len(used) >= 70
