"""The device of these tests, with cuDNN asked for."""

from __future__ import annotations

import pytest

from hpcad.backend.cudnn import context


@pytest.fixture
def xp(monkeypatch):
    """The strict device; plans and handles are those of one test."""
    from hpcad.backend import strict

    monkeypatch.setenv("HPCAD_CUDNN", "1")
    monkeypatch.setattr(context, "_contexts", {})
    return strict
