"""Kill a process that saves for ever, at random moments; print what was found as JSON.

``python -m tests.checkpoint.crash.kill_at_random FOLDER TRIALS SEED``. A run goes on where the one
before it was killed.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hpcad.checkpoint import CheckpointStore
from hpcad.errors import CheckpointError

from .saves import Save, complaint, make_store

_STEP = struct.Struct("<q")
_LONGEST = 0.03  # seconds until a kill; a save takes a few milliseconds


def main(root: Path, trials: int, seed: int) -> None:
    logging.disable(logging.WARNING)
    choose = random.Random(seed)
    reached, hits, complaints = 0, 0, []
    programs = (save_at_once, save_beside, poll_beside)
    for trial in range(trials):
        program = programs[trial % len(programs)]
        told = run_and_kill(root, program, reached, choose.uniform(0, _LONGEST))
        # What was told is there, and the one after it may be, and one that is written beside the
        # telling. A step is its own number.
        last = told + 1 + (program is save_beside)
        allowed = [Save(step, step) if step else None for step in range(told, last + 1)]
        saves = [Save(step, step) for step in range(max(told - 3, 1), told + 3)]
        problem = complaint(root, saves, allowed, min(2, told))
        if problem is not None:
            complaints.append(f"trial {trial}, {program.__name__}: {problem}")
        hits += unfinished(root)
        reached = newest_step(root)
    print(json.dumps({"trials": trials, "hits": hits, "steps": reached, "complaints": complaints}))


def run_and_kill(
    root: Path, program: Callable[[CheckpointStore, int, int], None], begin: int, delay: float
) -> int:
    """Let another process save from a step on; return the last step that it told of."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            program(make_store(root), begin, write)
        finally:
            os._exit(1)
    os.close(write)
    told = begin
    with open(read, "rb") as pipe:
        pipe.read(_STEP.size)  # one save has returned: it is under way
        told += 1
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        rest = pipe.read()
    assert os.WIFSIGNALED(status), "the program ended by itself"
    if len(rest) >= _STEP.size:
        told = _STEP.unpack(rest[len(rest) // 8 * 8 - 8 : len(rest) // 8 * 8])[0]
    return told


def save_at_once(store: CheckpointStore, begin: int, write: int) -> None:
    """Tell of a step when `save` has returned."""
    for step in range(begin + 1, sys.maxsize):
        store.save(step, Save(step, step).arrays(), Save(step, step).state())
        os.write(write, _STEP.pack(step))


def save_beside(store: CheckpointStore, begin: int, write: int) -> None:
    """Tell of a step when the call that had to wait for it returns."""
    for step in range(begin + 1, sys.maxsize):
        store.save(step, Save(step, step).arrays(), Save(step, step).state(), wait=False)
        if step > begin + 1:
            os.write(write, _STEP.pack(step - 1))


def poll_beside(store: CheckpointStore, begin: int, write: int) -> None:
    """Tell of a step when a poll has told of it, as a training loop hears of it."""
    for step in range(begin + 1, sys.maxsize):
        store.save(step, Save(step, step).arrays(), Save(step, step).state(), wait=False)
        while (saved := store.poll()) is None:
            time.sleep(0.0002)
        os.write(write, _STEP.pack(saved.step))


def unfinished(root: Path) -> bool:
    """Whether the kill has hit a save between its first and its last operation."""
    steps = [path for path in root.glob("step-*") if not (path / "manifest.json").exists()]
    return bool(steps or list(root.glob("**/.manifest*")) or list(root.glob(".latest*")))


def newest_step(root: Path) -> int:
    """Return the step from which a run goes on."""
    try:
        newest = make_store(root).latest()
    except CheckpointError:
        return 0
    return 0 if newest is None else newest.step


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
