"""The value, VJP and JVP of every primitive on a device, to be compared with NumPy's.

For tests that hand over a module: CuPy, or the strict device.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import hpcad.parallel
import hpcad.primitives  # noqa: F401  (fills the table)
from hpcad.autodiff import PRIMITIVES, jvp, value_of, vjp
from hpcad.backend import to_host
from hpcad.errors import ConfigError

_path = Path(__file__).parent / "samples_of.py"
_spec = importlib.util.spec_from_file_location("samples_of", _path)
_samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_samples)

CASES = [
    pytest.param(name, args, params, id=f"{name}-{i}")
    for name, samples in _samples.gather().items()
    for i, (args, params) in enumerate(samples)
]

# CuPy has them of orders 0 and 1 only; the slope of order 1 needs order 2.
BESSEL = ("jv", "iv", "ive")
# CuPy has them for real numbers only.
REAL_ONLY = ("erf", "erfc", "erfcx", "ndtr", "log_ndtr")


def check_primitive(name, args, params, xp):
    """Compare value, tangent and VJPs on a device with those on the host."""
    primitive = PRIMITIVES[name]
    expected = differentiated(primitive, args, params)
    moved = {key: _moved(value, xp, np.ndarray) for key, value in params.items()}
    there = [_moved(a, xp, (np.ndarray, np.generic)) for a in args]
    complex_ = any(getattr(a, "dtype", np.dtype(int)).kind == "c" for a in args)
    if (name in BESSEL and params["order"] > 0) or (name in REAL_ONLY and complex_):
        with pytest.raises(ConfigError, match="has no"):
            differentiated(primitive, there, moved)
        return
    found = differentiated(primitive, there, moved)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def _moved(value, xp, kinds):
    return xp.asarray(value) if isinstance(value, kinds) else value


def differentiated(primitive, args, params):
    """Value, tangent and VJPs with tangents and a cotangent of ones, on the host."""
    refused = {i for n, i in _samples.REFUSED if n == primitive.name}
    floating = [i for i, a in enumerate(args) if _is_floating(a) and i not in refused]

    def function(*chosen):
        full = list(args)
        for i, x in zip(floating, chosen, strict=True):
            full[i] = x
        answer = primitive(*full, **params)
        return answer[0] if isinstance(answer, tuple) else answer

    if not primitive.differentiable:
        return [to_host(function(*(args[i] for i in floating)))]
    primals = [args[i] for i in floating]
    value, pullback = vjp(function, *primals)
    parts = pullback(value * 0 + 1)
    _, tangent = jvp(function, primals, [x * 0 + 1 for x in primals])
    return [to_host(value_of(x)) for x in (value, tangent, *parts)]


def _is_floating(x):
    return getattr(x, "dtype", np.dtype(int)).kind in "fc"
