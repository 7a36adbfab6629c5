"""Running sums and products: values as NumPy's, derivatives exact at zeros and overflow."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import grad, vjp
from hpcad.autodiff.numerical.check import check_grads
from hpcad.errors import ShapeError

rng = np.random.default_rng(13)
X = rng.standard_normal((3, 4))
Z = X + 1j * rng.standard_normal(X.shape)


@pytest.mark.parametrize(
    "x", [X, Z, X[:, :0], X.T[::-1], np.arange(6, dtype=np.int8).reshape(2, 3)]
)
@pytest.mark.parametrize("axis", [0, -1, None])
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_values_are_those_of_numpy(name, axis, x):
    expected = getattr(np, name)(x, axis)
    np.testing.assert_allclose(getattr(hnp, name)(x, axis), expected, strict=True)
    standard = {"cumsum": "cumulative_sum", "cumprod": "cumulative_prod"}[name]
    if axis is not None:
        for initial in (False, True):
            options = {"axis": axis, "include_initial": initial}
            np.testing.assert_allclose(
                getattr(hnp, standard)(x, **options), getattr(np, standard)(x, **options)
            )


@pytest.mark.parametrize("x", [X, Z])
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_derivatives_are_those_of_numerical_differentiation(name, axis, x):
    check_grads(lambda y: getattr(hnp, name)(y, axis), [x], order=2)


@pytest.mark.parametrize("zeros", [[], [0], [2], [1, 3], [0, 1, 2, 3, 4]])
def test_running_products_differentiate_exactly_at_zeros(zeros):
    x = np.array([2.0, 3.0, 5.0, 7.0, 11.0])
    x[zeros] = 0

    def slope(y, k, i):
        return grad(lambda v: hnp.cumprod(v)[k])(y)[i]

    for k in range(5):
        for i in range(5):
            expected = np.prod(np.delete(x[: k + 1], i)) if i <= k else 0
            assert slope(x, k, i) == expected
            second = grad(lambda y, k=k, i=i: slope(y, k, i))(x)
            for j in range(5):
                pair = i != j and max(i, j) <= k
                assert second[j] == (np.prod(np.delete(x[: k + 1], [i, j])) if pair else 0)


@pytest.mark.parametrize("n", [1, 2, 3, 31, 32, 33, 1000])
def test_lines_of_any_length_give_the_cotangent_of_the_definition(n):
    x, g = rng.uniform(0.9, 1.1, n), rng.standard_normal(n)
    (back,) = vjp(hnp.cumprod, x)[1](g)
    # d y_k / d x_j = y_k / x_j for j <= k, as nothing is 0 here
    expected = [np.sum(g[j:] * np.cumprod(x)[j:]) / x[j] for j in range(n)]
    np.testing.assert_allclose(back, expected, rtol=1e-11, atol=1e-11)


def test_what_overflows_later_does_not_spoil_what_came_before():
    x = np.full(2000, 3.0)
    with np.errstate(over="ignore"):
        g = grad(lambda y: hnp.cumprod(y)[5])(x)
    np.testing.assert_array_equal(g, [3.0**5] * 6 + [0] * 1994)


def test_an_axis_is_needed_where_there_are_several():
    with pytest.raises(ShapeError, match="needs an axis"):
        hnp.cumulative_sum(X)
    with pytest.raises(ShapeError, match="at least one dimension"):
        hnp.cumulative_prod(2.0)
