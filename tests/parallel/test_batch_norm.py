"""Parameters that only some ranks use, and a layer that communicates, do not go with overlap."""

from __future__ import annotations

from launched import mpirun

PROGRAM = """
import numpy as np
import hpcad.numpy as hnp
from hpcad import nn, parallel

world = parallel.init()
model = nn.Sequential(nn.Linear(3, 3), parallel.SyncBatchNorm(3), nn.Linear(3, 4))
model.gate = nn.Parameter(np.ones(4, np.float32))
parallel.DataParallel(model, bucket_mb=1e-5, first_bucket_mb=1e-5)
with nn.training_step(0, 0):
    y = model(np.ones((4, 3), np.float32))
parallel.mean(y * model.gate if world.is_root else y).backward()
"""


def test_the_disagreement_is_an_error_on_every_rank_and_no_hang():
    done = mpirun(2, ["-c", PROGRAM], timeout=60)
    assert done.returncode != 0
    for rank in (0, 1):
        assert f"[rank {rank} on" in done.stderr
    assert "'gradients of gate'" in done.stderr
    assert "allreduce sum of 3 x float64" in done.stderr
    assert "disagree about collective call" in done.stderr
