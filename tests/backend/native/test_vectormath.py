"""Vectorised functions: accuracy in units in the last place, and NumPy's special values."""

from __future__ import annotations

import math
import re
import subprocess

import numpy as np
import pytest

from hpcad.backend.native.compiler import HEADERS, find_compiler
from hpcad.backend.native.library import load

from .vectors import BOUNDS, BOUNDS_2, call, every_exponent, pairs, reference, source, ulps

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")

UNFUSED = 1.2  # more, where the processor has no fused multiply-add
LIBM_1 = ("gamma", "gammaln")


@pytest.fixture(scope="module", params=["fused", "unfused"])
def computed(request):
    """``computed(name, x)``, with and without fused multiply-add."""
    head = "" if request.param == "fused" else "#undef __FMA__\n#undef __ARM_FEATURE_FMA\n"
    text = source(BOUNDS, 1) + source(BOUNDS_2, 2)
    library = load(head + text, "vectormath-test")

    def compute(name, x, y=None):
        return call(library, name, x, x if y is None else y)

    compute.slack = 0.0 if request.param == "fused" else UNFUSED
    return compute


@pytest.mark.parametrize("name", BOUNDS)
def test_float32_is_within_its_bound_over_all_exponents(computed, name):
    x = every_exponent(np.float32, 1 << 17)
    with np.errstate(all="ignore"):
        exact = reference(name)(x.astype(np.float64))
    assert ulps(computed(name, x), exact).max() <= BOUNDS[name][0] + computed.slack


_IN_DOUBLE = ("erf", "erfc")


def _wide(name, x):
    """In long double; Python has no such error functions."""
    if name in _IN_DOUBLE:
        return np.array([getattr(math, name)(value) for value in x])
    return reference(name)(x.astype(np.longdouble))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long double is no longer here")
@pytest.mark.parametrize("name", BOUNDS)
def test_float64_is_within_its_bound(computed, name):
    x = every_exponent(np.float64, 1 << 16)
    with np.errstate(all="ignore"):
        exact = _wide(name, x)
    own = 1.0 if name in _IN_DOUBLE else 0.0  # that of the C library, which is correct to 1
    worst = ulps(computed(name, x), exact.astype(np.longdouble)).max()
    assert worst <= BOUNDS[name][1] + own + computed.slack


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long double is no longer here")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BOUNDS_2)
def test_functions_of_two_numbers_are_within_their_bounds(computed, name, dtype):
    x, y = pairs(dtype)
    with np.errstate(all="ignore"):
        exact = reference(name)(x.astype(np.longdouble), y.astype(np.longdouble))
    worst = ulps(computed(name, x, y), exact).max()
    assert worst <= BOUNDS_2[name][dtype == np.float64] + computed.slack


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BOUNDS_2)
def test_special_values_of_two_numbers_are_those_of_numpy(computed, name, dtype):
    info = np.finfo(dtype)
    sizes = [0, info.smallest_subnormal, info.tiny, 0.5, 1, 2, 3, 2.5, 1e6 + 1, info.max, np.inf]
    values = np.array([*sizes, *(-s for s in sizes), np.nan, -np.nan], dtype)
    x, y = (a.ravel().copy() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        exact = reference(name)(x.astype(np.float64), y.astype(np.float64)).astype(dtype)
        if dtype == np.float64:
            exact = reference(name)(x.astype(np.longdouble), y.astype(np.longdouble))
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
        exact = reference(name)(x.astype(np.float64)).astype(dtype)
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


def _is_gcc():
    found = find_compiler()
    return found is not None and "Free Software Foundation" in found.version


@pytest.mark.skipif(not _is_gcc(), reason="only gcc is asked which loops it vectorised")
def test_every_loop_becomes_simd_code_however_often_a_function_is_used(tmp_path):
    near = {name: f"{name}_near" if name in ("sin", "cos", "tan") else name for name in BOUNDS}
    calls = [f"hp_{name}_f64(x[i])" for name in near.values()]
    calls += [f"hp_{name}_f64(x[i], y[i])" for name in BOUNDS_2]
    loops = [
        f"void f{k}_{n}(const double *restrict x, const double *restrict y, double *restrict z)"
        f"{{ for (int i = 0; i < 4096; i++) z[i] = {k} * {value}; }}"
        for k in (3, 5)
        for n, value in enumerate(calls)
    ]
    path = tmp_path / "loops.c"
    path.write_text("\n".join(['#include "vectormath.h"', *loops]))
    found = find_compiler()
    options = [*found.flags, "-fopt-info-vec", f"-I{HEADERS}", "-o", str(tmp_path / "loops.so")]
    command = [*found.command, *options, str(path), "-lm"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    lines = re.findall(r"loops\.c:(\d+):.*loop vectorized", said)
    assert sorted(set(map(int, lines))) == list(range(2, 2 + len(loops)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gamma_agrees_with_scipy(dtype):
    library = load(source(LIBM_1, 1), "vectormath-test")
    x = np.linspace(-3.03, 3.01, 1001).astype(dtype)
    with np.errstate(all="ignore"):
        for name in LIBM_1:
            found, exact = call(library, name, x, x), reference(name)(x)
            np.testing.assert_allclose(
                found, exact, 8 * np.finfo(dtype).eps, 4 * np.finfo(dtype).eps
            )
