"""The protocol: its order, a failure at every point of it, and kills at random times."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hpcad.checkpoint import CheckpointStore
from hpcad.checkpoint.disk import Disk
from hpcad.errors import CheckpointError

from .crash.points import OPERATIONS


class Watched(Disk):
    """Records what is done, and lets the n-th operation fail."""

    def __init__(self, failing: int = 0, code: int = errno.EIO) -> None:
        self.failing, self.code = failing, code
        self.done: list[tuple[str, str]] = []
        self._names: dict[int, str] = {}

    def names(self) -> list[str]:
        return [name for name, _ in self.done]


def _watched(name: str):
    real = getattr(Disk, name)

    def call(self, *args, **kwargs):
        where = args[-1] if name == "rename" else args[0]
        text = where.name if isinstance(where, Path) else self._names.get(where, "?")
        self.done.append((name, text))
        if len(self.done) == self.failing:
            if name == "close":
                real(self, *args)  # Linux has released it, whatever it reports
            raise OSError(self.code, os.strerror(self.code))
        result = real(self, *args, **kwargs)
        if name == "create":
            self._names[result] = text
        return result

    return call


for _name in OPERATIONS:
    setattr(Watched, _name, _watched(_name))


def kind(text: str) -> str:
    """Return what a recorded name is, without the nonce in it."""
    for words, found in (
        (".owner", "owner"),
        (".manifest", "temporary"),
        ("manifest", "manifest"),
        (".latest", "pointer"),
        ("latest", "latest"),
        (".h5", "part"),
        ("step-", "directory"),
    ):
        if words in text:
            return found
    return "root"


def test_order_of_the_protocol(tmp_path, arrays):
    """Parts before names before manifest before pointer; older checkpoints last."""
    disk = Watched()
    store = CheckpointStore(tmp_path / "run", disk=disk)
    for step in (1, 2):
        store.save(step, arrays, {})
    disk.done.clear()
    store.save(3, arrays, {})
    found = [(name, kind(text)) for name, text in disk.done if name != "close"]
    assert found == [
        ("make_directory", "directory"),
        ("fsync_directory", "root"),
        ("create", "owner"),
        ("pwrite", "owner"),
        ("create", "part"),
        ("pwrite", "part"),
        ("fsync", "part"),
        ("fsync_directory", "directory"),
        ("create", "temporary"),
        ("pwrite", "temporary"),
        ("fsync", "temporary"),
        ("rename", "manifest"),
        ("fsync_directory", "directory"),
        ("create", "pointer"),
        ("pwrite", "pointer"),
        ("fsync", "pointer"),
        ("rename", "latest"),
        ("fsync_directory", "root"),
        ("fsync_directory", "directory"),
        ("fsync_directory", "directory"),
        ("unlink", "manifest"),
        ("fsync_directory", "directory"),
        ("unlink", "part"),
        ("unlink", "owner"),
        ("rmdir", "directory"),
    ]


def test_nothing_but_the_disk_changes_the_file_system(tmp_path, arrays, monkeypatch):
    """Every call that changes something comes from a method of the disk."""
    inside = []

    class Marked(Disk):
        def __getattribute__(self, name):
            real = super().__getattribute__(name)
            if name not in OPERATIONS:
                return real

            def call(*args, **kwargs):
                inside.append(name)
                try:
                    return real(*args, **kwargs)
                finally:
                    inside.pop()

            return call

    def guard(module, name):
        real = getattr(module, name)

        def call(*args, **kwargs):
            assert inside or str(tmp_path) not in str(args[0]), (name, args)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    for name in (
        "replace",
        "rename",
        "unlink",
        "rmdir",
        "mkdir",
        "remove",
        "truncate",
        "ftruncate",
    ):
        guard(os, name)
    store = CheckpointStore(tmp_path / "run", disk=Marked())
    for step in (10, 20, 30, 25, 25):
        store.save(step, arrays, {})


def message_of_failure(store, arrays, wait: bool) -> str | None:
    try:
        store.save(2, arrays, {"step": 2}, wait=wait)
        store.drain()
    except CheckpointError as error:
        return str(error)
    return None


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_failure_of_each_operation(tmp_path, arrays, same, code, wait):
    """Whatever fails: one CheckpointError or a warning, and the old or the new one whole."""
    changed = {name: array + 1 for name, array in arrays.items()}
    failing, failed, disk = 0, 0, Watched()
    while len(disk.done) >= failing:
        failing += 1
        place = tmp_path / str(failing)
        CheckpointStore(place).save(1, arrays, {"step": 1})
        disk = Watched(failing, code)
        message = message_of_failure(CheckpointStore(place, disk=disk), changed, wait)
        newest = CheckpointStore(place).latest()
        same(newest.arrays, changed if newest.step == 2 else arrays)
        assert newest.state == {"step": newest.step}
        assert (place / "step-00000001" / "manifest.json").exists()
        assert list(place.glob("**/.manifest*")) + list(place.glob(".latest*")) == []
        if message is None:
            assert newest.step == 2
        else:
            failed += 1
            assert "step 2" in message
            assert os.strerror(code) in message
            assert (place / "step-00000002").exists() == (newest.step == 2)
        CheckpointStore(place).save(3, arrays, {})  # it has left nothing in the way
        assert CheckpointStore(place).latest().step == 3
    assert failed >= 12
    assert message is None


def test_failure_of_each_operation_on_saving_a_step_again(tmp_path, arrays, same):
    """The step has its old or its new values, never none and never a mixture."""
    changed = {name: array + 1 for name, array in arrays.items()}
    failing, disk = 0, Watched()
    seen = set()
    while len(disk.done) >= failing:
        failing += 1
        place = tmp_path / str(failing)
        CheckpointStore(place).save(2, arrays, {"step": 2})
        disk = Watched(failing)
        message_of_failure(CheckpointStore(place, disk=disk), changed, True)
        newest = CheckpointStore(place).latest()
        new = bool(newest.arrays["optimizer/count"] == 8)
        seen.add(new)
        same(newest.arrays, changed if new else arrays)
    assert seen == {True, False}


def test_a_part_that_rank_0_does_not_see(tmp_path, arrays, monkeypatch):
    """As on directories that are local to a node."""

    class Elsewhere(Disk):
        def create(self, path, *, direct=False):
            return super().create(tmp_path / path.name if path.suffix == ".h5" else path)

    monkeypatch.setattr("hpcad.checkpoint.saving.publish._PATIENCE", 0.1)
    store = CheckpointStore(tmp_path / "run", disk=Elsewhere())
    with pytest.raises(CheckpointError, match=r"does not see .* file system that all nodes share"):
        store.save(1, arrays, {})
    assert store.latest() is None
    assert list((tmp_path / "run").iterdir()) == []


def test_the_pointer_names_the_newest(tmp_path, arrays):
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        store.save(step, arrays, {})
    assert (tmp_path / "latest").read_text() == "step-00000002\n"


def test_a_wrong_pointer_misleads_nobody(tmp_path, arrays):
    store = CheckpointStore(tmp_path)
    store.save(1, arrays, {})
    (tmp_path / "latest").write_text("../../etc")
    assert store.latest().step == 1


_SAVE_FOR_EVER = """
import sys
import numpy as np
from hpcad.checkpoint import CheckpointStore
store = CheckpointStore(sys.argv[1])
step = int(sys.argv[2])
while True:
    step += 1
    arrays = {f"parameters/w{i}": np.full((250, 100), step + i / 10) for i in range(10)}
    store.save(step, arrays, {"step": step}, wait=step % 2 == 0)
    store.drain()
    print(step, flush=True)
"""


def _kill_while_saving(directory, start: int, delay: float) -> int:
    """Let a process save from step `start`; kill it `delay` s after its second save."""
    command = [sys.executable, "-c", _SAVE_FOR_EVER, str(directory), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline(), process.stdout.readline()]
            time.sleep(delay)
        finally:
            process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    return max(int(line) for line in lines if line.endswith("\n"))


def test_killed_while_saving(tmp_path):
    """Six kills at random moments: the newest is whole, of one step, and none was lost."""
    choose = random.Random(20)
    store = CheckpointStore(tmp_path)
    step, torn = 0, 0
    for _ in range(6):
        done = _kill_while_saving(tmp_path, step, choose.uniform(0, 0.04))
        torn += sum(not (p / "manifest.json").exists() for p in tmp_path.glob("step-*"))
        newest = store.latest()
        assert newest.step in (done, done + 1)
        assert newest.state == {"step": newest.step}
        for i in range(10):
            assert np.all(newest.arrays[f"parameters/w{i}"] == newest.step + i / 10)
        step = newest.step
    store.save(step + 1, {"parameters/w": np.zeros(3)}, {})
    remains = [p for p in tmp_path.glob("step-*") if not (p / "manifest.json").exists()]
    # A kill between two lines may leave a directory before it says whose it is, or after. Nobody
    # can tell it from one that another process has just made, until it is old.
    assert not any(path.suffix == ".h5" for left in remains for path in left.iterdir())
    for path in [p for left in remains for p in (*left.iterdir(), left)]:
        os.utime(path, (time.time() - 4000,) * 2)
    store.save(step + 2, {"parameters/w": np.zeros(3)}, {})
    assert all((p / "manifest.json").exists() for p in tmp_path.glob("step-*"))
    assert torn > 0, "no kill hit a save: the delays have to change"
