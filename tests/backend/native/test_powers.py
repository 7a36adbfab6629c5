"""Powers: whole ones are exact; exponents that the compiler knows change nothing but the time."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.native.compiler import find_compiler
from hpcad.backend.native.library import load

from .vectors import call, source, ulps

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")

EXPONENTS = (-2, -1, -0.5, 0.5, 1, 1.5, 2, 2.5, 3, 4, 0, 5, 7, -3, 0.3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_powers_of_whole_numbers_are_exact(dtype):
    base, exponent = (a.ravel() for a in np.mgrid[-40:41, 0:30])
    exact = np.array([int(b) ** int(e) for b, e in zip(base, exponent, strict=True)], object)
    fits = [abs(value) <= 2 ** (24 if dtype == np.float32 else 53) for value in exact]
    library = load(source(["power"], 2), "vectormath-test")
    found = call(library, "power", base[fits].astype(dtype), exponent[fits].astype(dtype))
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
    found = call(literal_powers, f"power{number}", x, x)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.longdouble), dtype(EXPONENTS[number]))
    assert ulps(found, exact).max() <= 2.5
    number = ~np.isnan(found)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(exact[number]))
