"""Differential equations: solutions, and derivatives of the discrete solution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import Parameter, Tape
from hpcad.errors import ConfigError, ConvergenceError, DifferentiationError, ShapeError

T = np.linspace(0.0, 2.0, 5)


def decay(y, t, k):
    return -k * y


def oscillator(state, t, w):
    return {"x": state["v"], "v": -w * w * state["x"]}


@pytest.mark.parametrize("options", [{}, {"method": "rk4", "steps": 40}])
def test_solutions_of_equations_with_known_ones(options):
    y = hpcad.odeint(decay, np.array([1.0, 2.0]), T, 0.7, rtol=1e-10, atol=1e-12, **options)
    assert y.shape == (5, 2)
    np.testing.assert_allclose(y, np.exp(-0.7 * T)[:, None] * [1.0, 2.0], rtol=1e-7)
    s = hpcad.odeint(oscillator, {"x": 1.0, "v": 0.0}, T, 2.0, rtol=1e-9, atol=1e-11, **options)
    np.testing.assert_allclose(s["x"], np.cos(2 * T), atol=1e-6)
    back = hpcad.odeint(decay, y[-1], T[::-1], 0.7, rtol=1e-10, atol=1e-12, **options)
    np.testing.assert_allclose(back[-1], [1.0, 2.0], rtol=1e-6)
    forced = hpcad.odeint(lambda y, t: hnp.cos(t) + 0 * y, 0.0, T, rtol=1e-9, **options)
    np.testing.assert_allclose(forced, np.sin(T), atol=1e-6)


def test_orders_of_convergence():
    errors = [
        abs(hpcad.odeint(decay, 1.0, T[[0, -1]], 1.0, method="rk4", steps=n)[-1] - np.exp(-2.0))
        for n in (10, 20)
    ]
    assert 14 < errors[0] / errors[1] < 18
    loose, tight = (
        abs(hpcad.odeint(decay, 1.0, T[[0, -1]], 1.0, rtol=r, atol=r)[-1] - np.exp(-2.0))
        for r in (1e-4, 1e-9)
    )
    assert tight < 1e-8
    assert tight < loose < 1e-3


@pytest.mark.parametrize(
    "options",
    [{}, {"slots": 2}, {"method": "rk4", "steps": 12}, {"method": "rk4", "steps": 12, "slots": 3}],
    ids=str,
)
def test_gradients_by_initial_state_time_and_parameter(options):
    def last(y0, t, k):
        return hpcad.odeint(decay, y0, t, k, rtol=1e-9, atol=1e-12, **options)[-1]

    y0, k, end = 1.5, 0.7, 2.0
    by_y, by_t, by_k = hpcad.grad(last, (0, 1, 2))(y0, np.array([0.0, 0.5, end]), k)
    e = np.exp(-k * end)
    np.testing.assert_allclose(by_y, e, rtol=1e-6)
    np.testing.assert_allclose(by_t, [k * y0 * e, 0.0, -k * y0 * e], rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(by_k, -end * y0 * e, rtol=1e-5)
    tangent = hpcad.jvp(lambda k: last(y0, np.array([0.0, end]), k), (k,), (1.0,))[1]
    np.testing.assert_allclose(tangent, -end * y0 * e, rtol=1e-5)


def test_reverse_and_forward_agree_to_rounding():
    """Both differentiate the same steps, also when these are few and inaccurate."""

    def f(w):
        s = hpcad.odeint(oscillator, {"x": 1.0, "v": 0.5}, T, w, rtol=1e-2, atol=1e-2)
        return (s["x"] ** 2).sum() + s["v"][-1]

    np.testing.assert_allclose(hpcad.grad(f)(1.3), hpcad.jvp(f, (1.3,), (1.0,))[1], rtol=1e-12)


def test_second_derivatives_by_all_modes():
    def last(k):
        return hpcad.odeint(decay, 1.0, T[[0, -1]], k, rtol=1e-9, atol=1e-12)[-1]

    forward = lambda f: lambda k: hpcad.jvp(f, (k,), (1.0,))[1]  # noqa: E731
    for modes in itertools.product((hpcad.grad, forward), repeat=2):
        found = modes[0](modes[1](last))(0.7)
        np.testing.assert_allclose(found, 4 * np.exp(-1.4), rtol=1e-5)


def test_parameters_in_the_surroundings_get_gradients():
    p = Parameter(np.array(0.7))
    hpcad.odeint(lambda y, t: -p * y, 1.0, T[[0, -1]], rtol=1e-9)[-1].backward()
    np.testing.assert_allclose(p.grad, -2 * np.exp(-1.4), rtol=1e-5)


def test_steps_are_not_remembered():
    def records(steps, **options):
        with Tape() as tape:
            y0 = tape.watch(np.ones(3))
            hpcad.odeint(decay, y0, T[[0, -1]], 0.7, method="rk4", steps=steps, **options)
            return len(tape.records)

    assert records(60) - records(30) == 30  # one record for each step, instead of some twenty
    assert records(60, slots=4) == records(30, slots=4)


def test_what_cannot_be_solved_is_said():
    with pytest.raises(ConvergenceError, match="odeint took"):
        hpcad.odeint(lambda y, t: y * y, 1.0, np.array([0.0, 2.0]))  # infinite at t = 1
    with pytest.raises(ConvergenceError, match="max_steps"):
        hpcad.odeint(decay, 1.0, T, 1.0, rtol=1e-12, atol=1e-14, max_steps=3)
    with pytest.raises(ConfigError, match="'dopri5' and 'rk4', not 'euler'"):
        hpcad.odeint(decay, 1.0, T, 1.0, method="euler")
    with pytest.raises(ShapeError, match=r"shape \(2,\) for a state of shape \(\)"):
        hpcad.odeint(lambda y, t: np.ones(2), 1.0, T)
    with pytest.raises(DifferentiationError, match="structure"):
        hpcad.odeint(lambda y, t: y["x"], {"x": 1.0}, T)
    with pytest.raises(ShapeError, match="times of shape"):
        hpcad.odeint(decay, 1.0, 2.0, 1.0)


def test_dtypes_and_equal_times():
    y = hpcad.odeint(decay, np.ones(2, np.float32), np.array([0.0, 1.0, 1.0]), 1.0)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y[1], y[2])
    z = hpcad.odeint(lambda z, t: 1j * z, 1 + 0j, np.array([0.0, np.pi]), rtol=1e-9)
    np.testing.assert_allclose(z[-1], -1, atol=1e-7)
    by_t = hpcad.grad(lambda t: hpcad.odeint(decay, np.float32([1, 2]), t, 1.0).sum())(T)
    assert by_t.dtype == np.float64
