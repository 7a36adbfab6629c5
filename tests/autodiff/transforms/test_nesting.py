"""Nested transforms: every order of modes, no perturbation confusion, no state left behind."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import Parameter
from hpcad.autodiff.state import STATE


def by_reverse(f):
    return hpcad.grad(f)


def by_forward(f):
    return lambda x: hpcad.jvp(f, (x,), (1.0,))[1]


def by_linearization(f):
    return lambda x: hpcad.linearize(f, x)[1](1.0)


MODES = {"reverse": by_reverse, "forward": by_forward, "linearize": by_linearization}
PAIRS = list(itertools.product(MODES, repeat=2))


@pytest.mark.parametrize("modes", PAIRS, ids=str)
def test_perturbations_are_not_confused(modes):
    """d/dx [x d/dy (x + y)] = 1 and its kin."""
    outer, inner = (MODES[mode] for mode in modes)
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(2.0) == 1.0
    assert outer(lambda x: x * inner(lambda y: x * y)(1.0))(3.0) == 6.0
    assert outer(lambda x: inner(lambda y: x)(1.0))(3.0) == 0.0
    assert outer(lambda x: inner(lambda y: x * x * y)(x))(3.0) == 6.0
    assert outer(lambda x: inner(lambda y: y * y * x)(x))(3.0) == 12.0


@pytest.mark.parametrize("modes", list(itertools.product(MODES, repeat=3)), ids=str)
def test_perturbations_are_not_confused_three_deep(modes):
    """d/dx x d/dy y d/dz (x y z) = d/dx x d/dy (x y^2) = d/dx 2 x^2 y."""
    d1, d2, d3 = (MODES[mode] for mode in modes)
    found = d1(lambda x: x * d2(lambda y: y * d3(lambda z: x * y * z)(1.0))(5.0))(3.0)
    assert found == 4 * 3.0 * 5.0
    found = d1(lambda x: d2(lambda y: d3(lambda z: hnp.sin(x * y * z))(y) * x)(x))(0.7)
    x = 0.7  # d/dx of x^2 cos(x^3) - 2 x^5 sin(x^3)
    c, s = np.cos(x**3), np.sin(x**3)
    expected = 2 * x * c - 13 * x**4 * s - 6 * x**7 * c
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def closed(order, x):
    t = np.tanh(x)
    s = 1 - t * t
    return [s, -2 * t * s, s * (6 * t * t - 2), s * (16 * t - 24 * t**3)][order - 1]


@pytest.mark.parametrize("order", [2, 3, 4])
def test_derivatives_of_tanh_by_every_order_of_modes(order):
    for modes in itertools.product((by_reverse, by_forward), repeat=order):
        f = hnp.tanh
        for mode in modes:
            f = mode(f)
        np.testing.assert_allclose(f(0.3), closed(order, 0.3), rtol=1e-10)


def test_derivatives_of_tanh_by_mixtures_with_linearize():
    for modes in itertools.product(MODES.values(), repeat=3):
        f = hnp.tanh
        for mode in modes:
            f = mode(f)
        np.testing.assert_allclose(f(-0.4), closed(3, -0.4), rtol=1e-10)


def test_closures_capture_tensors_of_outer_levels():
    def outer(x):
        held = [x, {"k": x * x}]

        def inner(y):
            return held[0] * y + hnp.exp(held[1]["k"] * y)

        return hpcad.grad(inner)(0.5)  # x + x^2 exp(x^2 / 2)

    x = 0.8
    e = np.exp(x * x / 2)
    for mode in MODES.values():
        np.testing.assert_allclose(mode(outer)(x), 1 + 2 * x * e + x**3 * e, rtol=1e-12)


# -- pullbacks and pushforwards are functions like others -----------------------------------


def cube(x):
    return hnp.sin(x) * x**2


X = np.array([0.3, -0.8])
V = np.array([1.0, 2.0])
C1 = np.cos(X) * X**2 + 2 * X * np.sin(X)
C2 = -np.sin(X) * X**2 + 4 * X * np.cos(X) + 2 * np.sin(X)


def test_a_pullback_made_outside_is_applied_inside_another_transform():
    _, pullback = hpcad.vjp(cube, X)
    np.testing.assert_allclose(hpcad.grad(lambda w: (pullback(w)[0] * V).sum())(X), C1 * V)
    _, tangent = hpcad.jvp(lambda w: pullback(w * w)[0], (V,), (X,))
    np.testing.assert_allclose(tangent, C1 * 2 * V * X)


def test_a_pullback_is_differentiated_by_the_point_it_was_made_at():
    def at(x, w):
        return hpcad.vjp(cube, x)[1](w)[0]

    _, tangent = hpcad.jvp(at, (X, V), (V, 0 * V))
    np.testing.assert_allclose(tangent, C2 * V * V)
    _, pullback = hpcad.vjp(at, X, V)
    by_x, by_w = pullback(np.ones(2))
    np.testing.assert_allclose(by_x, C2 * V)
    np.testing.assert_allclose(by_w, C1)
    _, pushforward = hpcad.linearize(at, X, V)
    np.testing.assert_allclose(pushforward(V, V), C2 * V * V + C1 * V)


def test_linearize_inside_grad_and_grad_inside_linearize():
    inside = hpcad.grad(lambda x: (hpcad.linearize(cube, x)[1](V) * V).sum())
    np.testing.assert_allclose(inside(X), C2 * V * V)
    _, pushforward = hpcad.linearize(hpcad.grad(lambda x: cube(x).sum()), X)
    np.testing.assert_allclose(pushforward(V), C2 * V)
    np.testing.assert_allclose(pushforward(2 * V), C2 * 2 * V)


def test_a_pushforward_is_differentiated_by_its_tangent():
    _, pushforward = hpcad.linearize(cube, X)
    _, pullback = hpcad.vjp(pushforward, V)
    np.testing.assert_allclose(pullback(V)[0], C1 * V)


def test_transforms_of_loops_branches_and_recursion():
    def newton(a, x=1.0, depth=0):
        if depth == 8:
            return x
        return newton(a, 0.5 * (x + a / x), depth + 1)

    def looped(a):
        x, n = a, 0
        while x > 1e-3:
            x = x * 0.5 if n % 2 else x - x * a * 0.1
            n += 1
            if n > 6:
                break
        return x

    for order, modes in enumerate(itertools.product(MODES.values(), repeat=2)):
        f = newton
        for mode in modes:
            f = mode(f)
        np.testing.assert_allclose(f(2.0), -0.25 * 2.0**-1.5, rtol=1e-10, err_msg=str(order))
    step = 1e-5
    slope = (looped(0.7 + step) - looped(0.7 - step)) / (2 * step)
    for mode in MODES.values():
        np.testing.assert_allclose(mode(looped)(0.7), slope, rtol=1e-8)


def test_mixed_nests_reach_parameters():
    """d/dp of (f''(x) by forward over reverse), by backward on the ambient tape."""
    p = Parameter(np.array(0.7))
    curvature = by_forward(by_reverse(lambda x: hnp.sin(p * x)))(0.4)
    curvature.backward()
    u = 0.7 * 0.4
    np.testing.assert_allclose(p.grad, -2 * 0.7 * np.sin(u) - 0.49 * 0.4 * np.cos(u), rtol=1e-12)


# -- state ----------------------------------------------------------------------------------


def fails(*_):
    raise RuntimeError("user code")


def transforms_that_fail():
    def recorded():
        with hpcad.Tape() as tape:
            tape.watch(1.0)
            fails()

    yield "grad", lambda: hpcad.grad(fails)(1.0)
    yield "vjp", lambda: hpcad.vjp(fails, 1.0)
    yield "jvp", lambda: hpcad.jvp(fails, (1.0,), (1.0,))
    yield "linearize", lambda: hpcad.linearize(fails, 1.0)
    yield "hessian", lambda: hpcad.hessian(fails)(X)
    yield "laplacian", lambda: hpcad.laplacian(fails)(X)
    yield "tape", recorded
    yield "nested", lambda: hpcad.grad(lambda x: hpcad.jvp(fails, (x,), (x,))[1])(1.0)
    yield "shape", lambda: hpcad.hvp(lambda x: x + np.ones(7), X, X)


@pytest.mark.parametrize(("name", "run"), list(transforms_that_fail()))
def test_a_failed_trace_leaves_no_state_behind(name, run):
    del name
    recording, observer = STATE.recording, STATE.observer
    for _ in range(3):
        with pytest.raises((RuntimeError, hpcad.errors.HpcadError)):
            run()
        with pytest.raises((RuntimeError, hpcad.errors.HpcadError)):
            hpcad.grad(lambda x: run() or x)(1.0)
        assert STATE.depth == 0
        assert STATE.traces == []
        assert (STATE.recording, STATE.observer) == (recording, observer)
    assert hpcad.grad(hpcad.grad(lambda x: x**3))(2.0) == 12.0


def test_a_failed_pull_leaves_no_state_behind():
    bad = hpcad.autodiff.Primitive(
        "bad", lambda x: x, None, [lambda g, _z, _x: fails()], jvp="linear", register=False
    )
    with pytest.raises(RuntimeError):
        hpcad.grad(lambda x: hpcad.grad(bad)(x))(1.0)
    assert (STATE.depth, STATE.traces) == (0, [])
