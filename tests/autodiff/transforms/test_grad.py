"""grad: closed forms, nesting, control flow, recursion."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import grad, value_and_grad, vjp
from hpcad.autodiff import Parameter, check_vjp
from hpcad.errors import DifferentiationError, ShapeError


def test_derivatives_of_tanh_to_fourth_order():
    x = 0.3
    t = np.tanh(x)
    s = 1 - t * t
    closed = [s, -2 * t * s, s * (6 * t * t - 2), s * (16 * t - 24 * t**3)]
    f = hnp.tanh
    for expected in closed:
        f = grad(f)
        np.testing.assert_allclose(f(x), expected, rtol=1e-10)


def test_no_perturbation_confusion():
    """d/dx [x d/dy (x + y)] = 1."""
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(2.0) == 1.0
    # d/dx [x d/dy (x y)] = d/dx x^2 = 2x
    assert grad(lambda x: x * grad(lambda y: x * y)(1.0))(3.0) == 6.0


def test_the_example_of_the_textbooks():
    """y = ln x1 + x1 x2 - sin x2 at (2, 5): gradient (5.5, 1.716)."""
    f = grad(lambda a, b: hnp.log(a) + a * b - hnp.sin(b), argnums=(0, 1))
    np.testing.assert_allclose(f(2.0, 5.0), (5.5, 2 - np.cos(5.0)), rtol=1e-12)


def test_loops_branches_and_recursion():
    def power(x, n):
        if n == 0:
            return x * 0 + 1.0
        half = power(x, n // 2)
        return half * half * x if n % 2 else half * half

    def looped(x):
        y = x
        while y < 100.0:
            y = y * x if y > 2.0 else y + x
        return y

    np.testing.assert_allclose(grad(lambda x: power(x, 7))(1.5), 7 * 1.5**6, rtol=1e-12)
    check_vjp(looped, [np.array(1.7)])


def test_gradient_of_a_gradient_norm_reaches_parameters():
    """A transform inside the ambient tape: the inner derivative is recorded for backward."""
    p = Parameter(np.array([0.3, -0.2]))

    def f(x):
        return hnp.sum(hnp.sin(x * p))

    x = np.array([1.0, 2.0])
    slope = grad(f)(x)
    (slope * slope).sum().backward()
    # d/dp (p cos(xp))^2 = 2 p cos(xp) (cos(xp) - p x sin(xp))
    q = p.value
    c, s = np.cos(x * q), np.sin(x * q)
    np.testing.assert_allclose(p.grad, 2 * q * c * (c - q * x * s), rtol=1e-12)


def test_hessian_vector_product_by_nesting():
    A = np.array([[2.0, 1.0], [1.0, 3.0]])

    def f(x):
        return 0.5 * hnp.sum(x * hnp.matmul(A, x))

    v = np.array([0.5, -1.0])
    hvp = grad(lambda x: hnp.sum(grad(f)(x) * v))
    np.testing.assert_allclose(hvp(np.array([1.0, 1.0])), A @ v, rtol=1e-12)


def test_a_function_that_ignores_its_argument():
    assert grad(lambda x: 3.0)(2.0) == 0.0
    value, gradient = value_and_grad(lambda x, y: y * 2.0)(1.0, 4.0)
    assert (value, gradient) == (8.0, 0.0)


def test_grad_needs_a_scalar():
    with pytest.raises(DifferentiationError, match=r"shape \(3,\)"):
        grad(lambda x: x * 2)(np.ones(3))


def test_pullback_checks_its_cotangent():
    _, pullback = vjp(lambda x: x * 2, np.ones(3))
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        pullback(np.ones(2))


def test_check_vjp_finds_a_wrong_rule(monkeypatch):
    from hpcad.primitives.elementwise import sin

    monkeypatch.setattr(sin, "vjp", (lambda g, _z, x: g * 1.001,))
    with pytest.raises(AssertionError, match="argument 0"):
        check_vjp(hnp.sin, [np.array([0.0, 1.0])])


@pytest.mark.parametrize("x", [np.arange(3), np.ones(2, bool)])
def test_only_floating_point_is_differentiated(x):
    with pytest.raises(DifferentiationError, match=r"dtype.*astype\(float\)"):
        grad(lambda t: (t * 0.5).sum())(x)


def test_grad_takes_a_function_that_returns_one_scalar():
    with pytest.raises(DifferentiationError, match="not a tuple"):
        grad(lambda x: (x, x))(1.0)


def test_what_would_lose_the_derivative_is_refused():
    import math

    with pytest.raises(TypeError, match=r"use functions of hpcad\.numpy"):
        grad(lambda x: x * math.sin(x))(1.0)
    p = Parameter(np.ones(3))
    with pytest.raises(TypeError, match=r"hpcad\.numpy"):
        np.asarray(p)
    with pytest.raises(TypeError, match=r"numpy\.busday_count does not know tensors"):
        np.busday_count(p, p)
    with pytest.raises(TypeError, match=r"numpy\.spacing has no derivative rule"):
        np.spacing(p)
    out = np.ones(3)
    with pytest.raises(TypeError, match=r"numpy\.add with out= has no"):
        out += p


def test_ufuncs_of_numpy_differentiate():
    np.testing.assert_allclose(grad(lambda x: np.sin(x) * np.exp(x))(0.3),
                               np.exp(0.3) * (np.sin(0.3) + np.cos(0.3)), rtol=1e-12)  # fmt: skip
    p = Parameter(np.ones(3))
    (np.arange(3.0) * p).sum().backward()
    np.testing.assert_array_equal(p.grad, [0, 1, 2])
    p.clear_grad()
    (np.arange(6.0).reshape(2, 3) @ p).sum().backward()
    np.testing.assert_array_equal(p.grad, [3, 5, 7])


def test_equality_compares_values():
    p = Parameter(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(p == 1.0, [True, False])
    np.testing.assert_array_equal(p != np.array([1.0, 3.0]), [False, True])
    assert len({p, p}) == 1

    def f(x):
        return x * 2.0 if x == 1.0 else x * 3.0

    assert (grad(f)(1.0), grad(f)(2.0)) == (2.0, 3.0)


def test_iterating_gives_rows_and_ends():
    p = Parameter(np.arange(6.0).reshape(3, 2))
    rows = list(p)
    assert len(rows) == 3
    (rows[1] * 2.0).sum().backward()
    np.testing.assert_array_equal(p.grad, [[0, 0], [2, 2], [0, 0]])
    with pytest.raises(TypeError, match="without axes"):
        list(Parameter(np.ones(())))
