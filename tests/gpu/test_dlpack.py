"""Arrays on a device are shared with PyTorch and JAX by DLPack, both ways, without a copy."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.autodiff import grad, value_of

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu


def test_from_and_to_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = torch.arange(6, dtype=torch.float32, device="cuda")
    mine = cupy.from_dlpack(theirs)
    assert mine.data.ptr == theirs.data_ptr()
    slope = value_of(grad(lambda x: (x**2).sum())(mine))
    back = torch.from_dlpack(slope)
    assert back.data_ptr() == slope.data.ptr
    np.testing.assert_array_equal(back.cpu().numpy(), 2 * np.arange(6))


def test_from_and_to_jax():
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    try:
        device = jax.devices("gpu")[0]
    except RuntimeError as error:
        pytest.skip(f"JAX finds no GPU: {error}")
    theirs = jax.device_put(np.arange(6, dtype=np.float32), device)
    mine = cupy.from_dlpack(theirs)
    result = value_of(hnp.exp(mine))
    back = jax.dlpack.from_dlpack(result)
    np.testing.assert_allclose(np.asarray(back), np.exp(np.arange(6)), rtol=1e-6)
