from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from launched import mpirun

from hpcad.data import pack, verify_dataset
from hpcad.data.shards.writer import Layout
from hpcad.data.sources import array_source
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


@pytest.mark.parametrize("layout", [Layout(), Layout(chunked=True, compress=1)])
def test_damage_in_any_layout_is_found(tmp_path: Path, layout: Layout) -> None:
    arrays = {"x": np.random.default_rng(0).random((3000, 10))}
    manifest = pack(array_source(arrays), tmp_path / "d", layout=layout, shard_samples=1000)
    assert verify_dataset(tmp_path / "d").ok
    path = tmp_path / "d" / manifest.shards[1].file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    (problem,) = verify_dataset(tmp_path / "d").problems
    assert "shard-00001.h5: the checksum of field 'x' does not match" in problem
    assert "rows" in problem


def test_ranks_divide_the_shards_and_agree_on_the_exit_code(make: Callable[..., Path]) -> None:
    directory = make(20, 4)
    words = ["-m", "hpcad", "data", "verify", directory]
    done = mpirun(2, words)
    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"\[(\d)/5\]", done.stdout)) == ["1", "2", "3", "4", "5"]
    assert done.stdout.count("5 of 5 shards are good") == 1
    (directory / "shard-00003.h5").unlink()
    done = mpirun(2, words)
    assert done.returncode == DataError.exit_code
    assert done.stdout.count("4 of 5 shards are good") == 1
    assert done.stdout.count("shard is missing") == 1


def test_a_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no manifest\.json"):
        verify_dataset(tmp_path)
