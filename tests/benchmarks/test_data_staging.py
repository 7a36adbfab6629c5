"""The benchmark of staging measures every way once a round, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import data_staging

import hpcad


def test_every_way_has_its_turn(tmp_path: Path) -> None:
    data_staging.write(tmp_path / "set", 16)
    (tmp_path / "local").mkdir()
    found = data_staging.measure(tmp_path / "set", tmp_path / "local", 1, rounds=2)
    assert hpcad.init().size == 1
    assert len(found) == 5
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in found.values())
    assert list((tmp_path / "local").iterdir()) == []
