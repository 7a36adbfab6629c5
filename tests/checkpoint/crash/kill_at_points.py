"""Kill a process at every operation of a save; print what was found as JSON.

``python -m tests.checkpoint.crash.kill_at_points FOLDER``. Each child is a fork of this process, so
that a case costs milliseconds.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path

from .points import KillingDisk
from .saves import Save, carry_out, complaint, kept, make_store, series

SCENARIOS = {
    "first": series(10),
    "next": series(10, 20),
    "pruning": series(10, 20, 30),
    "pruning, in the background": series(10, 20, 30, wait=False),
    "again": series(10, 20, 20),
    "going far back": series(10, 30, 40, 20),
}

_HOURS = 7200.0  # seconds; what is older belongs to nobody


def main(folder: Path) -> None:
    logging.disable(logging.WARNING)
    print(json.dumps([kill_everywhere(folder, *scenario) for scenario in SCENARIOS.items()]))


def kill_everywhere(folder: Path, name: str, saves: list[Save]) -> dict:
    """Kill the last save before each of its operations, in as many processes."""
    before, root = folder / "before", folder / "run"
    for save in saves[:-1]:
        carry_out(make_store(before), save)
    before.mkdir(exist_ok=True)
    point, complaints = 0, []
    while True:
        shutil.copytree(before, root)
        alive = save_and_die(root, saves[-1], point)
        old = saves[-2] if len(saves) > 1 else None
        allowed = (saves[-1],) if alive else (old, saves[-1])
        whole = min(len(kept(saves[:-1])), len(kept(saves)))
        problem = complaint(root, saves, allowed, whole)
        if problem is None and point % 4 == 0:
            problem = goes_on(root, saves)
        if problem is not None:
            complaints.append(f"{name}, killed at operation {point}: {problem}")
        shutil.rmtree(root)
        if alive:
            break
        point += 1
    shutil.rmtree(before)
    return {"scenario": name, "kills": point, "complaints": complaints}


def save_and_die(root: Path, save: Save, point: int) -> bool:
    """Save in another process; whether it has come to the end."""
    child = os.fork()
    if child == 0:
        try:
            carry_out(make_store(root, disk=KillingDisk(point)), save)
        except BaseException:  # noqa: BLE001  # told by the status
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0, "the save failed"
    return status == 0


def goes_on(root: Path, saves: list[Save]) -> str | None:
    """Save twice, as a run does that is started again later: nothing is in the way, or stays."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, (time.time() - _HOURS,) * 2)
    following = [Save(8, 50), Save(9, 60)]
    for save in following:
        carry_out(make_store(root), save)
    left = {p.name for p in root.iterdir() if not p.name.endswith(".superseded")}
    if left != {"latest", "step-00000050", "step-00000060"}:
        return f"two saves later there is {sorted(left)}"
    return complaint(root, [*saves, *following], following[-1:], 2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
