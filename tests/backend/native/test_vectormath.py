"""Vectorised functions: accuracy in units in the last place, and NumPy's special values."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest

from hpcad.backend.native.compiler import find_compiler
from hpcad.backend.native.library import load

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")

# The bounds that vectormath.h states, for float32 and float64.
BOUNDS = {
    "exp": (1.1, 1.1),
    "exp2": (1.1, 1.2),
    "expm1": (1.6, 1.8),
    "log": (1.0, 1.0),
    "log2": (1.3, 1.2),
    "log1p": (1.6, 1.6),
    "tanh": (2.6, 2.6),
    "sigmoid": (2.5, 2.5),
    "erf": (1.1, 1.1),
    "log10": (1.3, 1.1),
    "sin": (1.8, 1.8),
    "cos": (1.9, 1.8),
    "tan": (2.8, 2.8),
    "asin": (1.8, 1.8),
    "acos": (1.3, 1.3),
    "atan": (1.3, 1.3),
    "sinh": (2.1, 2.3),
    "cosh": (2.0, 1.8),
    "asinh": (2.0, 1.8),
    "acosh": (2.5, 2.6),
    "atanh": (2.3, 2.3),
    "cbrt": (1.0, 1.0),
    "erfc": (2.5, 2.5),
}
BOUNDS_2 = {"atan2": (1.7, 1.7), "hypot": (0.6, 1.2), "power": (1.1, 1.1)}
UNFUSED = 1.2  # more, where the processor has no fused multiply-add
LIBM_1 = ("gamma", "gammaln")
EXPONENTS = (-2, -1, -0.5, 0.5, 1, 1.5, 2, 2.5, 3, 4, 0, 5, 7, -3, 0.3)  # known to the compiler


def _reference(name):
    import scipy.special

    others = {
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "asin": np.arcsin,
        "acos": np.arccos,
        "atan": np.arctan,
        "asinh": np.arcsinh,
        "acosh": np.arccosh,
        "atanh": np.arctanh,
        "atan2": np.arctan2,
    }
    return others.get(name) or getattr(np, name, None) or getattr(scipy.special, name)


def _source(names, arguments):
    lines = ['#include "vectormath.h"']
    for name in names:
        for ending, real in (("f32", "float"), ("f64", "double")):
            given = ", ".join(["x[i]", "y[i]"][:arguments])
            lines.append(
                f"void {name}_{ending}(const {real} *x, const {real} *y, {real} *z, long n)"
                f"{{ for (long i = 0; i < n; i++) z[i] = hp_{name}_{ending}({given}); }}"
            )
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module", params=["fused", "unfused"])
def computed(request):
    """``computed(name, x)``, with and without fused multiply-add."""
    head = "" if request.param == "fused" else "#undef __FMA__\n#undef __ARM_FEATURE_FMA\n"
    source = _source(BOUNDS, 1) + _source(BOUNDS_2, 2)
    library = load(head + source, "vectormath-test")

    def compute(name, x, y=None):
        return _call(library, name, x, x if y is None else y)

    compute.slack = 0.0 if request.param == "fused" else UNFUSED
    return compute


def _call(library, name, x, y):
    z = np.empty_like(x)
    function = getattr(library, f"{name}_f{8 * x.itemsize}")
    function.restype = None
    function(*(ctypes.c_void_p(a.ctypes.data) for a in (x, y, z)), ctypes.c_long(x.size))
    return z


def _ulps(found, exact):
    """Distance in units in the last place of ``exact`` rounded; infinite where a class differs."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(found.dtype)
        error = np.abs(found - exact) / np.spacing(np.abs(rounded)).astype(exact.dtype)
    same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    finite = np.isfinite(found) & np.isfinite(rounded)
    return np.where(same, np.where(finite, error, 0), np.where(finite, error, np.inf))


def _every_exponent(dtype, count):
    """Numbers of all exponents and both signs, and denser ones where functions change."""
    rng = np.random.default_rng(0)
    if dtype == np.float32:
        bits = np.arange(0, 1 << 32, (1 << 32) // count, dtype=np.uint64)
        bits = (bits + rng.integers(0, (1 << 32) // count, bits.size)).astype(np.uint32)
    else:
        bits = rng.integers(0, 1 << 64, count, dtype=np.uint64, endpoint=False)
    dense = [rng.normal(0, scale, count // 4) for scale in (1e-3, 0.3, 2, 30)]
    near_1 = 1 + rng.normal(0, 1, count // 4) * 10 ** rng.uniform(-6, 0, count // 4)
    return np.concatenate([bits.view(dtype), *(d.astype(dtype) for d in (*dense, near_1))])


@pytest.mark.parametrize("name", BOUNDS)
def test_float32_is_within_its_bound_over_all_exponents(computed, name):
    x = _every_exponent(np.float32, 1 << 17)
    with np.errstate(all="ignore"):
        exact = _reference(name)(x.astype(np.float64))
    assert _ulps(computed(name, x), exact).max() <= BOUNDS[name][0] + computed.slack


_IN_DOUBLE = ("erf", "erfc")


def _wide(name, x):
    """In long double; Python has no such error functions."""
    if name in _IN_DOUBLE:
        return np.array([getattr(math, name)(value) for value in x])
    return _reference(name)(x.astype(np.longdouble))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long double is no longer here")
@pytest.mark.parametrize("name", BOUNDS)
def test_float64_is_within_its_bound(computed, name):
    x = _every_exponent(np.float64, 1 << 16)
    with np.errstate(all="ignore"):
        exact = _wide(name, x)
    own = 1.0 if name in _IN_DOUBLE else 0.0  # that of the C library, which is correct to 1
    worst = _ulps(computed(name, x), exact.astype(np.longdouble)).max()
    assert worst <= BOUNDS[name][1] + own + computed.slack


def _pairs(dtype):
    """Numbers of all exponents, of like size, around 1, and small integers."""
    rng = np.random.default_rng(1)
    wide = [rng.permutation(_every_exponent(dtype, 1 << 15)) for _ in range(2)]
    sizes = 10 ** rng.uniform(-6, 6, 1 << 15)
    alike = [rng.normal(0, 1, sizes.size) * sizes for _ in range(2)]
    whole = [rng.integers(-20, 20, 1 << 13) for _ in range(2)]
    halves = [rng.integers(-20, 20, 1 << 13) / 2 for _ in range(2)]
    mixed = [rng.normal(0, 3, 1 << 13), rng.integers(-20, 20, 1 << 13)]
    kinds = zip(wide, alike, whole, halves, mixed, strict=True)
    return tuple(np.concatenate([part.astype(dtype) for part in kind]) for kind in kinds)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long double is no longer here")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BOUNDS_2)
def test_functions_of_two_numbers_are_within_their_bounds(computed, name, dtype):
    x, y = _pairs(dtype)
    with np.errstate(all="ignore"):
        exact = _reference(name)(x.astype(np.longdouble), y.astype(np.longdouble))
    worst = _ulps(computed(name, x, y), exact).max()
    assert worst <= BOUNDS_2[name][dtype == np.float64] + computed.slack


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BOUNDS_2)
def test_special_values_of_two_numbers_are_those_of_numpy(computed, name, dtype):
    info = np.finfo(dtype)
    sizes = [0, info.smallest_subnormal, info.tiny, 0.5, 1, 2, 3, 2.5, 1e6 + 1, info.max, np.inf]
    values = np.array([*sizes, *(-s for s in sizes), np.nan, -np.nan], dtype)
    x, y = (a.ravel().copy() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        exact = _reference(name)(x.astype(np.float64), y.astype(np.float64)).astype(dtype)
        if dtype == np.float64:
            exact = _reference(name)(x.astype(np.longdouble), y.astype(np.longdouble))
            exact = exact.astype(dtype)
    found = computed(name, x, y)
    np.testing.assert_allclose(found, exact, rtol=3 * info.eps)
    number = ~np.isnan(exact)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(exact[number]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BOUNDS)
def test_special_values_are_those_of_numpy(computed, name, dtype):
    info = np.finfo(dtype)
    sizes = [0, info.smallest_subnormal, info.tiny, info.eps, 1, info.max, np.inf]
    x = np.array([*sizes, *(-s for s in sizes), np.nan, 200, -200, 2000, -2000], dtype)
    with np.errstate(all="ignore"):
        exact = _reference(name)(x.astype(np.float64)).astype(dtype)
    found = computed(name, x)
    np.testing.assert_array_almost_equal_nulp(found[np.isfinite(exact)], exact[np.isfinite(exact)])
    np.testing.assert_array_equal(found[~np.isfinite(exact)], exact[~np.isfinite(exact)])
    number = ~np.isnan(exact)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(exact[number]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["tanh", "erf", "sigmoid"])
def test_bounded_functions_keep_to_their_bounds(computed, name, dtype):
    found = computed(name, np.linspace(-40, 40, 400_001).astype(dtype))
    assert np.abs(found).max() == 1
    assert (np.diff(found) >= -2 * np.finfo(dtype).eps).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gamma_agrees_with_scipy(dtype):
    library = load(_source(LIBM_1, 1), "vectormath-test")
    x = np.linspace(-3.03, 3.01, 1001).astype(dtype)
    with np.errstate(all="ignore"):
        for name in LIBM_1:
            found, exact = _call(library, name, x, x), _reference(name)(x)
            np.testing.assert_allclose(
                found, exact, 8 * np.finfo(dtype).eps, 4 * np.finfo(dtype).eps
            )


# -- powers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_powers_of_whole_numbers_are_exact(computed, dtype):
    base, exponent = (a.ravel() for a in np.mgrid[-40:41, 0:30])
    exact = np.array([int(b) ** int(e) for b, e in zip(base, exponent, strict=True)], object)
    fits = [abs(value) <= 2 ** (24 if dtype == np.float32 else 53) for value in exact]
    found = computed("power", base[fits].astype(dtype), exponent[fits].astype(dtype))
    np.testing.assert_array_equal(found, exact[fits].astype(dtype))


@pytest.fixture(scope="module")
def literal_powers():
    """``power`` of exponents that are constants of the source."""
    lines = ['#include "vectormath.h"']
    for number, exponent in enumerate(EXPONENTS):
        for ending, real in (("f32", "float"), ("f64", "double")):
            lines.append(
                f"void power{number}_{ending}(const {real} *x, const {real} *y, {real} *z, long n)"
                "{ for (long i = 0; i < n; i++) "
                f"z[i] = hp_power_{ending}(x[i], ({real}){float(exponent)}); }}"
            )
    return load("\n".join(lines) + "\n", "vectormath-test")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", range(len(EXPONENTS)))
def test_known_exponents_give_what_unknown_ones_give(literal_powers, number, dtype):
    info = np.finfo(dtype)
    sizes = np.array([0, info.smallest_subnormal, info.tiny, 0.5, 1, 2, 3, info.max, np.inf])
    rng = np.random.default_rng(3)
    x = np.concatenate([sizes, -sizes, [np.nan], rng.normal(0, 3, 3000)]).astype(dtype)
    found = _call(literal_powers, f"power{number}", x, x)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.longdouble), dtype(EXPONENTS[number]))
    assert _ulps(found, exact).max() <= 2.5
    number = ~np.isnan(found)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(exact[number]))
