"""Calls of vectorised functions, and distances in units in the last place."""

from __future__ import annotations

import ctypes

import numpy as np

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


def reference(name):
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


def source(names, arguments):
    lines = ['#include "vectormath.h"']
    for name in names:
        for ending, real in (("f32", "float"), ("f64", "double")):
            given = ", ".join(["x[i]", "y[i]"][:arguments])
            lines.append(
                f"void {name}_{ending}(const {real} *x, const {real} *y, {real} *z, long n)"
                f"{{ for (long i = 0; i < n; i++) z[i] = hp_{name}_{ending}({given}); }}"
            )
    return "\n".join(lines) + "\n"


def call(library, name, x, y):
    z = np.empty_like(x)
    function = getattr(library, f"{name}_f{8 * x.itemsize}")
    function.restype = None
    function(*(ctypes.c_void_p(a.ctypes.data) for a in (x, y, z)), ctypes.c_long(x.size))
    return z


def ulps(found, exact):
    """Distance in units in the last place of ``exact`` rounded; infinite where a class differs."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(found.dtype)
        error = np.abs(found - exact) / np.spacing(np.abs(rounded)).astype(exact.dtype)
    same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    finite = np.isfinite(found) & np.isfinite(rounded)
    return np.where(same, np.where(finite, error, 0), np.where(finite, error, np.inf))


def every_exponent(dtype, count):
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


def pairs(dtype):
    """Numbers of all exponents, of like size, around 1, and small integers."""
    rng = np.random.default_rng(1)
    wide = [rng.permutation(every_exponent(dtype, 1 << 15)) for _ in range(2)]
    sizes = 10 ** rng.uniform(-6, 6, 1 << 15)
    alike = [rng.normal(0, 1, sizes.size) * sizes for _ in range(2)]
    whole = [rng.integers(-20, 20, 1 << 13) for _ in range(2)]
    halves = [rng.integers(-20, 20, 1 << 13) / 2 for _ in range(2)]
    mixed = [rng.normal(0, 3, 1 << 13), rng.integers(-20, 20, 1 << 13)]
    kinds = zip(wide, alike, whole, halves, mixed, strict=True)
    return tuple(np.concatenate([part.astype(dtype) for part in kind]) for kind in kinds)
