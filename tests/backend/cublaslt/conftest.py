"""The device of these tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def xp():
    """The strict device."""
    from hpcad.backend import strict

    return strict
