"""Lets the tests of this folder say `from small_environment import small_environment`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from small_environment import small_environment


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_environment(tmp_path_factory.mktemp("made"))


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A small environment of this test alone."""
    return small_environment(tmp_path)
