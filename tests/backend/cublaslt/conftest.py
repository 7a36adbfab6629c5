"""The device of these tests, and their folder on the path: they share ``device.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def xp():
    """The strict device."""
    from hpcad.backend import strict

    return strict
