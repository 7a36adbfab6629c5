"""Small datasets for the tests of this room."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcad.data import pack
from hpcad.data.manifest.contents import seal
from hpcad.data.sources import array_source


def numbered(n: int) -> dict[str, np.ndarray]:
    """Samples that tell their own number: ``x`` is (n, 3, 2) float32, ``y`` is (n,) int64."""
    ids = np.arange(n)
    x = (ids[:, None, None] * 10 + np.arange(6).reshape(3, 2)).astype(np.float32)
    return {"x": x, "y": ids.astype(np.int64)}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Packs ``n`` numbered samples in shards of ``shard_samples`` and returns the directory."""

    def make(n: int = 10, shard_samples: int = 4, name: str = "set") -> Path:
        pack(array_source(numbered(n)), tmp_path / name, shard_samples=shard_samples)
        return tmp_path / name

    return make


@pytest.fixture
def edit() -> Callable[[Path, Callable[[Any], None]], None]:
    """Changes the JSON of a manifest in place, with a checksum that fits the change."""

    def edit(directory: Path, change: Callable[[Any], None]) -> None:
        path = directory / "manifest.json"
        value = json.loads(path.read_text())
        change(value)
        if "xxh3" in value:
            value["xxh3"] = seal(value)
        path.write_text(json.dumps(value))

    return edit
