"""Pruning: the newest stay, the manifest goes first, and only abandoned leftovers are removed."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcad.checkpoint import CheckpointStore
from hpcad.checkpoint.disk import DISK, Disk
from hpcad.checkpoint.saving.prune import leftovers, prune, remove
from hpcad.errors import CheckpointError

NONCE = "0123456789abcdef"
HOST = socket.gethostname().split(".")[0]


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def unfinished(root: Path, step: int, owner: str | None, age: float = 0.0) -> Path:
    """Make what a save that was killed leaves."""
    directory = root / f"step-{step:08d}"
    directory.mkdir()
    (directory / f"{NONCE}-0000.h5").write_bytes(b"x")
    if owner is not None:
        (directory / f".{NONCE}.owner").write_text(owner)
    for path in [*directory.iterdir(), directory]:
        os.utime(path, (time.time() - age,) * 2)
    return directory


def test_leftovers_are_those_whose_owner_is_gone_or_idle(tmp_path):
    expected = {
        unfinished(tmp_path, 1, f"{HOST} {dead_pid()}\n"),
        unfinished(tmp_path, 2, f"{HOST} {os.getpid()}\n"),
        unfinished(tmp_path, 3, "other-node 7\n", age=7200),
        unfinished(tmp_path, 4, None, age=7200),
        unfinished(tmp_path, 5, "nonsense", age=7200),
    }
    unfinished(tmp_path, 6, f"{HOST} 1\n", age=7200)
    unfinished(tmp_path, 7, "other-node 7\n")
    unfinished(tmp_path, 8, None)
    (unfinished(tmp_path, 9, None, age=7200) / "manifest.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("the user's own")
    assert set(leftovers(tmp_path)) == expected


def test_leftovers_of_version_1(tmp_path):
    names = {
        f".step-00000001.h5.tmp-{HOST}-{dead_pid()}-aa": True,
        f".step-00000001.h5.tmp-{HOST}-{os.getpid()}-bb": True,
        f".step-00000001.h5.tmp-{HOST}-1-cc": False,
        ".step-00000001.h5.tmp-other-node-7-99999-dd": False,
    }
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert {p.name for p in leftovers(tmp_path)} == {name for name, old in names.items() if old}


def test_a_save_removes_leftovers(tmp_path, arrays):
    unfinished(tmp_path, 1, f"{HOST} {dead_pid()}\n")
    CheckpointStore(tmp_path).save(2, arrays, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "step-00000002"]


def test_files_of_others_stay_and_do_not_hurt(tmp_path, arrays):
    store = CheckpointStore(tmp_path)
    notes = store.save(1, arrays, {}) / "notes.txt"
    notes.write_text("a good one")
    store.save(2, arrays, {})
    store.save(3, arrays, {})
    assert [p.name for p in notes.parent.iterdir()] == ["notes.txt"]
    assert [p.name for p in store.paths()] == ["step-00000003", "step-00000002"]


def test_checkpoints_of_version_1_are_pruned_too(tmp_path, arrays):
    for step in (1, 2):
        (tmp_path / f"step-{step:08d}.h5").write_bytes(b"of version 1")
    CheckpointStore(tmp_path).save(3, arrays, {})
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-00000002.h5", "step-00000003"]


def test_the_manifest_goes_first(tmp_path, arrays):
    """Stopped at any point, a checkpoint that is removed is whole or none."""
    for failing in range(1, 20):
        place = tmp_path / str(failing)
        path = CheckpointStore(place).save(1, arrays, {})
        removed = []

        class Stopped(Disk):
            def unlink(self, path):
                if len(removed) == failing - 1:  # noqa: B023  # used within this turn
                    raise KeyboardInterrupt
                removed.append(path.name)  # noqa: B023
                super().unlink(path)

        try:
            remove(Stopped(), path)
        except KeyboardInterrupt:
            left = CheckpointStore(place).latest()
            assert (left is not None) == (len(removed) == 0)
        else:
            break
    assert removed[0] == "manifest.json"
    assert not path.exists()


def test_prune_returns_what_it_removed(tmp_path, arrays):
    store = CheckpointStore(tmp_path, keep=9)
    for step in range(5):
        store.save(step, arrays, {})
    assert [p.name for p in prune(DISK, tmp_path, 3)] == ["step-00000001", "step-00000000"]
    assert len(store.paths()) == 3


def test_going_back_twice(tmp_path, arrays):
    store = CheckpointStore(tmp_path, keep=9)
    for step in (10, 30, 20, 30, 20):
        store.save(step, arrays, {})
    found = sorted(p.name for p in tmp_path.glob("step-*"))
    assert found == ["step-00000010", "step-00000020", "step-00000030.superseded"]


def test_going_back_past_files_of_others(tmp_path, arrays):
    """A superseded checkpoint in which somebody has put a file is not in the way of the next."""
    store = CheckpointStore(tmp_path, keep=9)
    for step in (10, 30, 20, 30):
        store.save(step, arrays, {})
    aside = tmp_path / "step-00000030.superseded"
    (aside / "notes.txt").write_text("a good one")
    store.save(20, arrays, {})
    assert store.latest().step == 20
    assert [p.name for p in aside.iterdir()] == ["notes.txt"]
    assert (tmp_path / "step-00000030.superseded-2" / "manifest.json").exists()


def test_a_later_checkpoint_that_cannot_be_set_aside_is_an_error(tmp_path, arrays):
    """A run that is started again would go on from it."""

    class Stubborn(Disk):
        def rename(self, source, target):
            if source.name.startswith("step-"):
                raise OSError(errno.EIO, "Input/output error")
            super().rename(source, target)

    store = CheckpointStore(tmp_path, disk=Stubborn())
    for step in (10, 30):
        store.save(step, arrays, {})
    with pytest.raises(
        CheckpointError, match=r"step-00000020 is on the disk, and .*step-00000030, .*error; rename"
    ):
        store.save(20, arrays, {})


@pytest.mark.parametrize("linked", ["step-00000001", ".latest.0123456789abcdef"])
def test_links_are_not_followed(tmp_path, linked):
    target = tmp_path / "target"
    target.mkdir()
    place = tmp_path / "run"
    place.mkdir()
    (place / linked).symlink_to(target)
    os.utime(target, (0, 0))
    assert leftovers(place) == []
