"""Reductions: values as NumPy's, derivatives exact at ties, zeros and gaps."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import hpcad.numpy as hnp
from hpcad import grad, vjp
from hpcad.autodiff.numerical.check import check_grads
from hpcad.autodiff.tensor import Tensor, tensor
from hpcad.errors import ConfigError, ShapeError

rng = np.random.default_rng(12)
X = rng.standard_normal((3, 4, 5))
Z = X + 1j * rng.standard_normal(X.shape)
AXES = [None, 0, -1, (0, 2), ()]
SMOOTH = ["sum", "prod", "mean", "var", "std"]
EXTREMES = ["max", "min", "ptp", "median"]
IGNORING = ["nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian"]
TESTS = ["all", "any", "count_nonzero"]


def gaps(x):
    x = x.copy()
    x[0, 1, 2] = np.nan
    x[1, :, 3] = np.nan
    return x


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", SMOOTH + EXTREMES + IGNORING + TESTS)
def test_values_are_those_of_numpy(name, axis, keepdims):
    if axis == () and name in ("median", "nanmedian", "count_nonzero"):
        pytest.skip("NumPy does not take it")
    for x in (X, Z) if name in SMOOTH else (gaps(X),) if name in IGNORING else (X, X[:, ::-2]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of lines that are all nan
            expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
        answer = getattr(hnp, name)(x, axis=axis, keepdims=keepdims)
        np.testing.assert_allclose(answer, expected, rtol=1e-13, atol=1e-15)
        through = getattr(np, name)(tensor(x), axis=axis, keepdims=keepdims)
        assert isinstance(through, Tensor)
        np.testing.assert_allclose(through.numpy(), expected, rtol=1e-13, atol=1e-15)


@given(
    st.sampled_from("?bBhHiIqQefdFD"),
    array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    st.sampled_from(["sum", "prod", "mean", "var", "std", "max", "min", "all", "any"]),
    st.booleans(),
)
def test_dtypes_and_shapes_are_those_of_numpy(code, shape, name, keepdims):
    x = np.random.default_rng(0).integers(0, 3, shape).astype(code)
    if x.size == 0 and name in ("max", "min"):
        with pytest.raises(ShapeError, match=name):
            getattr(hnp, name)(x)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = getattr(np, name)(x, keepdims=keepdims)
    answer = getattr(hnp, name)(x, keepdims=keepdims)
    assert (answer.dtype, answer.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(answer, expected, rtol=2e-3 if code == "e" else 1e-6)


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float32, np.complex128])
def test_a_dtype_that_is_asked_for_is_the_one_of_the_answer(name, dtype):
    x = np.array([100, 100, 3], np.int8)
    answer = getattr(hnp, name)(x, dtype=dtype)
    expected = getattr(np, name)(x, dtype=dtype)
    assert answer.dtype == dtype
    np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("x", [X, Z])
def test_smooth_reductions_differentiate_to_second_order(name, axis, x):
    if name == "std" and axis == ():
        pytest.skip("0 everywhere")
    check_grads(lambda y: getattr(hnp, name)(y, axis=axis), [x], order=2)


@pytest.mark.parametrize("axis", AXES[:4])
@pytest.mark.parametrize("name", [*EXTREMES, *IGNORING])
def test_other_reductions_differentiate(name, axis):
    check_grads(lambda y: getattr(hnp, name)(y, axis=axis), [X], order=2)


@pytest.mark.parametrize("name", IGNORING)
@pytest.mark.parametrize("axis", AXES[:4])
def test_entries_that_are_nan_get_the_cotangent_zero(name, axis):
    x = gaps(X)
    value, pullback = vjp(lambda y: getattr(hnp, name)(y, axis=axis), x)
    (g,) = pullback(np.ones(np.shape(value)))
    np.testing.assert_array_equal(g[np.isnan(x)], 0)
    assert np.isfinite(g[~np.isnan(x)]).all()
    assert np.any(g != 0)


@pytest.mark.parametrize("name", IGNORING)
def test_a_line_of_nan_alone_gets_the_cotangent_zero(name):
    x = np.array([[np.nan, np.nan], [1.0, 2.0]])
    value, pullback = vjp(lambda y: getattr(hnp, name)(y, axis=1), x)
    (g,) = pullback(np.ones(2))
    np.testing.assert_array_equal(g[0], 0)
    assert np.isfinite(g[1]).all()
    assert np.isnan(value[0]) == (name not in ("nansum", "nanprod"))


# -- products -----------------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [0, 1, 2, 3, 4])
def test_products_differentiate_exactly_at_any_number_of_zeros(zeros):
    x = np.array([2.0, 3.0, 5.0, 7.0])
    x[:zeros] = 0
    others = [np.prod(np.delete(x, i)) for i in range(4)]
    np.testing.assert_array_equal(grad(hnp.prod)(x), others)
    second = [[0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(4)] for i in range(4)]
    rows = [grad(lambda y, i=i: grad(hnp.prod)(y)[i])(x) for i in range(4)]
    np.testing.assert_array_equal(rows, second)
    third = grad(lambda y: grad(lambda z: grad(hnp.prod)(z)[0])(y)[1])(x)
    np.testing.assert_array_equal(third, [0, 0, x[3], x[2]])


# -- ties and kinks -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max", "min", "nanmax", "nanmin"])
def test_ties_share_the_cotangent_evenly(name):
    sign = 1 if "max" in name else -1
    x = sign * np.array([[1.0, 3.0, 3.0], [4.0, 4.0, 4.0], [2.0, 1.0, 0.0]])
    (g,) = vjp(lambda y: getattr(hnp, name)(y, axis=1), x)[1](np.array([1.0, 3.0, 5.0]))
    np.testing.assert_allclose(g, [[0, 0.5, 0.5], [1, 1, 1], [5, 0, 0]])


def test_the_extreme_of_a_line_with_nan_has_its_derivative_there():
    np.testing.assert_array_equal(grad(hnp.max)(np.array([1.0, np.nan, 2.0])), [0, 1, 0])


def test_infinite_extremes_are_ties_like_others():
    np.testing.assert_array_equal(grad(hnp.max)(np.array([np.inf, 1.0, np.inf])), [0.5, 0, 0.5])
    np.testing.assert_array_equal(grad(hnp.nanmax)(np.array([-np.inf, np.nan])), [1, 0])


@pytest.mark.parametrize("x", [np.full(3, 0.7), np.full(3, 1 + 2j), np.zeros((1, 2))])
@pytest.mark.parametrize("name", ["std", "nanstd"])
def test_the_standard_deviation_of_equal_numbers_has_the_derivative_zero(name, x):
    def deviation(y):
        return getattr(hnp, name)(hnp.stack([y, y]))

    x = x.ravel()[0] * np.ones(1, x.dtype)
    np.testing.assert_array_equal(grad(deviation)(x.real), 0)
    np.testing.assert_array_equal(vjp(deviation, x)[1](np.array(1.0))[0], 0)
    np.testing.assert_array_equal(grad(lambda y: grad(deviation)(y).sum())(x.real), 0)


def test_the_median_of_equal_elements_gives_its_cotangent_to_two_of_them():
    g = grad(hnp.median)(np.array([3.0, 2.0, 2.0, 2.0]))
    assert g[0] == 0
    assert sorted(g[1:]) == [0, 0.5, 0.5]


def test_quantiles_of_infinite_elements_are_exact_where_nothing_is_interpolated():
    x = np.array([1.0, 2.0, np.inf])
    assert hnp.median(x) == 2
    assert hnp.quantile(x, 1) == np.inf
    np.testing.assert_array_equal(grad(hnp.median)(x), [0, 1, 0])


# -- nothing to reduce --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mean", "var", "std", "nanmean", "nanvar"])
def test_the_mean_of_nothing_is_nan_and_differentiates(name):
    value, pullback = vjp(getattr(hnp, name), np.empty(0))
    assert np.isnan(value)
    assert pullback(np.array(1.0))[0].shape == (0,)
    across = getattr(hnp, name)(np.empty((0, 3)), axis=0)
    assert across.shape == (3,)
    assert np.isnan(across).all()
    assert getattr(hnp, name)(np.empty((0, 3)), axis=1).shape == (0,)


def test_without_degrees_of_freedom_the_variance_is_nan():
    assert np.isnan(hnp.var(np.ones(3), correction=3))
    assert np.isnan(hnp.std(np.ones(3), correction=4.5))
    np.testing.assert_allclose(hnp.var(X, correction=0.5), np.var(X, ddof=0.5))


def test_half_precision_does_not_overflow_on_the_way():
    x = np.full(1000, 300, np.float16)
    assert hnp.mean(x) == 300
    assert hnp.mean(x).dtype == np.float16
    assert hnp.std(np.array([-300, 300], np.float16)) == 300
    assert hnp.var(np.array([-200, 200], np.float16)).dtype == np.float16


# -- weights and quantiles ----------------------------------------------------------------


@pytest.mark.parametrize("axis", [None, 1, (0, 2), (2, 0)])
def test_weighted_means_are_those_of_numpy_and_differentiate_in_both(axis):
    w = rng.uniform(0.5, 1, X.shape)
    np.testing.assert_allclose(hnp.average(X, axis, w), np.average(X, axis, w))
    check_grads(lambda x, w: hnp.average(x, axis, w), [X, w], order=1)
    if axis is not None:
        along = rng.uniform(0.5, 1, [X.shape[a] for a in np.atleast_1d(axis)])
        expected = np.average(X, axis, along, returned=True)
        for part, other in zip(hnp.average(X, axis, along, returned=True), expected, strict=True):
            np.testing.assert_allclose(part, other)


@pytest.mark.parametrize("axis", AXES[:4])
@pytest.mark.parametrize("q", [0, 0.3, [0.25, 1], [[0.1, 0.9]]])
def test_quantiles_are_those_of_numpy(axis, q):
    np.testing.assert_allclose(hnp.quantile(X, q, axis), np.quantile(X, q, axis), rtol=1e-13)
    np.testing.assert_allclose(
        hnp.percentile(X, np.multiply(q, 100), axis), np.quantile(X, q, axis), rtol=1e-12
    )
    check_grads(lambda x: hnp.quantile(x, q, axis), [X], order=1)
    if np.ndim(q) < 2:
        x = gaps(X)
        np.testing.assert_allclose(hnp.nanquantile(x, q, axis), np.nanquantile(x, q, axis))


@pytest.mark.parametrize("x", [X[0], Z[0], X[0, 0]])
def test_covariances_are_those_of_numpy_and_differentiate(x):
    for kw in ({}, {"bias": True}, {"ddof": 0}):
        np.testing.assert_allclose(hnp.cov(x, **kw), np.cov(x, **kw), atol=1e-15)
    np.testing.assert_allclose(hnp.corrcoef(x), np.corrcoef(x), atol=1e-15)
    check_grads(hnp.cov, [x], order=1)
    check_grads(hnp.corrcoef, [X[0]], order=1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: hnp.quantile(X, 1.5), ShapeError, "between 0 and 1"),
        (lambda: hnp.median(Z), TypeError, "complex numbers have no order"),
        (lambda: hnp.quantile(X[:0], 0.5), ShapeError, "at least one element"),
        (lambda: hnp.std(X, ddof=1, correction=1), ConfigError, "two names"),
        (lambda: hnp.average(X, 0, np.ones(4)), ShapeError, r"shape \(4,\) fit neither"),
        (lambda: hnp.sum(X, axis=3), ShapeError, "sum"),
    ],
)
def test_errors_say_what_was_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("f", [hnp.sum, hnp.prod, hnp.mean, hnp.cumsum, hnp.nansum])
def test_no_imaginary_part_is_dropped_without_a_word(f):
    with pytest.raises(TypeError, match=r"take real\(x\)"):
        f(np.array([1.0 + 2.0j, 3.0]), dtype=np.float64)
    assert f(np.array([1.0 + 2.0j, 3.0]), dtype=np.complex64).dtype == np.complex64


def test_variance_of_complex_numbers_in_a_real_dtype_is_of_that_precision():
    z = np.array([1.0 + 2.0j, 3.0, -1.0j])
    for f in (hnp.var, hnp.nanvar, hnp.std, hnp.nanstd):
        found = f(z, dtype=np.float32)
        assert found.dtype == np.float32
        assert found == pytest.approx(f(z), rel=1e-6)
