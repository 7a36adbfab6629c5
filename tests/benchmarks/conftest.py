"""Lets the tests import the benchmark programs, which are no package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU, whatever this one has."""
    from hpcad import backend
    from hpcad.errors import DeviceError

    def refuse(_name: str) -> Any:
        raise DeviceError("a GPU was asked for; there is none")

    monkeypatch.setattr(backend, "get_backend", refuse)
