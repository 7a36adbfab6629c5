"""Special functions: sums of exponentials over axes, extremes of the range, and derivatives."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
import scipy.special

import hpcad.numpy as hnp
from hpcad import check_grads, grad, jvp, tensor, vjp
from hpcad.autodiff import value_of
from hpcad.errors import DifferentiationError
from hpcad.numpy import special
from hpcad.primitives import gamma as gamma_functions

rng = np.random.default_rng(2)
X = rng.standard_normal((2, 3, 4))
AXES = [None, 0, 1, -1, (0, 2), (2, 0), (0, 1, 2), ()]


# -- sums of exponentials -----------------------------------------------------------------------


@pytest.mark.parametrize("axis", AXES)
def test_softmax_over_any_axes(axis):
    for f in ("softmax", "log_softmax"):
        if axis != ():  # SciPy takes no empty tuple
            expected = getattr(scipy.special, f)(X, axis)
            np.testing.assert_allclose(value_of(getattr(hnp, f)(X, axis)), expected, rtol=1e-12)
        check_grads(lambda x, f=f: getattr(hnp, f)(x, axis), (X,))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
def test_logsumexp_over_any_axes(axis, keepdims):
    expected = np.log(np.sum(np.exp(X), axis, keepdims=keepdims))
    found = value_of(hnp.logsumexp(X, axis, keepdims=keepdims))
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    check_grads(lambda x: hnp.logsumexp(x, axis, keepdims=keepdims), (X,))


@pytest.mark.parametrize("axis", [None, 1, (0, 2)])
def test_weighted_logsumexp_differentiates_in_the_weights_too(axis):
    b = rng.uniform(0.0, 2.0, (3, 4))
    for keepdims in (False, True):
        found = value_of(hnp.logsumexp(X, axis, b, keepdims))
        np.testing.assert_allclose(found, scipy.special.logsumexp(X, axis, b, keepdims), rtol=1e-12)
    check_grads(lambda x, w: hnp.logsumexp(x, axis, b=w), (X, b))


def test_logsumexp_does_not_overflow_and_knows_the_empty_sum():
    inf = np.inf
    rows = np.array([[1000.0, 1000.0], [-inf, -inf], [-inf, 2.0], [inf, 1.0], [-1000.0, -1000.0]])
    expected = [1000 + np.log(2), -inf, 2.0, inf, -1000 + np.log(2)]
    np.testing.assert_allclose(value_of(hnp.logsumexp(rows, -1)), expected, rtol=1e-15)
    np.testing.assert_array_equal(value_of(hnp.logsumexp(np.zeros((2, 0)), -1)), [-inf, -inf])
    np.testing.assert_allclose(value_of(hnp.softmax(rows[[0, 4]], -1)), np.full((2, 2), 0.5))
    big = value_of(hnp.logsumexp(rows[0], b=np.array([1.0, 3.0])))
    assert big == pytest.approx(1000 + np.log(4), rel=1e-15)


def test_sums_of_exponentials_of_scalars_and_integers():
    assert value_of(hnp.logsumexp(2.0)) == 2.0
    assert value_of(hnp.softmax(tensor(2.0))) == 1.0
    assert value_of(hnp.softmax(np.array([1, 1]))).tolist() == [0.5, 0.5]
    assert value_of(hnp.logsumexp(np.ones(2, np.float32))).dtype == np.float32


def test_softplus_and_log_expit_do_not_overflow():
    x = np.array([-1000.0, -40.0, 0.0, 40.0, 1000.0])
    np.testing.assert_allclose(value_of(hnp.softplus(x)), np.logaddexp(x, 0), rtol=1e-15)
    np.testing.assert_allclose(value_of(hnp.log_expit(x)), -np.logaddexp(-x, 0), rtol=1e-15)
    slopes = value_of(grad(lambda v: hnp.softplus(v).sum())(x))
    np.testing.assert_allclose(slopes, scipy.special.expit(x), rtol=1e-14)


# -- derivatives --------------------------------------------------------------------------------


def nested(f, order):
    for _ in range(order):
        f = grad(f)
    return f


def test_gamma_family_differentiates_to_any_order():
    for x in (0.7, 3.2, -1.4):
        for order in range(1, 5):
            exact = nested(hnp.gammaln, order)(x)
            assert exact == pytest.approx(value_of(hnp.polygamma(order - 1, x)), rel=1e-12)
    assert nested(hnp.digamma, 3)(2.5) == pytest.approx(scipy.special.polygamma(3, 2.5))


def test_polygamma_at_negative_numbers_obeys_its_recurrence():
    x = np.array([-0.3, -1.6, -5.5, -40.25])
    for n in (1, 2, 3):
        below, above = value_of(hnp.polygamma(n, x)), value_of(hnp.polygamma(n, x + 1))
        step = (-1.0) ** n * scipy.special.factorial(n) / x ** (n + 1)
        np.testing.assert_allclose(above, below + step, rtol=1e-12)


def test_polygamma_has_infinite_poles():
    for n in (1, 3):
        assert value_of(hnp.polygamma(n, np.array([0.0, -2.0]))).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("order", range(5))
def test_bessel_functions_at_0_have_all_their_derivatives(order):
    """Coefficients of the power series of J0 and I0, times factorials."""
    size = 0.0 if order % 2 else [1.0, 0, 0.5, 0, 3 / 8][order]
    assert nested(hnp.i0, order)(0.0) == pytest.approx(size, abs=1e-15)
    assert nested(hnp.j0, order)(0.0) == pytest.approx((-1) ** (order // 2) * size, abs=1e-15)
    odd = [0, 0.5, 0, 3 / 8, 0][order]
    assert nested(hnp.i1, order)(0.0) == pytest.approx(odd, abs=1e-15)
    assert nested(hnp.j1, order)(0.0) == pytest.approx((-1) ** (order // 2) * odd, abs=1e-15)


@pytest.mark.parametrize("name", ["j0", "j1", "i0", "i1", "i0e", "i1e"])
def test_bessel_functions_agree_with_scipy(name):
    x = np.array([-3.0, -0.2, 0.0, 1.0, 20.0])
    f = getattr(hnp, name)
    np.testing.assert_allclose(value_of(f(x)), getattr(scipy.special, name)(x), rtol=1e-14)
    check_grads(f, (np.array([-3.0, -0.2, 1.0, 4.0]),), order=3)


def test_bessel_functions_of_higher_order():
    np.testing.assert_allclose(value_of(hnp.jv(3, X)), scipy.special.jv(3, X), rtol=1e-13)
    np.testing.assert_allclose(value_of(hnp.iv(2, X)), scipy.special.iv(2, X), rtol=1e-13)


def test_derivatives_far_out_on_the_normal_distribution():
    """Density and distribution underflow at -40; their ratio is near 40."""
    assert grad(hnp.log_ndtr)(-40.0) == pytest.approx(40.024968886, rel=1e-9)
    assert grad(hnp.erfc)(5.0) == pytest.approx(-2 / np.sqrt(np.pi) * np.exp(-25.0), rel=1e-14)


@pytest.mark.parametrize("f", [hnp.erfinv, hnp.ndtri, hnp.erfcinv])
def test_inverses_have_inverse_slopes(f):
    forward = {hnp.erfinv: hnp.erf, hnp.ndtri: hnp.ndtr, hnp.erfcinv: hnp.erfc}[f]
    there_and_back = jvp(lambda x: f(forward(x)), (np.array([0.3, 1.2]),), (np.ones(2),))
    np.testing.assert_allclose(value_of(there_and_back[1]), [1, 1], rtol=1e-12)


def test_entropy_of_impossible_events_has_slope_0_in_the_prediction():
    labels, p = np.array([0.0, 1.0]), np.array([0.0, 0.5])
    found = value_of(grad(lambda q: hnp.xlogy(labels, q).sum())(p))
    np.testing.assert_array_equal(found, [0.0, 2.0])
    for f in (hnp.rel_entr, hnp.xlog1py, hnp.kl_div):
        check_grads(f, (np.array([0.2, 0.7]), np.array([0.5, 0.3])))


def test_huber_losses():
    r = np.array([-3.0, -0.5, 0.2, 4.0])
    for name in ("huber", "pseudo_huber"):
        f = getattr(hnp, name)
        np.testing.assert_allclose(
            value_of(f(1.5, r)), getattr(scipy.special, name)(1.5, r), rtol=1e-13
        )
        check_grads(f, (np.array(1.5), r))
    slopes = value_of(grad(lambda x: hnp.huber(1.5, x).sum())(r))
    np.testing.assert_allclose(slopes, np.clip(r, -1.5, 1.5))
    assert value_of(hnp.pseudo_huber(1.0, 1e-9)) == pytest.approx(5e-19, rel=1e-12)


def test_incomplete_gamma_differentiates_in_its_second_argument_only():
    a, x = np.array([0.7, 2.0, 5.0]), np.array([0.2, 2.0, 4.0])
    for f, sign in ((hnp.gammainc, 1), (hnp.gammaincc, -1)):
        density = x ** (a - 1) * np.exp(-x) / scipy.special.gamma(a)
        found = value_of(grad(lambda v, f=f: f(a, v).sum())(x))
        np.testing.assert_allclose(found, sign * density, rtol=1e-12)
        with pytest.raises(DifferentiationError, match=r"gammainc.* first argument"):
            grad(lambda v, f=f: f(v, x).sum())(a)
        with pytest.raises(DifferentiationError, match=r"gammainc.* first argument"):
            jvp(f, (a, x), (a, x))


@pytest.mark.parametrize("name", ["gammainc", "gammaincc", "polygamma"])
def test_primitives_refuse_a_tracked_first_argument_themselves(name):
    f, a = getattr(gamma_functions, name), np.array([1.0, 2.0])
    for g in (f, getattr(hnp, name)):
        with pytest.raises(DifferentiationError, match=rf"{name} .* first argument"):
            grad(lambda v, g=g: g(v, a).sum())(a)
        with pytest.raises(DifferentiationError, match=rf"{name} .* first argument"):
            jvp(lambda v, g=g: g(v, a), (a,), (a,))


def test_what_is_not_known_of_complex_numbers_says_so():
    z = np.array([1.0 + 2.0j, 0.5 - 0.3j])
    slope = gradient_of(hnp.gamma, z)
    np.testing.assert_allclose(slope, scipy.special.gamma(z) * scipy.special.psi(z), rtol=1e-13)
    with pytest.raises(DifferentiationError, match="digamma of complex numbers"):
        gradient_of(hnp.digamma, z)
    with pytest.raises(DifferentiationError, match="digamma of complex numbers"):
        jvp(lambda v: jvp(hnp.gamma, (v,), (z,))[1], (z,), (z,))
    for f in (hnp.softplus, lambda z: hnp.polygamma(1, z)):
        with pytest.raises(TypeError, match="takes real numbers"):
            f(z)


def gradient_of(f, z):
    return vjp(f, z)[1](np.ones_like(z))[0]


def test_exponential_distribution_is_smooth_at_its_start():
    """For a = 1 the density at 0 is 1, and neither 0 log 0 nor its slope may spoil it."""
    assert grad(lambda v: hnp.gammainc(1.0, v))(0.0) == 1.0


# -- dtypes, names, imports ---------------------------------------------------------------------

ONE = sorted(
    name
    for name in special.__all__
    if list(inspect.signature(getattr(special, name)).parameters) == ["x"]
    and name not in ("lgamma", "log_sigmoid", "softplus")
)


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_array_agree_with_scipy_in_both_precisions(name):
    x = np.array([[0.2, 0.3], [0.6, 0.9]])
    for dtype, rtol in ((np.float64, 1e-13), (np.float32, 1e-5)):
        found = getattr(hnp, name)(tensor(x.astype(dtype)))
        assert found.dtype == dtype
        expected = getattr(scipy.special, name)(x)
        np.testing.assert_allclose(value_of(found), expected, rtol=rtol, atol=rtol)
        gradient = grad(lambda v, name=name: getattr(hnp, name)(v).sum())(x.astype(dtype))
        assert gradient.dtype == dtype


def test_polygamma_stays_in_single_precision():
    x = np.array([0.5, -0.5], np.float32)
    assert value_of(hnp.polygamma(np.array([1, 2]), x)).dtype == np.float32


def test_scipy_is_imported_when_first_used():
    program = (
        "import sys, hpcad.numpy as hnp; assert 'scipy.special' not in sys.modules; "
        "hnp.erf(0.5); assert 'scipy.special' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
