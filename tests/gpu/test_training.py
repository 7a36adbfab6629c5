"""Training on a GPU gives the losses of training on NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from ..training.on_device import MODELS, losses

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("kind", MODELS)
def test_losses_equal_those_on_numpy(kind, compile, tmp_path):
    found = losses(kind, "gpu", tmp_path / "gpu", 20, compile)
    host = losses(kind, "cpu", tmp_path / "cpu", 20, compile)
    np.testing.assert_allclose(found, host, rtol=2e-4)
