"""A job that loses a rank in the middle of a save, and one that is started again after it.

``python -m tests.checkpoint.crash.under_mpi kill FOLDER RANK OPERATION`` saves steps 10, 20 and 30;
that rank kills itself before that operation of the last one, such as ``"fsync *.h5"``, or
``"fsync_directory step-*#2"`` for the second such operation. ``... load FOLDER...`` prints which
save each folder's newest checkpoint is, and saves once more.
"""

from __future__ import annotations

import fnmatch
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from hpcad.checkpoint.disk import Disk
from hpcad.parallel import World, init

from .points import CountingDisk, Real
from .saves import Save, carry_out, make_store, series

SAVES = series(10, 20, 30)


class LosingDisk(CountingDisk):
    """Kills the process before an operation that is given by its name and what it is about."""

    def __init__(self, operation: str) -> None:
        super().__init__()
        self.pattern, _, number = operation.partition("#")
        self.left = int(number or 1)

    def step(self, name: str, real: Real, arguments: tuple, options: dict) -> Any:
        if fnmatch.fnmatchcase(self.described(name, arguments), self.pattern):
            self.left -= 1
            if self.left == 0:
                print(f"killed before {self.pattern}", flush=True)
                time.sleep(0.1)  # until mpirun has passed that on
                os.kill(os.getpid(), signal.SIGKILL)
        return super().step(name, real, arguments, options)


def kill(world: World, folder: Path, rank: int, operation: str) -> None:
    """Save until this job is ended."""
    store = make_store(folder, world.communicator)
    for save in SAVES[:-1]:
        carry_out(store, save)
    disk = LosingDisk(operation) if world.rank == rank else Disk()
    store = make_store(folder, world.communicator, disk)
    carry_out(store, SAVES[-1])
    print("the job went on", flush=True)


def load(world: World, folders: list[Path]) -> None:
    """Print, on rank 0, what every rank has loaded of each folder, and then saved and loaded."""
    found = []
    final = Save(9, 40, wait=False)
    for folder in folders:
        store = make_store(folder, world.communicator)
        newest = store.latest()
        numbers = [save.number for save in SAVES if newest is not None and save.holds(newest)]
        carry_out(store, final)
        found.append({"loaded": numbers, "saved": final.holds(store.load())})
    everywhere = world.communicator.gather_json(found)
    if world.is_root:
        print(json.dumps(everywhere))


if __name__ == "__main__":
    mode, *words = sys.argv[1:]
    if mode == "kill":
        kill(init(), Path(words[0]), int(words[1]), words[2])
    else:
        load(init(), [Path(word) for word in words])
