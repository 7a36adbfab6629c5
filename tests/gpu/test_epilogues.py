"""Every form of a product with its elementwise neighbours trains alike on a GPU, and is timed."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn
from hpcad.program.device.trials import fastest_form, measured
from hpcad.program.improve.epilogue_choice import SEPARATE

from ..program.device.epilogue_runs import Run, close

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu

NEAR = {"float32": (1e-4, 1e-3), "bfloat16": (2e-2, 6e-2)}  # of losses, of gradients
FORMS = ["forward", "backward", "both", "both_bgrad", "bgrad", "both,bgrad"]


@pytest.mark.parametrize("precision", NEAR)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["gelu", "relu"])
def test_losses_and_gradients(name, form, precision):
    activation = getattr(nn, name)
    wanted = Run(SEPARATE, activation, precision, device="gpu").train()
    run = Run(form, activation, precision, device="gpu")
    losses, gradients = run.train()
    np.testing.assert_allclose(losses, wanted[0], rtol=NEAR[precision][0])
    close(gradients, wanted[1], NEAR[precision][1])


@pytest.mark.parametrize("precision", NEAR)
@pytest.mark.parametrize("name", ["gelu", "relu"])
def test_forms_are_measured(name, precision):
    run = Run("", getattr(nn, name), precision, device="gpu", width=256)
    run.train()
    met = run.epilogues.met
    assert {key.split()[0] for key in met} == {name, "bgrad"}
    for candidate in met.values():
        seconds = measured(candidate, run.backend)
        assert set(seconds) <= set(candidate.forms)
        assert min(seconds.values()) > 0
        assert fastest_form(seconds) in seconds
