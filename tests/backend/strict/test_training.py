"""Training on the strict device gives the losses of training on NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from ...training.on_device import MODELS, losses


@pytest.mark.parametrize("kind", MODELS)
def test_eager_losses_equal_those_on_numpy(kind, tmp_path):
    found = losses(kind, "strict", tmp_path / "strict", 6, compile=False)
    host = losses(kind, "cpu", tmp_path / "cpu", 6, compile=False)
    np.testing.assert_allclose(found, host, rtol=2e-4)
