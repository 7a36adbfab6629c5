"""Every primitive on CuPy arrays equals its NumPy value, VJP and JVP."""

from __future__ import annotations

import pytest

from ..primitives.on_device import CASES, check_primitive

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("name", "args", "params"), CASES)
def test_equals_numpy(name, args, params):
    check_primitive(name, args, params, cupy)
