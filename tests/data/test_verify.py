from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcad.data import verify_dataset
from hpcad.errors import DataError


def test_a_good_dataset(make: Callable[..., Path]) -> None:
    lines: list[str] = []
    report = verify_dataset(make(10, 4), progress=lines.append)
    assert report.ok
    assert (report.shards, report.nbytes) == (3, 10 * 32)
    assert lines[-1] == "[3/3] shard-00002.h5: good"


def test_every_problem_is_reported(make: Callable[..., Path]) -> None:
    directory = make(16, 4)
    (directory / "shard-00000.h5").unlink()
    os.truncate(directory / "shard-00001.h5", 5)
    with open(directory / "shard-00002.h5", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    report = verify_dataset(directory)
    assert not report.ok
    assert report.nbytes == 4 * 32
    for problem, word in zip(report.problems, ["missing", "cut short", "checksum"], strict=True):
        assert word in problem


def test_a_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no manifest\.json"):
        verify_dataset(tmp_path)
