"""Elementwise functions: dtypes, numbers as operands, and derivatives where they are not smooth."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import grad, jvp, tensor
from hpcad.autodiff import value_of
from hpcad.numpy import elementwise, elementwise_options


def slope(f, x):
    """Derivatives of an elementwise function by reverse mode, which forward mode must agree on."""
    x = np.asarray(x)
    backward = np.asarray(value_of(grad(lambda y: f(y).sum())(x)))
    forward = np.asarray(value_of(jvp(f, (x,), (np.ones_like(x),))[1]))
    np.testing.assert_allclose(backward, forward, rtol=1e-14)
    return backward


# -- what is masked stays 0 -------------------------------------------------------------------

SINGULAR = {
    "sqrt": (hnp.sqrt, 0.0),
    "sqrt below its domain": (hnp.sqrt, -1.0),
    "log": (hnp.log, 0.0),
    "log below its domain": (hnp.log, -1.0),
    "log2": (hnp.log2, 0.0),
    "log10": (hnp.log10, 0.0),
    "log1p": (hnp.log1p, -1.0),
    "reciprocal": (hnp.reciprocal, 0.0),
    "number / x": (lambda x: hnp.divide(1.0, x), 0.0),
    "x / x": (lambda x: hnp.divide(x, x), 0.0),
    "x / array": (lambda x: hnp.divide(x, np.zeros_like(value_of(x))), 1.0),
    "cbrt": (hnp.cbrt, 0.0),
    "asin": (hnp.asin, 1.0),
    "acos": (hnp.acos, -1.0),
    "acosh": (hnp.acosh, 1.0),
    "atanh": (hnp.atanh, 1.0),
    "x ** 0.5": (lambda x: hnp.power(x, 0.5), 0.0),
    "x ** -1": (lambda x: hnp.power(x, -1), 0.0),
    "x ** x": (lambda x: hnp.power(x, x), -0.5),
    "x ** array": (lambda x: hnp.power(x, np.full(np.shape(x), 0.5)), 0.0),
    "hypot": (lambda x: hnp.hypot(x, x), 0.0),
    "xlogy": (lambda x: hnp.xlogy(1.0, x), 0.0),
    "entr": (hnp.entr, 0.0),
    "logit": (hnp.logit, 1.0),
    "erfinv": (hnp.erfinv, 1.0),
}
POINTS = pytest.mark.parametrize(("f", "point"), SINGULAR.values(), ids=SINGULAR.keys())


@POINTS
@pytest.mark.parametrize("make", [np.asarray, np.atleast_1d], ids=["scalar", "array"])
def test_a_masked_singularity_has_gradient_0_in_both_modes(f, point, make):
    x = make(point)
    with np.errstate(all="ignore"):
        found = slope(lambda y: hnp.where(hnp.equal(y, point), 0.0, f(y)), x)
    assert np.array_equal(found, np.zeros(np.shape(x)))


@POINTS
def test_a_masked_singularity_has_second_derivative_0(f, point):
    def masked(y):
        return hnp.where(hnp.equal(y, point), 0.0, f(y))

    with np.errstate(all="ignore"):
        assert grad(grad(masked))(point) == 0.0
        assert jvp(lambda y: jvp(masked, (y,), (1.0,))[1], (point,), (1.0,))[1] == 0.0


@pytest.mark.parametrize("n", [5, 10_000], ids=["small", "large"])
def test_masked_elements_leave_the_others_alone(n):
    x = np.where(np.arange(n) % 3 == 0, 0.0, np.arange(n) + 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = grad(lambda y: hnp.where(y > 0, hnp.sqrt(y), 0.0).sum())(x)
    expected = np.zeros(n)
    expected[x > 0] = 0.5 / np.sqrt(x[x > 0])
    np.testing.assert_allclose(value_of(found), expected, rtol=1e-15)


def test_the_double_where_works_too():
    safe = lambda y: hnp.where(y > 0, hnp.log(hnp.where(y > 0, y, 1.0)), 0.0)  # noqa: E731
    np.testing.assert_array_equal(slope(safe, [0.0, 2.0, -1.0]), [0.0, 0.5, 0.0])


def test_an_unmasked_root_at_0_has_an_infinite_slope():
    with np.errstate(divide="ignore"):
        assert grad(hnp.sqrt)(0.0) == np.inf
        assert grad(hnp.log)(0.0) == np.inf


def test_nan_is_not_hidden_by_the_mask_of_another_element():
    with np.errstate(all="ignore"):
        found = value_of(grad(lambda y: (hnp.sqrt(y) * [0.0, 1.0]).sum())(np.array([0.0, np.nan])))
    assert found[0] == 0.0
    assert np.isnan(found[1])


# -- points where functions are not smooth ------------------------------------------------------


def test_abs_has_slope_0_at_0_also_in_the_complex_plane():
    np.testing.assert_array_equal(slope(hnp.abs, [-2.0, 0.0, 3.0]), [-1.0, 0.0, 1.0])
    found = value_of(grad(lambda z: hnp.abs(z).sum())(np.array([0j, 3 + 4j])))
    np.testing.assert_allclose(found, [0, 0.6 - 0.8j], rtol=1e-15)


def test_gradient_of_the_squared_modulus_is_not_conjugated():
    assert grad(lambda z: hnp.abs(z) ** 2)(1 + 2j) == pytest.approx(2 - 4j)


def test_hypot_and_atan2_have_slope_0_at_the_origin():
    zero = np.zeros(2)
    for f in (hnp.hypot, hnp.atan2):
        for part in grad(lambda x, y, f=f: f(x, y).sum(), argnums=(0, 1))(zero, zero):
            np.testing.assert_array_equal(value_of(part), zero)


def test_hypot_and_atan2_do_not_overflow():
    for f, expected in ((hnp.hypot, 2**-0.5), (hnp.atan2, 0.5e-200)):
        assert grad(f)(1e200, 1e200) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("f", "x", "y", "expected"),
    [
        (hnp.maximum, [1.0, 2.0, 3.0], 2.0, [0.0, 0.5, 1.0]),
        (hnp.minimum, [1.0, 2.0, 3.0], 2.0, [1.0, 0.5, 0.0]),
        (hnp.fmax, [1.0, 2.0, np.nan], 2.0, [0.0, 0.5, 0.0]),
        (hnp.fmin, [1.0, 2.0, np.nan], 2.0, [1.0, 0.5, 0.0]),
        (hnp.fmax, [1.0], np.nan, [1.0]),
        (hnp.remainder, [5.0, -5.0], 3.0, [1.0, 1.0]),
        (hnp.copysign, [5.0, -5.0, 0.0], -1.0, [-1.0, 1.0, 0.0]),
        (hnp.heaviside, [5.0, 0.0], 0.5, [0.0, 0.0]),
    ],
)
def test_slope_in_the_first_argument(f, x, y, expected):
    if f is hnp.heaviside:
        assert np.all(slope(lambda v: f(v, y) + v, x) == 1.0)
    else:
        np.testing.assert_array_equal(slope(lambda v: f(v, y), x), expected)


@pytest.mark.parametrize(
    ("f", "x", "y", "expected"),
    [
        (hnp.maximum, 2.0, [1.0, 2.0, 3.0], [0.0, 0.5, 1.0]),
        (hnp.minimum, 2.0, [1.0, 2.0, 3.0], [1.0, 0.5, 0.0]),
        (hnp.remainder, 5.0, [3.0, -3.0], [-1.0, 2.0]),
        (hnp.fmod, 5.0, [3.0, -3.0], [-1.0, 1.0]),
        (hnp.heaviside, np.array([0.0, 1.0]), [0.5, 0.5], [1.0, 0.0]),
    ],
)
def test_slope_in_the_second_argument(f, x, y, expected):
    np.testing.assert_array_equal(slope(lambda v: f(x, v), y), expected)


def test_tied_cotangents_add_up_to_the_whole():
    x = np.array([2.0])
    assert value_of(grad(lambda v: hnp.maximum(v, v).sum())(x)) == 1.0


def test_clip_has_slope_1_inside_and_on_its_bounds():
    x = [-2.0, -1.0, 0.0, 1.0, 2.0]
    np.testing.assert_array_equal(slope(lambda v: hnp.clip(v, -1.0, 1.0), x), [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(slope(lambda v: hnp.clip(v, min=-1.0), x), [0, 1, 1, 1, 1])
    np.testing.assert_array_equal(slope(lambda v: hnp.clip(v, max=1.0), x), [1, 1, 1, 1, 0])
    np.testing.assert_array_equal(slope(hnp.clip, x), [1, 1, 1, 1, 1])


def test_clip_gives_the_bound_what_it_takes_from_the_element():
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    low, high = np.full(5, -1.0), np.full(5, 1.0)
    parts = grad(lambda *a: hnp.clip(*a).sum(), argnums=(0, 1, 2))(x, low, high)
    np.testing.assert_array_equal(value_of(parts[1]), [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(value_of(parts[2]), [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(sum(map(value_of, parts)), np.ones(5))
    crossed = grad(lambda *a: hnp.clip(*a), argnums=(0, 1, 2))(0.0, 2.0, 1.0)
    assert crossed == (0.0, 0.0, 1.0)


def test_clip_takes_NumPys_names_of_the_bounds():
    np.testing.assert_array_equal(value_of(hnp.clip(np.arange(4), a_min=1, a_max=2)), [1, 1, 2, 2])


def test_step_functions_are_constant():
    x = np.array([0.3, 1.7])
    steps = [hnp.floor, hnp.ceil, hnp.trunc, hnp.rint, hnp.round, hnp.sign, hnp.signbit]
    steps += [hnp.isfinite, hnp.isnan, lambda v: hnp.floor_divide(v, 0.4), lambda v: v > 1]
    for f in steps:
        found = value_of(grad(lambda v, f=f: (v * f(v)).sum())(x))
        np.testing.assert_array_equal(found, np.asarray(f(x), float))


def test_sign_of_a_complex_number_turns():
    z, t = 3 + 4j, 1 - 2j
    moved = (np.sign(z + 1e-6 * t) - np.sign(z - 1e-6 * t)) / 2e-6
    assert complex(value_of(jvp(hnp.sign, (z,), (t,))[1])) == pytest.approx(moved, rel=1e-8)


# -- powers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize(
    ("y", "first", "second"),
    [
        (0, [0, 0, 0], [0, 0, 0]),
        (1, [1, 1, 1], [0, 0, 0]),
        (2, [-4, 0, 6], [2, 2, 2]),
        (3, [12, 0, 27], [-12, 0, 18]),
        (-1, [-1 / 4, -np.inf, -1 / 9], [-1 / 4, np.inf, 2 / 27]),
    ],
)
def test_powers_of_negative_numbers_and_of_0(as_array, y, first, second):
    x = np.array([-2.0, 0.0, 3.0])
    exponent = np.full(3, float(y)) if as_array else y
    with np.errstate(divide="ignore"):
        found = slope(lambda v: hnp.power(v, exponent), x)
        np.testing.assert_allclose(found, first)
        twice = value_of(grad(lambda u: grad(lambda v: hnp.power(v, exponent).sum())(u).sum())(x))
    np.testing.assert_allclose(twice[[0, 2]], np.array(second)[[0, 2]])


def test_power_of_0_does_not_change_with_the_exponent():
    np.testing.assert_array_equal(slope(lambda y: hnp.power(np.zeros(2), y), [0.0, 2.0]), [0, 0])
    assert slope(lambda y: hnp.power(0, y), 2.0) == 0
    np.testing.assert_allclose(slope(lambda y: hnp.power(2.0, y), 3.0), 8 * np.log(2))


def test_powers_stay_in_single_precision():
    x = np.array([1.5, 2.0], np.float32)
    for f in (lambda v: v**2, lambda v: v**0.5, lambda v: 2.0**v, lambda v: hnp.power(v, v)):
        y, t = jvp(f, (x,), (x,))
        assert y.dtype == t.dtype == grad(lambda v, f=f: f(v).sum())(x).dtype == np.float32


# -- accuracy -----------------------------------------------------------------------------------


def test_derivatives_do_not_cancel_where_the_function_does_not():
    assert grad(hnp.expm1)(-40.0) == pytest.approx(np.exp(-40.0), rel=1e-14)
    near = np.nextafter(1.0, 0.0)
    assert grad(hnp.asin)(near) == pytest.approx((2 * 2.0**-53) ** -0.5, rel=1e-7)
    assert grad(hnp.atanh)(near) == pytest.approx(1 / (2 * 2.0**-53), rel=1e-7)


def test_expm1_of_small_complex_numbers_does_not_cancel():
    z = 1e-12 * np.exp(1j * np.linspace(0, 6, 7))
    np.testing.assert_allclose(value_of(hnp.expm1(z)), z + z * z / 2, rtol=1e-14)


def test_sinc_has_all_its_derivatives_at_0():
    f, found = hnp.sinc, []
    for _ in range(4):
        f = grad(f)
        found.append(f(0.0))
    np.testing.assert_allclose(found, [0, -(np.pi**2) / 3, 0, np.pi**4 / 5], atol=1e-12)


def test_sinc_derivatives_agree_where_the_series_ends():
    third = grad(grad(grad(hnp.sinc)))
    edge = 5 / np.pi
    below, above = third(np.nextafter(edge, 0)), third(np.nextafter(edge, 2))
    assert below == pytest.approx(above, rel=1e-11)


# -- special values -----------------------------------------------------------------------------


def test_floor_divide_by_and_of_infinity():
    x = np.array([np.inf, np.inf, -np.inf, 1.0, -1.0, np.inf, np.nan, 7.0])
    y = np.array([2.0, -2.0, 2.0, -np.inf, np.inf, np.inf, np.inf, 2.0])
    found = value_of(hnp.floor_divide(x, y))
    np.testing.assert_array_equal(
        found, [np.inf, -np.inf, -np.inf, -0.0, -0.0, np.nan, np.nan, 3.0]
    )
    assert np.signbit(found[[3, 4]]).all()
    assert value_of(hnp.floor_divide(np.float32(np.inf), 2)).dtype == np.float32


def test_complex_expm1_and_tanh_at_infinity():
    inf, nan = np.inf, np.nan
    z = np.array([complex(-inf, inf), complex(inf, 0), complex(-0.0, 0), complex(nan, 0)])
    found = value_of(hnp.expm1(z))
    np.testing.assert_array_equal(found.real, [-1, inf, 0, nan])
    np.testing.assert_array_equal(found.imag, [0, 0, 0, 0])
    assert not np.signbit(found.real[2])
    turned = value_of(hnp.tanh(np.array([complex(inf, 2), complex(-inf, -2)])))
    np.testing.assert_array_equal(turned, [1, -1])
    np.testing.assert_array_equal(np.signbit(turned.imag), [False, True])


# -- dtypes and numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("f", [hnp.ceil, hnp.floor, hnp.trunc, hnp.round, hnp.conj, hnp.real])
def test_integers_stay_integers(f):
    for dtype in (np.int8, np.uint16, np.int64):
        found = value_of(f(tensor(np.array([1, 2], dtype))))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, [1, 2])


def test_parts_of_complex_arrays_are_real():
    z = np.array([3 + 4j], np.complex64)
    for f in (hnp.real, hnp.imag, hnp.abs, hnp.angle):
        assert value_of(f(z)).dtype == np.float32
    assert value_of(hnp.imag(np.array([1.0]))) == 0.0


TWO = [
    name
    for name in elementwise.__all__
    if list(inspect.signature(getattr(elementwise, name)).parameters) == ["x1", "x2"]
]
DISCRETE = [n for n in TWO if "bitwise" in n or "shift" in n]


@pytest.mark.parametrize("name", sorted(set(TWO) - set(DISCRETE) - {"ldexp"}))
def test_a_python_number_takes_the_dtype_of_the_array(name):
    f, theirs = getattr(hnp, name), getattr(np, name)
    x = np.array([0.5, 2.0], np.float32)
    for args in ((x, 2.0), (2.0, x), (x, 2), (2, x)):
        found = value_of(f(*(tensor(a) if a is x else a for a in args)))
        assert found.dtype == theirs(*args).dtype
        np.testing.assert_allclose(found, theirs(*args), rtol=1e-6)
        if found.dtype == np.float32:
            tracked = 0 if args[0] is x else 1
            gradient = grad(lambda *a, f=f: (f(*a) + 0 * a[tracked]).sum(), argnums=tracked)  # noqa: B023
            assert gradient(*args).dtype == np.float32


@pytest.mark.parametrize("name", DISCRETE)
def test_operations_on_bits_take_numbers(name):
    x = np.array([5, 2], np.int16)
    for args in ((x, 3), (3, x)):
        found = value_of(getattr(hnp, name)(*args))
        np.testing.assert_array_equal(found, getattr(np, name)(*args))
        assert found.dtype == np.int16


ONE = sorted(
    name
    for name in elementwise.__all__
    if list(inspect.signature(getattr(elementwise, name)).parameters) == ["x"]
    and not name.startswith(("bitwise", "invert"))
)


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_array_agree_with_numpy(name):
    theirs = np.trunc if name == "fix" else getattr(np, name)  # NumPy 2.5 deprecates fix
    x = np.linspace(-0.9, 0.9, 4) + (2 if "cosh" in name else 0)
    x = np.abs(x) if "log" in name or name == "sqrt" else x
    for given in (x, x.astype(np.float32), x.reshape(2, 2)[:, ::-1], x[:0], x[1]):
        found = value_of(getattr(hnp, name)(given))
        np.testing.assert_allclose(found, theirs(given), rtol=1e-6)
        assert np.asarray(found).dtype == np.asarray(theirs(given)).dtype
        assert isinstance(getattr(hnp, name)(tensor(np.asarray(given))), type(tensor(x)))


@pytest.mark.parametrize("name", [*elementwise.__all__, *elementwise_options.__all__])
def test_help_says_whether_it_is_differentiated(name):
    text = inspect.getdoc(getattr(hnp, name))
    words = ("erivative", "constant", "ifferentiable", "Not differentiated", "see :func", "Whether")
    assert any(word in text for word in words)


# -- functions with options ---------------------------------------------------------------------


def test_nan_to_num_is_constant_where_it_replaced():
    x = np.array([1.0, np.nan, np.inf])
    np.testing.assert_array_equal(value_of(hnp.nan_to_num(x, nan=7.0, posinf=8.0)), [1, 7, 8])
    np.testing.assert_array_equal(slope(hnp.nan_to_num, x), [1, 0, 0])
    z = np.array([complex(1, np.nan)])
    assert value_of(hnp.nan_to_num(z)) == 1
    assert value_of(grad(lambda v: hnp.real(hnp.nan_to_num(v)).sum())(z)) == 1


def test_modf_frexp_and_divmod_take_numbers_apart():
    x = np.array([-2.75, 3.5])
    for f in ("modf", "frexp"):
        for ours, theirs in zip(getattr(hnp, f)(x), getattr(np, f)(x), strict=True):
            np.testing.assert_array_equal(value_of(ours), theirs)
    for ours, theirs in zip(hnp.divmod(x, 2.0), np.divmod(x, 2.0), strict=True):
        np.testing.assert_array_equal(value_of(ours), theirs)
    np.testing.assert_array_equal(slope(lambda v: hnp.modf(v)[0], x), [1, 1])
    np.testing.assert_array_equal(slope(lambda v: hnp.frexp(v)[0], x), [0.25, 0.25])


def test_unwrap_and_angle_follow_a_turning_point():
    t = np.linspace(0, 12, 30)

    def phase(s):
        return hnp.unwrap(hnp.angle(hnp.exp(s * 1j)))

    np.testing.assert_allclose(value_of(phase(t)), t, atol=1e-12)
    np.testing.assert_allclose(slope(phase, t), np.ones(30), rtol=1e-12)
    assert value_of(hnp.angle(1j, deg=True)) == pytest.approx(90.0)


def test_float_power_of_integers_is_double():
    found = value_of(hnp.float_power(np.array([2], np.int32), -1))
    assert found.dtype == np.float64
    assert found == 0.5


def test_closeness_and_kinds():
    x = np.array([1.0, np.nan])
    assert value_of(hnp.isclose(x, x + 1e-9)).tolist() == [True, False]
    assert hnp.allclose(tensor(x), x, equal_nan=True) is True
    assert hnp.allclose(x, x) is False
    assert value_of(hnp.isposinf([np.inf, -np.inf])).tolist() == [True, False]
    assert value_of(hnp.isneginf([np.inf, -np.inf])).tolist() == [False, True]
    assert value_of(hnp.isreal([1j, 2])).tolist() == [False, True]
    assert value_of(hnp.iscomplex([1j, 2])).tolist() == [True, False]
    assert hnp.iscomplexobj(tensor(1j))
    assert hnp.isrealobj(tensor(1.0))


def test_casting_to_integers_is_a_step():
    from hpcad.primitives.elementwise import cast

    found = grad(lambda x: (x * cast(cast(x, dtype=np.int64), dtype=np.float64)).sum())
    np.testing.assert_array_equal(value_of(found(np.array([1.7, 2.2]))), [1.0, 2.0])


# -- the plane and NumPy's own names ------------------------------------------------------------

COMPLEX_SINGULAR = {
    "sqrt": (hnp.sqrt, 0j),
    "log": (hnp.log, 0j),
    "log1p": (hnp.log1p, -1 + 0j),
    "reciprocal": (hnp.reciprocal, 0j),
    "abs": (lambda z: hnp.abs(z) + 0j, 0j),
    "sign": (hnp.sign, 0j),
    "angle": (lambda z: hnp.angle(z) + 0j, 0j),
    "power": (lambda z: hnp.power(z, 0.5), 0j),
    "atan": (hnp.atan, 1j),
    "asin": (hnp.asin, 1 + 0j),
    "atanh": (hnp.atanh, -1 + 0j),
}


@pytest.mark.parametrize(("f", "point"), COMPLEX_SINGULAR.values(), ids=COMPLEX_SINGULAR.keys())
def test_a_masked_singularity_in_the_plane_has_gradient_0(f, point):
    z = np.array([point, 0.5 + 0.5j])

    def masked(v):
        return hnp.where(np.array([True, False]), 0.0, f(v))

    with np.errstate(all="ignore"):
        gradient = value_of(grad(lambda v: hnp.real(masked(v)).sum())(z))
        tangent = value_of(jvp(masked, (z,), (np.ones(2) + 0j,))[1])
    assert gradient[0] == tangent[0] == 0
    assert np.isfinite(gradient[1])
    assert gradient[1] != 0


@pytest.mark.parametrize(
    "f",
    [
        np.sin, np.sinc, np.angle, np.real, np.round, np.i0, np.deg2rad, np.unwrap, np.nan_to_num,
        np.sign, np.floor, np.expm1, np.fabs, np.arctan, np.conjugate, np.positive, np.around,
        lambda x: np.clip(x, -0.5, 0.5), lambda x: np.remainder(x, 0.3), lambda x: np.modf(x)[0],
        lambda x: np.frexp(x)[0], lambda x: np.divmod(x, 0.3)[1], lambda x: np.ldexp(x, 2),
        lambda x: np.float_power(x + 2, 1.5), lambda x: np.floor_divide(x, 0.3), np.isfinite,
        lambda x: np.isclose(x, 0.25, atol=0.1), lambda x: np.heaviside(x, 0.5),
        lambda x: np.nan_to_num(x, nan=1.0), lambda x: np.round(x, 1),
    ],
)  # fmt: skip
def test_NumPys_functions_take_tensors(f):
    x = np.array([-0.75, 0.25, 1.0])
    np.testing.assert_allclose(value_of(f(tensor(x))), f(x), rtol=1e-14)
    value, tangent = jvp(f, (x,), (np.ones(3),))
    np.testing.assert_allclose(value_of(value), f(x), rtol=1e-14)
    if value.dtype == np.float64:
        steps = value_of(f(x + 1e-6)) - value_of(f(x - 1e-6))
        smooth = np.abs(steps) < 1e-4
        np.testing.assert_allclose(value_of(tangent)[smooth], steps[smooth] / 2e-6, atol=1e-8)
