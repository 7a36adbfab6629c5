"""A small checkpoint that the tests of this room damage in their own ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpcad.checkpoint import CheckpointStore

STATE = {"step": 7, "cursor": 448, "schedule": {"kind": "cosine"}, "loss": 0.25}


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {
        "parameters/fc1.weight": rng.standard_normal((16, 24)).astype(np.float32),
        "parameters/fc1.bias": rng.standard_normal(24).astype(np.float32),
        "optimizer/m/fc1.weight": rng.standard_normal((16, 24)),
        "optimizer/count": np.array(7, np.int64),
    }


@pytest.fixture
def state() -> dict:
    return dict(STATE)


@pytest.fixture
def saved(tmp_path: Path, arrays: dict[str, np.ndarray], state: dict) -> Path:
    """Return the path of a checkpoint of step 7."""
    return CheckpointStore(tmp_path / "checkpoints").save(7, arrays, state)


@pytest.fixture
def same():
    """Return a function that asserts equal names, dtypes, shapes and bits."""

    def check(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
        assert list(found) == list(expected)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype, name
            assert found[name].shape == array.shape, name
            assert found[name].tobytes() == array.tobytes(), name

    return check
