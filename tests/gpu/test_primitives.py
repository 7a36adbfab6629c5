"""Every primitive on CuPy arrays equals its NumPy value, VJP and JVP."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import hpcad.parallel
import hpcad.primitives  # noqa: F401  (fills the table)
from hpcad.autodiff import PRIMITIVES, jvp, value_of, vjp

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu

_path = Path(__file__).parents[1] / "primitives" / "samples_of.py"
_spec = importlib.util.spec_from_file_location("samples_of", _path)
_samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_samples)

CASES = [
    pytest.param(PRIMITIVES[name], args, params, id=f"{name}-{i}")
    for name, samples in _samples.gather().items()
    for i, (args, params) in enumerate(samples)
]


def device(value):
    return cupy.asarray(value) if isinstance(value, np.ndarray) else value


def differentiated(primitive, args, params):
    """Value, tangent and VJPs with tangents and a cotangent of ones, on the host."""
    floating = [i for i, a in enumerate(args) if getattr(a, "dtype", np.dtype(int)).kind in "fc"]

    def function(*chosen):
        full = list(args)
        for i, x in zip(floating, chosen, strict=True):
            full[i] = x
        answer = primitive(*full, **params)
        return answer[0] if isinstance(answer, tuple) else answer

    if not primitive.differentiable:
        return [cupy.asnumpy(function(*(args[i] for i in floating)))]
    primals = [args[i] for i in floating]
    value, pullback = vjp(function, *primals)
    parts = pullback(value * 0 + 1)
    _, tangent = jvp(function, primals, [x * 0 + 1 for x in primals])
    return [cupy.asnumpy(value_of(x)) for x in (value, tangent, *parts)]


@pytest.mark.parametrize(("primitive", "args", "params"), CASES)
def test_equals_numpy(primitive, args, params):
    expected = differentiated(primitive, args, params)
    moved = {key: device(value) for key, value in params.items()}
    found = differentiated(primitive, [device(a) for a in args], moved)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
