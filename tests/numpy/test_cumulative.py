"""Running sums and products: values as NumPy's, derivatives exact at zeros and overflow."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import grad, jvp, vjp
from hpcad.autodiff.numerical.check import check_grads
from hpcad.errors import ShapeError
from hpcad.primitives import cumulative

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


# -- by division, and without -------------------------------------------------------------------

DIVISIBLE = {
    "a few": rng.uniform(0.5, 2, (3, 4, 5)) * rng.choice([-1, 1], (3, 4, 5)),
    "many, near 1": 1 + 1e-3 * rng.standard_normal((20, 5000)),
    "many, up and down": 10.0 ** rng.permutation(np.repeat([-1, 1], 300)).reshape(2, 300),
    "far apart": np.array([[1e-120, 3e140, 2e-100, 7e90], [1e130, 2e120, 3e-110, 1e-80]]),
    "single precision": rng.uniform(0.5, 2, (3, 20)).astype(np.float32),
    "complex": np.exp(rng.standard_normal((3, 40)) / 3 + 2j * rng.standard_normal((3, 40))),
}
INDIVISIBLE = {
    "a zero": np.array([[2.0, 0.0, 3.0, 5.0]]),
    "subnormal on the way": np.array([[1e-100, 1e-120, 1.5e-100, 1e120, 1e110]]),
    "overflow on the way": np.array([[1e100, 1e120, 1.5e100, 1e-120, 1e-110]]),
    "very small": np.array([[1e-200, 2.0]]),
    "infinite": np.array([[np.inf, 2.0]]),
    "nan": np.array([[np.nan, 2.0]]),
    "none": np.ones((2, 0)),
    "integers": np.ones((2, 3), int),
}


@pytest.mark.parametrize("x", DIVISIBLE.values(), ids=DIVISIBLE)
@pytest.mark.parametrize(
    "f",
    [
        hnp.prod,
        lambda x: hnp.prod(x, axis=0),
        lambda x: hnp.prod(x, axis=(1,), keepdims=True),
        lambda x: hnp.cumprod(x, axis=1),
        lambda x: hnp.flip(hnp.cumprod(hnp.flip(x, 1), axis=1), 1),
    ],
    ids=["all", "axis 0", "axis 1", "running", "running back"],
)
def test_slopes_of_products_are_the_same_by_division_and_without(f, x, monkeypatch):
    g = np.asarray(rng.standard_normal(np.shape(f(x))), x.dtype)
    t = np.asarray(rng.standard_normal(x.shape) * np.abs(x), x.dtype)
    quick = both_modes(f, x, g, t)
    monkeypatch.setattr(cumulative, "_divisible", lambda _x, _axis: False)
    sizes = both_modes(f, np.abs(x), np.abs(g), np.abs(t))  # without cancellation
    for a, b, size in zip(quick, both_modes(f, x, g, t), sizes, strict=True):
        assert a.dtype == b.dtype
        assert np.all(np.abs(a - b) <= 4 * x.size * np.finfo(x.dtype).eps * size)


def both_modes(f, x, g, t):
    return vjp(f, x)[1](g)[0], jvp(f, (x,), (t,))[1]


def test_products_are_divided_where_that_is_exact_and_nowhere_else():
    assert all(cumulative._divisible(x, x.ndim - 1) for x in DIVISIBLE.values())
    assert not any(cumulative._divisible(x, 1) for x in INDIVISIBLE.values())
    assert not cumulative._divisible(hnp.ones((2, 2)), 1)
