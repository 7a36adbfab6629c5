"""Numerical differentiation: orders, honest error estimates, agreement with the transforms."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import grad, jacobian, jvp, vjp
from hpcad.autodiff import (
    numerical_directional,
    numerical_gradient,
    numerical_hessian,
    numerical_jacobian,
    numerical_jvp,
    numerical_vjp,
)
from hpcad.autodiff.numerical.stencils import stencil
from hpcad.errors import ConfigError, DifferentiationError, ShapeError

_spec = importlib.util.spec_from_file_location("zoo", Path(__file__).parent / "zoo.py")
_zoo = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_zoo)

NAMES = ["forward1", "forward2", "forward5", "backward1", "backward3",
         "central2", "central4", "central6", "central10"]  # fmt: skip
METHODS = [*NAMES, "richardson"]


# -- stencils ---------------------------------------------------------------------------------


@pytest.mark.parametrize("derivative", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_weights_differentiate_polynomials_up_to_their_order(name, derivative):
    order, weights = int(name.lstrip("abcdeflnorktw")), stencil(name, derivative)

    def moment(power):
        return sum(w * float(k) ** power for k, w in weights.items())

    for power in range(order + derivative):
        expected = math.factorial(derivative) if power == derivative else 0.0
        assert moment(power) == pytest.approx(expected, abs=1e-8)
    assert abs(moment(order + derivative)) > 0.1


def test_known_weights():
    assert stencil("central4") == {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    assert stencil("forward2") == {0: -3 / 2, 1: 2.0, 2: -1 / 2}
    assert stencil("central2", 2) == {-1: 1.0, 0: -2.0, 1: 1.0}


@pytest.mark.parametrize("name", [n for n in NAMES if n != "central10"])
def test_the_error_falls_with_the_order(name):
    order = int(name.lstrip("abcdeflnorktw"))
    errors = [abs(numerical_directional(np.exp, 0.3, method=name, step=h).value - np.exp(0.3))
              for h in (0.2, 0.1)]  # fmt: skip
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


# -- honesty ----------------------------------------------------------------------------------


def within(found, exact, times=3.0):
    """The true error is at most a few times the estimate."""
    error = np.abs(np.asarray(found.value) - exact)
    return np.all(error <= times * np.asarray(found.error) + 1e-15 * np.abs(exact))


@pytest.mark.parametrize("case", _zoo.ZOO)
@pytest.mark.parametrize("method", METHODS)
def test_the_error_estimate_is_honest(case, method):
    function, x, exact = _zoo.ZOO[case]
    found = numerical_directional(function, x, method=method)
    assert within(found, exact), (found, exact)


@pytest.mark.parametrize("case", _zoo.ZOO)
def test_the_error_of_the_complex_step_is_honest(case):
    """Of functions that are not analytic, too: the value is then wrong, and the error says so."""
    function, x, exact = _zoo.ZOO[case]
    if case == "single precision inside":
        function = lambda x: _zoo._single(np.real(x))  # noqa: E731
    found = numerical_directional(function, x, method="complex")
    assert within(found, exact), (found, exact)
    if case not in _zoo.NOT_ANALYTIC | {"cancelling", "half cancelling"}:
        assert abs(float(found.value) - exact) <= 1e-15 * abs(exact)


@pytest.mark.parametrize("method", ["forward2", "central2", "central4", "richardson", "complex"])
def test_the_error_estimate_holds_for_functions_of_any_scale(method):
    """Lengths, places and sizes are drawn from many orders of magnitude."""
    rng = np.random.default_rng(0)
    honest = []
    for _ in range(200):
        a, d = 10 ** rng.uniform(-8, 8, 2)
        b, x = 10 ** rng.uniform(-6, 6), 10 ** rng.uniform(-4, 4)
        c, e = rng.uniform(0, 6), rng.uniform(-10, 10) / max(1.0, x)

        def f(t, a=a, b=b, c=c, d=d, e=e):
            return a * np.sin(b * t + c) + d * np.exp(e * t)

        exact = a * b * np.cos(b * x + c) + d * e * np.exp(e * x)
        curvature = a * b * b + d * e * e * np.exp(e * x)  # places are rounded in ``exact``, too
        found = numerical_directional(f, x, method=method)
        off = abs(float(found.value) - exact) - 2e-16 * (abs(x) * curvature + a * b)
        honest.append(off <= 3 * found.error)
    # What is left are small fast waves on large slow ones, below the rounding of their sum.
    assert np.mean(honest) >= 0.98


@pytest.mark.parametrize(
    ("method", "tolerance"),
    [("forward1", 1e-6), ("forward2", 1e-8), ("backward1", 1e-6), ("central2", 1e-9),
     ("central4", 1e-11), ("central6", 1e-12), ("richardson", 1e-12), ("complex", 1e-15)],
)  # fmt: skip
@pytest.mark.parametrize("case", ["exp", "rational", "linear", "large argument"])
def test_precision_and_estimate_with_the_automatic_step(case, method, tolerance):
    function, x, exact = _zoo.ZOO[case]
    found = numerical_directional(function, x, method=method)
    assert abs(float(found.value) - exact) < tolerance * abs(exact)
    assert float(found.error) < 100 * tolerance * abs(exact)


def test_every_element_has_its_own_error_and_step():
    def f(x):
        return np.stack([np.exp(x), np.sin(1e6 * x), 1e-9 * x, x * 0])

    x = 0.3
    exact = np.array([np.exp(x), 1e6 * np.cos(1e6 * x), 1e-9, 0.0])
    found = numerical_directional(f, x)
    assert within(found, exact)
    assert found.step[1] < 1e-4 < found.step[0]
    assert found.error[2] < 1e-20 < found.error[1]


def test_single_precision_functions_are_differentiated_with_their_own_steps():
    x = np.array([0.5, 1.5], np.float32)
    found = numerical_directional(lambda x: np.exp(x), x)
    assert within(found, np.exp(x.astype(float)))
    assert np.max(found.error) < 1e-3
    assert numerical_directional(np.exp, x, method="complex").error.max() < 1e-5


def test_probes_outside_the_domain_are_not_used():
    found = numerical_directional(math.log, 1e-3)  # which raises
    assert float(found.value) == pytest.approx(1e3, rel=1e-9)
    assert within(found, 1e3)


def test_where_there_is_no_derivative_the_error_is_infinite():
    assert numerical_directional(lambda x: x * np.nan, 1.0).error == np.inf


# -- directions, pytrees, complex numbers ------------------------------------------------------


def test_the_direction_is_respected():
    A = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    v = np.array([0.5, -2.0])
    found = numerical_directional(lambda x: A @ np.sin(x), np.array([0.1, 0.2]), v)
    np.testing.assert_allclose(found.value, A @ (np.cos([0.1, 0.2]) * v), rtol=1e-11)


def test_pytrees_keep_their_structure():
    def f(p, k):
        return {"y": np.tanh(p["w"]) * k, "z": (p["b"] * k,)}

    p = {"w": np.array([0.1, 0.2]), "b": 2.0}
    tangents = ({"w": np.array([1.0, 0.0]), "b": 0.5}, 2.0)
    value, found = numerical_jvp(f, (p, 3.0), tangents)
    assert value["z"] == (6.0,)
    slope = 1 - np.tanh(0.1) ** 2
    expected = [3 * slope + 2 * np.tanh(0.1), 2 * np.tanh(0.2)]
    np.testing.assert_allclose(found.value["y"], expected, rtol=1e-11)
    assert found.value["z"][0] == pytest.approx(2 * 2 + 3 * 0.5)
    assert found.error["z"][0].shape == ()
    assert numerical_gradient(lambda p: p["b"] * p["w"].sum(), p).value["b"] == pytest.approx(0.3)


def test_the_gradient_takes_a_step_of_its_own_for_every_coordinate():
    scale = np.array([1e-6, 1.0, 1e6])
    x = scale * np.array([0.3, 0.4, 0.5])
    found = numerical_gradient(lambda x: np.sum(np.sin(x / scale)), x)
    exact = np.cos(x / scale) / scale
    assert within(found, exact)
    np.testing.assert_allclose(found.value, exact, rtol=1e-7)
    assert found.step[0] < 1e-2 * found.step[1] < 1e-4 * found.step[2]


def test_the_gradient_of_a_real_function_of_complex_numbers():
    """df/dx - i df/dy, as grad has it."""
    z = np.array([1 + 2j, -0.5 + 0.1j])

    def f(z):
        return hnp.sum(hnp.abs(z) ** 2 * hnp.real(z))

    found = numerical_gradient(f, z)
    np.testing.assert_allclose(found.value, grad(f)(z), rtol=1e-10)
    assert numerical_gradient(lambda z: abs(z) ** 2, 1 + 2j).value == pytest.approx(2 - 4j)


def test_holomorphic_functions_have_a_complex_derivative():
    z = np.array([0.3 + 0.2j, 1.0 - 1.0j])
    found = numerical_jacobian(np.exp, z, holomorphic=True)
    np.testing.assert_allclose(found.value, np.diag(np.exp(z)), rtol=1e-10, atol=1e-12)
    assert within(found, np.diag(np.exp(z)))
    wrong = numerical_jacobian(np.conj, 1.0 + 1.0j, holomorphic=True)
    assert wrong.error >= 1.0  # it is not complex differentiable
    with pytest.raises(DifferentiationError, match="holomorphic=True"):
        numerical_jacobian(np.exp, z)


def test_complex_functions_of_real_numbers():
    found = numerical_jacobian(lambda x: np.exp(1j * x), np.array([0.5, 1.0]))
    np.testing.assert_allclose(found.value, np.diag(1j * np.exp(1j * np.array([0.5, 1.0]))),
                               rtol=1e-11, atol=1e-13)  # fmt: skip


# -- the twins of the transforms ----------------------------------------------------------------


def model(x):
    return hnp.tanh(x) * hnp.exp(-x * x) + hnp.sum(x) ** 2


X = np.linspace(-1, 1, 6).reshape(2, 3)


@pytest.mark.parametrize("method", ["richardson", "central4", "forward2"])
def test_they_agree_with_the_exact_transforms(method):
    rtol = 1e-6 if method == "forward2" else 1e-9
    v = np.cos(X)
    value, tangent = jvp(model, (X,), (v,))
    found = numerical_jvp(model, (X,), (v,), method=method)
    np.testing.assert_allclose(found[0], value)
    np.testing.assert_allclose(found[1].value, tangent, rtol=rtol, atol=rtol)
    J = numerical_jacobian(model, X, method=method)
    assert J.value.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(J.value, jacobian(model)(X), rtol=rtol, atol=rtol)
    assert within(J, jacobian(model)(X))
    pulled = numerical_vjp(model, (X,), v, method=method)[1]
    np.testing.assert_allclose(pulled.value[0], vjp(model, X)[1](v)[0], rtol=rtol, atol=rtol)


def test_the_pullback_of_complex_numbers_pairs_without_conjugation():
    z, w = np.array([1 + 2j, 0.5j]), np.array([0.3 - 1j, 2.0 + 0.1j])
    found = numerical_vjp(lambda z: z * np.conj(z[::-1]), (z,), w)[1]
    expected = w * np.conj(z[::-1]) + np.conj(w * z)[::-1]
    np.testing.assert_allclose(found.value[0], expected, rtol=1e-10)


def rosenbrock(x):
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


@pytest.mark.parametrize(("of", "tolerance"), [("values", 1e-6), ("gradients", 1e-9)])
def test_hessians_from_values_and_from_gradients(of, tolerance):
    x = np.array([1.2, -0.7])
    exact = np.array([[1200 * x[0] ** 2 - 400 * x[1] + 2, -400 * x[0]], [-400 * x[0], 200.0]])
    for method in ("richardson", "central4"):
        found = numerical_hessian(rosenbrock, x, of=of, method=method)
        np.testing.assert_allclose(found.value, exact, rtol=tolerance)
        assert within(found, exact)


def test_a_hessian_of_coordinates_of_different_sizes():
    scale = np.array([1e4, 1.0, 1e-3])
    x = 0.3 * scale

    def f(x):
        u = x / scale
        return np.sin(u[0]) * u[1] ** 2 + np.exp(u[2] * u[0])

    s, c, e = np.sin(0.3), np.cos(0.3), np.exp(0.09)
    exact = np.array([[-0.09 * s + 0.09 * e, 0.6 * c, 1.09 * e],
                      [0.6 * c, 2 * s, 0.0],
                      [1.09 * e, 0.0, 0.09 * e]])  # fmt: skip
    found = numerical_hessian(f, x)
    outer = np.outer(scale, scale)
    np.testing.assert_allclose(found.value * outer, exact, rtol=1e-6, atol=1e-6)
    assert within(found, exact / outer)


def test_a_hessian_of_a_pytree_is_a_tree_of_trees():
    p = {"a": np.array([0.5, 1.0]), "b": 2.0}
    for of in ("values", "gradients"):
        H = numerical_hessian(lambda p: (p["a"] ** 2).sum() * p["b"] ** 2, p, of=of).value
        np.testing.assert_allclose(H["a"]["a"], 8 * np.eye(2), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(H["a"]["b"], [4.0, 8.0], rtol=1e-6)
        np.testing.assert_allclose(H["b"]["b"], 2.5, rtol=1e-6)


def test_numpy_takes_a_derivative_as_its_value():
    found = numerical_gradient(lambda x: np.sum(x**3), np.array([1.0, 2.0]))
    np.testing.assert_allclose(found, [3.0, 12.0], rtol=1e-11)
    assert np.asarray(found, np.float32).dtype == np.float32
    tree = numerical_gradient(lambda p: p["a"] ** 2, {"a": 1.0})
    with pytest.raises(TypeError, match="out of its value"):
        np.asarray(tree)


# -- wrong use ------------------------------------------------------------------------------------


def test_wrong_use_is_explained():
    with pytest.raises(ConfigError, match="richardson, complex"):
        numerical_directional(np.sin, 1.0, method="euler")
    with pytest.raises(ConfigError, match="'central3'"):
        numerical_directional(np.sin, 1.0, method="central3")
    with pytest.raises(ConfigError, match="must be positive, not -1"):
        numerical_gradient(np.sin, 1.0, step=-1)
    with pytest.raises(ShapeError, match=r"\(3,\).*\(2,\)"):
        numerical_directional(np.sin, np.ones(2), np.ones(3))
    with pytest.raises(ShapeError, match="like the point"):
        numerical_jvp(np.sin, (1.0,), (1.0, 2.0))
    with pytest.raises(ConfigError, match="real functions of real numbers"):
        numerical_directional(np.exp, 1j, method="complex")
    with pytest.raises(DifferentiationError, match="numerical_jacobian"):
        numerical_gradient(np.exp, np.ones(2))
    with pytest.raises(DifferentiationError, match="complex number"):
        numerical_gradient(lambda x: x * 1j, 1.0)
    with pytest.raises(ConfigError, match="return one scalar"):
        numerical_hessian(np.exp, np.ones(2))
    with pytest.raises(ConfigError, match='"values" or of "gradients"'):
        numerical_hessian(np.exp, 1.0, of="hopes")
    with pytest.raises(ShapeError, match="2 elements"):
        numerical_vjp(np.exp, (np.ones(3),), np.ones(2))
