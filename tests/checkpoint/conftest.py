"""A small checkpoint that the tests of this room damage in their own ways."""

from __future__ import annotations

import logging
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoint_layouts import write_directory

from hpcad.checkpoint import CheckpointStore, DamagedCheckpointError, read_checkpoint
from hpcad.errors import CheckpointError

SECONDS = 2.0
BYTES = 32 << 20

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


@pytest.fixture
def two_parts(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Return the path of a checkpoint of two ranks; a secret lies beside it."""
    (tmp_path / "secret").write_bytes(b"s" * 4096)
    return write_directory(tmp_path, 7, arrays, {"cursor": 448}, ranks=2)


@pytest.fixture
def refused():
    """Return a function that reads a hostile checkpoint and returns the one line of its error."""

    def read(path: Path, kind: type[CheckpointError] = DamagedCheckpointError) -> str:
        tracemalloc.start()
        begin = time.perf_counter()
        try:
            with pytest.raises(CheckpointError) as caught:
                read_checkpoint(path)
            seconds, peak = time.perf_counter() - begin, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        text = str(caught.value)
        assert type(caught.value) is kind
        assert seconds < SECONDS
        assert peak < BYTES
        assert text.startswith(f"checkpoint {path} ")
        assert "\n" not in text
        assert len(text) < 600
        return text

    return read


@pytest.fixture
def memory() -> Iterator[Path]:
    """Return an empty directory in memory if there is one, where nothing waits for a disk."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as place:
        yield Path(place)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Keep thousands of warnings out of the log, which tell of what is meant to happen."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def disrupted(record_property: Callable[[str, object], None]) -> Callable[[int, str], None]:
    """Return a function that counts disruptions of checkpoints, for the summary of the session."""

    def count(cases: int, text: str) -> None:
        print(text)
        record_property("disrupted checkpoints", cases)

    return count
