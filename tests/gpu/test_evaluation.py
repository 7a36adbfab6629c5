"""Evaluation as a program on a GPU finds what eager evaluation on the host does."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import parallel
from hpcad.backend import get_backend
from hpcad.data import open_dataset
from hpcad.models import CNN, MLP, CNNConfig, MLPConfig
from hpcad.training import Prepare
from hpcad.training.evaluation import Evaluation

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu

MODELS = {
    "mlp": lambda: MLP(MLPConfig([32], dropout=0.1), 64, 10),
    "cnn": lambda: CNN(CNNConfig([8, 16], 32), (8, 8), 10),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_program_on_the_device_finds_the_metrics_of_the_host(kind):
    test, found = open_dataset("builtin:digits/test"), {}
    for device, compile in (("gpu", True), ("cpu", False)):
        backend, model = get_backend(device), MODELS[kind]()
        model.initialize(1, np.float32, backend)
        prepare = Prepare(np.float32, 0.0625, backend=backend)
        evaluation = Evaluation(
            model,
            lambda model, batch: model.evaluate(batch),
            prepare,
            parallel.init(),
            batch=64,
            compile=compile,
        )
        found[device] = [list(evaluation(test).values()) for _ in range(3)]
        assert bool(evaluation.program_bytes) is compile
    np.testing.assert_allclose(found["gpu"], found["cpu"], rtol=1e-4)
