"""Trains an MLP on the digits under mpirun and writes down who saw which samples.

Arguments: directory dtype batch steps checkpoint_every attempt [kill_rank kill_step]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

import hpcad
from hpcad import optim
from hpcad.models import MLP, MLPConfig
from hpcad.training import Prepare, Trainer


def main() -> None:
    directory, dtype = Path(sys.argv[1]), np.dtype(sys.argv[2])
    batch, steps, every, attempt = map(int, sys.argv[3:7])
    kill_rank, kill_step = map(int, sys.argv[7:9]) if len(sys.argv) > 7 else (-1, -1)
    world = hpcad.init()
    train = hpcad.open_dataset("builtin:digits/train", world.communicator)
    model = MLP(MLPConfig([32], dropout=0.1), 64, 10)
    model.initialize(1, dtype)
    log = (directory / f"ids-{attempt}-{world.rank}.txt").open("w")

    def loss(m, fields):
        return m.loss(fields)

    class Watched(Trainer):
        def _step(self, local, phases):
            log.write(" ".join(map(str, [self.result.step, *local.ids])) + "\n")
            log.flush()
            if (world.rank, self.result.step) == (kill_rank, kill_step):
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._step(local, phases)

    Watched(
        model,
        optim.AdamW(model, 1e-3, weight_decay=0.01, clip_norm=1.0),
        train,
        loss=loss,
        batch=batch,
        epochs=1 if steps == 0 else None,
        steps=steps or None,
        seed=1,
        prepare=Prepare(dtype, scale=0.0625),
        directory=directory,
        checkpoint_every=every,
        log_every=1,
        world=world,
    ).run()


main()
