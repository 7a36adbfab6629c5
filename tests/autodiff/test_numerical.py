"""Numerical differentiation: orders, error estimates, agreement with reverse mode."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import grad
from hpcad.autodiff.numerical import STENCILS, directional, numerical_gradient
from hpcad.errors import ConfigError, ShapeError

CASES = {
    "exp": (np.exp, 0.7, np.exp(0.7)),
    "sin far out": (np.sin, 1e4, np.cos(1e4)),
    "rational": (lambda x: 1 / (1 + x * x), -0.4, 0.8 / 1.16**2),
    "constant": (lambda x: x * 0 + 3.0, 2.0, 0.0),
}


@pytest.mark.parametrize("name", STENCILS)
def test_weights_differentiate_polynomials_up_to_their_order(name):
    order, weights = int(name[-1]), STENCILS[name]
    for power in range(order + 1):
        found = sum(w * float(k) ** power for k, w in weights.items())
        assert found == pytest.approx(1.0 if power == 1 else 0.0, abs=1e-12)
    beyond = sum(w * float(k) ** (order + 1) for k, w in weights.items())
    assert abs(beyond) > 0.1


@pytest.mark.parametrize("name", STENCILS)
def test_the_error_falls_with_the_order(name):
    order = int(name[-1])
    errors = [abs(directional(np.exp, 0.3, method=name, step=h).value - np.exp(0.3))
              for h in (0.1, 0.05)]  # fmt: skip
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("method", "tolerance"),
    [("forward1", 1e-6), ("forward2", 1e-8), ("central2", 1e-9), ("central4", 1e-11),
     ("central6", 1e-11), ("richardson", 1e-11), ("complex", 1e-15)],
)  # fmt: skip
def test_precision_with_the_automatic_step(case, method, tolerance):
    function, x, exact = CASES[case]
    found = directional(function, x, method=method)
    true_error = abs(float(found.value) - exact)
    # Far out the places themselves are rounded, to 1e4 eps.
    assert true_error < tolerance * (1 if case != "sin far out" or method == "complex" else 1e4)
    assert true_error <= 20 * found.error + 1e-15


def test_the_direction_is_respected():
    A = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    v = np.array([0.5, -2.0])
    found = directional(lambda x: A @ np.sin(x), np.array([0.1, 0.2]), v)
    np.testing.assert_allclose(found.value, A @ (np.cos([0.1, 0.2]) * v), rtol=1e-11)


def test_it_agrees_with_reverse_mode():
    def f(x):
        return hnp.sum(hnp.tanh(x) * hnp.exp(-x * x))

    x = np.linspace(-1, 1, 6).reshape(2, 3)
    np.testing.assert_allclose(numerical_gradient(f, x), grad(f)(x), rtol=1e-9, atol=1e-11)


def test_wrong_use_is_explained():
    with pytest.raises(ConfigError, match="richardson, complex, forward1"):
        directional(np.sin, 1.0, method="euler")
    with pytest.raises(ShapeError, match=r"\(3,\).*\(2,\)"):
        directional(np.sin, np.ones(2), np.ones(3))
