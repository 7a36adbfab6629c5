"""Compiled steps on a GPU: CUDA graphs of them have the losses of the host, to rounding."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu

_path = Path(__file__).parents[1] / "program" / "device" / "test_training.py"
_spec = importlib.util.spec_from_file_location("device_training", _path)
training = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(training)

TOLERANCE = {"float32": 2e-4, "bfloat16": 1e-2, "float16": 2e-3}


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("kind", training.MODELS)
def test_losses_are_those_of_the_host(kind, precision):
    found = training.Run(kind, "gpu", precision)
    host = training.Run(kind, "cpu", precision)
    np.testing.assert_allclose(found.losses(), host.losses(), rtol=TOLERANCE[precision])
    assert found.compiled.program._call.graphs == 1


@pytest.mark.parametrize("kind", training.MODELS)
def test_the_same_steps_give_the_same_bits(kind):
    first, second = (training.Run(kind, "gpu", "bfloat16") for _ in range(2))
    np.testing.assert_array_equal(first.losses(), second.losses())
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        np.testing.assert_array_equal(cupy.asnumpy(a.array), cupy.asnumpy(b.array))
