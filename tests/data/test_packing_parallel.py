"""A rank that is killed while all pack: nothing is lost but its shard, and any number goes on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from launched import mpirun

from hpcad.data import open_dataset, pack
from hpcad.data.sources import npy_source

PROGRAM = """
import os, signal, sys
from dataclasses import replace
from hpcad.data import pack
from hpcad.data.sources import npy_source
from hpcad.parallel import init

world = init().communicator
source = npy_source(sys.argv[1])

def chunks(start, stop):
    if start == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return source.chunks(start, stop)

pack(replace(source, chunks=chunks), sys.argv[2], shard_samples=5, communicator=world, resume=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_killed_rank_ends_the_job_and_another_world_goes_on(tmp_path: Path, ranks: int) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((60, 3)))
    source = npy_source(tmp_path / "x.npy")
    whole = pack(source, tmp_path / "whole", shard_samples=5).hash
    for at in (35, 55):  # each job gets further than the one before
        done = mpirun(ranks, ["-c", PROGRAM, tmp_path / "x.npy", tmp_path / "d", str(at)])
        assert done.returncode != 0
        assert not (tmp_path / "d").exists()
        finished = os.listdir(tmp_path / ".d.packing" / "records")
        assert len(finished) >= at // 5 // ranks * ranks
    lines: list[str] = []
    found = pack(source, tmp_path / "d", shard_samples=5, resume=True, progress=lines.append)
    assert found.hash == whole
    assert len(lines) <= 1 + ranks
    np.testing.assert_array_equal(
        open_dataset(tmp_path / "d").read(np.arange(60))["x"], np.load(tmp_path / "x.npy")
    )
    assert sorted(os.listdir(tmp_path)) == ["d", "whole", "x.npy"]
