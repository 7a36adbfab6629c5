"""The store: newest whole checkpoint, keep-k, full disk, damage, other steps."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess

import numpy as np
import pytest

from hpcad.checkpoint import CheckpointStore, find_checkpoints
from hpcad.checkpoint.saving import prune
from hpcad.errors import CheckpointError, ConfigError


def names(directory) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_save_and_latest(tmp_path, arrays, state, same):
    store = CheckpointStore(tmp_path / "runs" / "new")
    assert store.latest() is None
    path = store.save(7, arrays, state)
    assert path == tmp_path / "runs" / "new" / "step-00000007"
    newest = store.latest()
    assert (newest.path, newest.step, newest.state) == (path, 7, state)
    same(newest.arrays, arrays)


def test_loaded_arrays_are_writeable(saved):
    arrays = CheckpointStore(saved.parent).latest().arrays
    arrays["parameters/fc1.weight"] += 1


def test_newest_is_by_step_and_not_by_time(tmp_path):
    store = CheckpointStore(tmp_path, keep=9)
    for step in (9, 10, 100):
        store.save(step, {}, {"step": step})
    os.utime(tmp_path / "step-00000009")
    assert [path.name for path in store.paths()] == [
        "step-00000100",
        "step-00000010",
        "step-00000009",
    ]
    assert store.latest().step == 100


def test_only_the_newest_are_kept(tmp_path):
    store = CheckpointStore(tmp_path, keep=3)
    (tmp_path / "metrics.csv").write_text("the user's own")
    for step in range(6):
        store.save(step, {}, {})
    assert names(tmp_path) == [
        "latest",
        "metrics.csv",
        "step-00000003",
        "step-00000004",
        "step-00000005",
    ]


@pytest.mark.parametrize("keep", [1, 0, -1])
def test_keeping_one_is_refused(tmp_path, keep):
    with pytest.raises(ConfigError, match="at least 2"):
        CheckpointStore(tmp_path, keep=keep)


def test_saving_a_step_again_replaces_it(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(3, {"w": np.zeros(2)}, {})
    store.save(3, {"w": np.ones(2)}, {})
    assert store.latest().arrays["w"].tolist() == [1, 1]
    assert names(tmp_path) == ["latest", "step-00000003"]
    assert len(list((tmp_path / "step-00000003").glob("*.h5"))) == 1


def test_a_damaged_newest_is_skipped_with_a_warning(tmp_path, arrays, caplog):
    store = CheckpointStore(tmp_path)
    store.save(1, arrays, {"step": 1})
    path = store.save(2, arrays, {"step": 2})
    (part,) = path.glob("*.h5")
    part.write_bytes(part.read_bytes()[:-5000])
    with caplog.at_level(logging.WARNING):
        assert store.latest().state == {"step": 1}
    assert "step-00000002 is damaged" in caplog.text


def test_all_damaged_is_an_error_and_not_a_fresh_start(saved):
    (saved / "manifest.json").write_bytes(b"")
    with pytest.raises(CheckpointError, match="none of the 1 checkpoints"):
        CheckpointStore(saved.parent).latest()


def test_going_back_sets_later_checkpoints_aside(tmp_path, caplog):
    """A run that went back to step 10 must not resume from the future it left."""
    store = CheckpointStore(tmp_path, keep=2)
    for step in (10, 20, 30):
        store.save(step, {}, {})
    with caplog.at_level(logging.WARNING):
        store.save(25, {}, {})
    assert store.latest().step == 25
    assert names(tmp_path) == [
        "latest",
        "step-00000020",
        "step-00000025",
        "step-00000030.superseded",
    ]


def test_load_by_path_and_newest(tmp_path):
    store = CheckpointStore(tmp_path)
    first = store.save(1, {}, {"step": 1})
    store.save(2, {}, {"step": 2})
    assert store.load().step == 2
    assert store.load(first).state == {"step": 1}


def test_load_of_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint in"):
        CheckpointStore(tmp_path / "absent").load()
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*absent\.h5"):
        CheckpointStore(tmp_path).load(tmp_path / "absent.h5")


def test_a_negative_step_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="not -1"):
        CheckpointStore(tmp_path).save(-1, {}, {})


def test_state_that_is_not_json_writes_nothing(tmp_path):
    store = CheckpointStore(tmp_path)
    with pytest.raises(CheckpointError, match="JSON values"):
        store.save(1, {}, {"loss": np.float32(1)})
    assert names(tmp_path) == []


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot save the checkpoint of step 1 in"):
        CheckpointStore(tmp_path / "file" / "sub").save(1, {}, {})


def test_failure_to_prune_does_not_fail_the_save(tmp_path, monkeypatch, caplog):
    store = CheckpointStore(tmp_path)

    def refuse(directory):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(prune, "leftovers", refuse)
    with caplog.at_level(logging.WARNING):
        store.save(1, {}, {})
    assert "cannot tidy" in caplog.text
    assert store.latest().step == 1


def test_only_directories_with_a_manifest_and_files_of_version_1_are_found(tmp_path, saved):
    place = tmp_path / "others"
    place.mkdir()
    (place / "step-00000001").symlink_to(saved)
    (place / "step-00000002").mkdir()
    (place / "step-00000003").write_bytes(b"a file")
    (place / "step-00000004.h5").mkdir()
    (place / "step-00000005.h5").write_bytes(b"of version 1")
    assert [path.name for path in find_checkpoints(place)] == ["step-00000005.h5"]


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_really_full_disk(small_disk, same):
    store = CheckpointStore(small_disk)
    small = {"w": np.arange(1000.0)}
    store.save(1, small, {})
    before = open_descriptors()
    with pytest.raises(CheckpointError) as caught:
        store.save(2, {"w": np.zeros(50_000)}, {})
    assert "step 2" in str(caught.value)
    assert "No space left on device (0.4 MB needed, " in str(caught.value)
    assert "older checkpoints are untouched" in str(caught.value)
    assert open_descriptors() == before
    assert names(small_disk) == ["latest", "step-00000001"]
    same(store.latest().arrays, small)
    store.save(3, small, {})  # the space of the failed file is free again
    assert store.latest().step == 3


def fill(path) -> None:
    with open(path, "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def test_a_disk_without_room_for_one_byte(small_disk):
    store = CheckpointStore(small_disk)
    store.save(1, {"w": np.zeros(10)}, {})
    fill(small_disk / "filler")
    with pytest.raises(CheckpointError, match="No space left on device"):
        store.save(2, {"w": np.zeros(10)}, {})
    assert names(small_disk) == ["filler", "latest", "step-00000001"]
    assert store.latest().step == 1
