"""Every primitive on CuPy arrays equals its NumPy value and VJP."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import hpcad.parallel
import hpcad.primitives  # noqa: F401  (fills the table)
from hpcad.autodiff import PRIMITIVES, value_of, vjp

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu

_path = Path(__file__).parents[1] / "primitives" / "samples.py"
_spec = importlib.util.spec_from_file_location("samples", _path)
_samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_samples)

CASES = [
    pytest.param(PRIMITIVES[name], args, params, id=f"{name}-{i}")
    for name, samples in _samples.SAMPLES.items()
    for i, (args, params) in enumerate(samples)
]


def device(value):
    return cupy.asarray(value) if isinstance(value, np.ndarray) else value


def pulled(primitive, args, params):
    """Value and VJPs with a cotangent of ones, on the host."""
    floating = [i for i, a in enumerate(args) if a is not None and a.dtype.kind == "f"]

    def function(*chosen):
        full = list(args)
        for i, x in zip(floating, chosen, strict=True):
            full[i] = x
        answer = primitive(*full, **params)
        return answer[0] if isinstance(answer, tuple) else answer

    if not primitive.differentiable:
        return [cupy.asnumpy(function(*(args[i] for i in floating)))]
    value, pullback = vjp(function, *(args[i] for i in floating))
    parts = pullback(value * 0 + 1)
    return [cupy.asnumpy(value_of(x)) for x in (value, *parts)]


@pytest.mark.parametrize(("primitive", "args", "params"), CASES)
def test_equals_numpy(primitive, args, params):
    expected = pulled(primitive, args, params)
    moved = {key: device(value) for key, value in params.items()}
    found = pulled(primitive, [device(a) for a in args], moved)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
