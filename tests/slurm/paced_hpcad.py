"""`hpcad`, which takes its time at the first start of a job, and says what every rank ended with.

Run as the command itself. With PACE=SECONDS every step takes so much longer, until Slurm starts the
job again: so a signal from outside meets it in the middle, however fast or slow the machine is.
With RECORDS=DIRECTORY each rank writes there where it stopped.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from hpcad.parallel.world import load_mpi

load_mpi()  # before the next imports, as `hpcad train` does
from hpcad.cli import main  # noqa: E402
from hpcad.parallel.slurm import restarts  # noqa: E402
from hpcad.training.trainer import Trainer  # noqa: E402

_real_step, _real_run = Trainer._step, Trainer.run


def paced_step(trainer, batch, phases):
    if not restarts(os.environ):
        time.sleep(float(os.environ.get("PACE", "0")))
    return _real_step(trainer, batch, phases)


def recorded_run(trainer, resume=True):
    result = _real_run(trainer, resume)
    found = {
        "rank": trainer.world.rank,
        "size": trainer.world.size,
        "host": trainer.world.host,
        "library": trainer.world.mpi_library,
        "resumed": result.resumed_step,
        "step": result.step,
        "saved": result.saved_step,
        "signal": result.stop_signal,
        "out_of_time": result.out_of_time,
    }
    if folder := os.environ.get("RECORDS"):
        name = f"start-{restarts(os.environ)}-rank-{trainer.world.rank}.json"
        Path(folder, name).write_text(json.dumps(found))
    return result


Trainer._step, Trainer.run = paced_step, recorded_run

if __name__ == "__main__":
    sys.exit(main())
