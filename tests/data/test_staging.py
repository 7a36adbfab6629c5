"""Staging on one node: complete or not there, resumed, replaced when stale, removed on demand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcad.data import open_dataset
from hpcad.data.manifest.reader import read_manifest
from hpcad.data.staging import node as stage_node
from hpcad.data.staging import room as stage_room
from hpcad.data.staging import transfer as stage_transfer
from hpcad.data.staging.plan import pieces
from hpcad.data.staging.record import FILE_NAME, Owner, read_record
from hpcad.data.staging.room import NoRoomError
from hpcad.data.staging.stage import stage
from hpcad.errors import DataError
from hpcad.parallel.serial import SerialCommunicator

from .conftest import numbered

ALONE = SerialCommunicator()
Make = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "local"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each read of the shared file system."""
    found: list[int] = []
    preadv = os.preadv

    def counted(descriptor: int, buffers: Any, offset: int) -> int:
        found.append(preadv(descriptor, buffers, offset))
        return found[-1]

    monkeypatch.setattr(stage_transfer.os, "preadv", counted)
    return found


def packed_again(make: Make, n: int) -> Path:
    """Another version of the dataset, under the same name."""
    shutil.rmtree(make(1, name="elsewhere").parent / "set")
    return make(n, 4)


def damage(shard: Path) -> None:
    """Flip one bit of a sample."""
    entries = {each.file: each for each in read_manifest(shard.parent).shards}
    data = bytearray(shard.read_bytes())
    data[entries[shard.name].arrays["x"].offset] ^= 1
    shard.write_bytes(data)


def dead_owner(**changes: Any) -> dict[str, Any]:
    """The owner that a process leaves that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return {**vars(Owner.here()), "pid": ended.pid, "started": 1, **changes}


def edit_record(directory: Path, **changes: Any) -> None:
    path = directory / FILE_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def interrupted(monkeypatch: pytest.MonkeyPatch, source: Path, place: Path, after: int) -> Path:
    """A stage whose job was killed when so many shards were complete; returns its directory."""
    accept, done = stage_node.NodeStage.accept, []

    def dying(self: Any, file: int) -> None:
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(file)
        accept(self, file)

    with monkeypatch.context() as patch:
        patch.setattr("hpcad.data.staging.work.batches", lambda sizes, files: [[f] for f in files])
        patch.setattr(stage_node.NodeStage, "accept", dying)
        with pytest.raises(KeyboardInterrupt):
            stage(source, place, ALONE)
    (left,) = place.iterdir()
    assert left.name.startswith(".")
    edit_record(left, owner=dead_owner())
    return left


def test_a_copy_has_the_bits_and_the_identity_of_the_dataset(make: Make, place: Path) -> None:
    source = make(23, 5)
    staged = stage(source, place, ALONE)
    copy = open_dataset(staged, ALONE)
    assert copy.directory == staged.path
    assert staged.path.parent == place
    assert copy.hash == open_dataset(source).hash
    for name, array in copy.read(np.arange(23)).items():
        np.testing.assert_array_equal(array, numbered(23)[name])
    for shard in copy.manifest.shards:
        assert (staged.path / shard.file).read_bytes() == (source / shard.file).read_bytes()
    assert staged.read_bytes == staged.node_bytes == copy.manifest.file_bytes
    assert list(place.iterdir()) == [staged.path]  # nothing is left beside it


def test_files_larger_than_a_piece(make: Make, place: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("hpcad.data.staging.work.pieces", lambda s, f: pieces(s, f, 1000))
    source = make(500, 200)
    staged = stage(source, place, ALONE)
    np.testing.assert_array_equal(open_dataset(staged).read(np.arange(500))["y"], np.arange(500))


def test_a_second_call_compares_and_reads_nothing_again(
    make: Make, place: Path, reads: list[int]
) -> None:
    source = make(10, 4)
    first = stage(source, place, ALONE)
    assert sum(reads) == first.read_bytes > 0
    reads.clear()
    lines: list[str] = []
    again = stage(source, place, ALONE, progress=lines.append)
    assert (again.path, again.read_bytes, reads, lines) == (first.path, 0, [], [])
    assert "there already" in again.describe()


def test_a_damaged_or_missing_file_is_copied_again_and_no_other(
    make: Make, place: Path, reads: list[int]
) -> None:
    source = make(12, 4)
    staged = stage(source, place, ALONE)
    bad, gone = staged.path / "shard-00001.h5", staged.path / "shard-00002.h5"
    damage(bad)
    gone.unlink()
    reads.clear()
    again = stage(source, place, ALONE)
    assert again.path == staged.path
    assert sum(reads) == sum((source / path.name).stat().st_size for path in (bad, gone))
    assert bad.read_bytes() == (source / bad.name).read_bytes()
    assert list(place.iterdir()) == [staged.path]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stage_of_a_killed_job_is_resumed(
    make: Make, place: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    source = make(12, 4)
    left = interrupted(monkeypatch, source, place, after)
    record = read_record(left)
    assert record is not None
    assert record.files == tuple(f"shard-{i:05d}.h5" for i in range(after))
    assert not record.complete
    reads.clear()
    staged = stage(source, place, ALONE)
    files = sorted(source.glob("*.h5"))
    assert sum(reads) == sum(path.stat().st_size for path in files[after:])
    assert list(place.iterdir()) == [staged.path]
    assert len(open_dataset(staged)) == 12


KILLED = """
import os, sys
from hpcad.data.staging import node as stage_node
from hpcad.data.staging import transfer as stage_transfer
from hpcad.data.staging.stage import stage
from hpcad.parallel.serial import SerialCommunicator

source, place, module, name, left = sys.argv[1:]
where = {"os": os, "node": stage_node, "NodeStage": stage_node.NodeStage, "Path": stage_node.Path}
real, left = getattr(where[module], name), int(left)

def deadly(*arguments, **options):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    return real(*arguments, **options)

setattr(where[module], name, deadly)
stage(source, place, SerialCommunicator())
"""


@pytest.mark.parametrize(
    ("call", "count"),
    [
        ("os pwrite", 1),
        ("node write_record", 2),  # before the stage is recorded as complete
        ("Path rename", 3),  # before it gets its name
    ],
)
def test_killed_anywhere_it_is_never_there_by_half(
    make: Make, place: Path, call: str, count: int
) -> None:
    source = make(12, 4)
    words = [sys.executable, "-c", KILLED, str(source), str(place), *call.split(), str(count)]
    assert subprocess.run(words, check=False, timeout=60).returncode == -9
    (left,) = place.iterdir()
    assert left.name.startswith(".set-")
    staged = stage(source, place, ALONE)
    assert list(place.iterdir()) == [staged.path]
    np.testing.assert_array_equal(open_dataset(staged).read(np.arange(12))["y"], np.arange(12))


def test_a_stage_under_way_of_a_living_process_is_left_alone(
    make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(12, 4)
    left = interrupted(monkeypatch, source, place, 1)
    parent = {**vars(Owner.here()), "pid": os.getppid(), "started": _started(os.getppid())}
    for owner in (parent, dead_owner(host="another")):
        edit_record(left, owner=owner)
        staged = stage(source, place, ALONE, keep=False)
        assert sorted(place.iterdir()) == sorted([left, staged.path])
        staged.remove()


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_a_copy_of_another_version_is_replaced_and_never_used(make: Make, place: Path) -> None:
    old = stage(make(12, 4), place, ALONE)
    edit_record(old.path, owner=dead_owner())
    source = packed_again(make, 8)
    new = stage(source, place, ALONE)
    assert new.path == old.path
    assert len(open_dataset(new)) == 8
    assert not (new.path / "shard-00002.h5").exists()


def test_a_copy_of_another_version_that_may_be_in_use_is_an_error(make: Make, place: Path) -> None:
    old = stage(make(12, 4), place, ALONE)
    parent = {**vars(Owner.here()), "pid": os.getppid(), "started": _started(os.getppid())}
    edit_record(old.path, owner=parent)
    with pytest.raises(DataError, match=rf"another version of .*process {os.getppid()} on"):
        stage(packed_again(make, 8), place, ALONE)
    assert len(open_dataset(old)) == 12


def test_unfinished_copies_of_other_versions_are_removed(
    make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = interrupted(monkeypatch, make(12, 4), place, 1)
    staged = stage(packed_again(make, 8), place, ALONE)
    assert not left.exists()
    assert len(open_dataset(staged)) == 8


def test_what_a_killed_job_did_not_want_to_keep_is_removed_by_the_next(
    make: Make, place: Path
) -> None:
    gone = stage(make(12, 4, name="gone"), place, ALONE, keep=False)
    kept = stage(make(12, 4, name="kept"), place, ALONE)
    for stage_ in (gone, kept):
        edit_record(stage_.path, owner=dead_owner())
    other = stage(make(4, 4, name="other"), place, ALONE)
    assert sorted(place.iterdir()) == sorted([kept.path, other.path])


def test_an_old_directory_without_a_record_is_removed_unless_it_holds_something(
    make: Make, place: Path
) -> None:
    for name, age in (("old", 1000), ("young", 0), ("full", 1000)):
        directory = place / f".{name}.staging-00"
        directory.mkdir(parents=True)
        if name == "full":
            (directory / "notes.txt").write_text("mine")
        os.utime(directory, (time.time() - age,) * 2)
    stage(make(4, 4), place, ALONE)
    left = [path.name for path in place.iterdir() if path.name.startswith(".")]
    assert sorted(left) == [".full.staging-00", ".young.staging-00"]


def test_only_what_was_made_is_removed(make: Make, place: Path) -> None:
    source = make(12, 4)
    with stage(source, place, ALONE, keep=False) as staged:
        assert len(open_dataset(staged)) == 12
        (staged.path / "notes.txt").write_text("mine")
    assert [path.name for path in staged.path.iterdir()] == ["notes.txt"]
    with pytest.raises(DataError, match="in the way"):
        stage(source, place, ALONE)
    (staged.path / "notes.txt").unlink()
    staged.path.rmdir()
    kept = stage(source, place, ALONE)
    with stage(source, place, ALONE, keep=False):
        pass
    assert kept.path.exists()  # it was there before


def test_it_is_removed_when_the_process_ends(make: Make, place: Path) -> None:
    code = (
        "import sys; from hpcad.data.staging.stage import stage; "
        "from hpcad.parallel.serial import SerialCommunicator as S; "
        "print(stage(sys.argv[1], sys.argv[2], S(), keep=False).path.is_dir())"
    )
    command = [sys.executable, "-c", code, str(make(8, 4)), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert list(place.iterdir()) == []


def test_jobs_that_stage_the_same_at_the_same_time_share_one_copy(make: Make, place: Path) -> None:
    code = (
        "import sys; from hpcad.data.staging.stage import stage; "
        "from hpcad.parallel.serial import SerialCommunicator as S; "
        "sys.stdin.read(1); print(stage(sys.argv[1], sys.argv[2], S()).path)"
    )
    command = [sys.executable, "-c", code, str(make(8, 4)), str(place)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    jobs = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for job in jobs:
        job.stdin.write("x")  # type: ignore[union-attr]
        job.stdin.flush()  # type: ignore[union-attr]
    said = {job.communicate(timeout=60)[0] for job in jobs}
    assert [job.returncode for job in jobs] == [0, 0, 0]
    (copy,) = place.iterdir()
    assert said == {f"{copy}\n"}


def test_too_little_room_is_an_error_before_anything_is_written(
    make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_node, "free_bytes", lambda path: 1_000_000)
    with pytest.raises(NoRoomError, match=r"node 0 needs 0.02 GB and has 0.00 GB free in .*/local"):
        stage(make(12, 4), place, ALONE)
    assert list(place.iterdir()) == []


def test_a_disk_that_fills_up_is_an_error_and_leaves_what_can_be_resumed(
    make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> int:
        raise OSError(28, "No space left on device")

    source = make(12, 4)
    with monkeypatch.context() as patch:
        patch.setattr(stage_transfer.os, "pwrite", full)
        with pytest.raises(DataError, match=r"cannot be written .No space left"):
            stage(source, place, ALONE)
        (left,) = place.iterdir()
        with pytest.raises(DataError, match="cannot be written"):
            stage(source, place, ALONE, keep=False)  # goes on with it, and removes it
        assert list(place.iterdir()) == []
    assert left.name.startswith(".set-")
    assert len(open_dataset(stage(source, place, ALONE))) == 12


def test_a_source_that_is_damaged_is_never_staged(make: Make, place: Path) -> None:
    source = make(12, 4)
    damage(source / "shard-00001.h5")
    with pytest.raises(DataError, match=r"copy on this node does not fit the manifest.*checksum"):
        stage(source, place, ALONE)
    assert not [path for path in place.iterdir() if not path.name.startswith(".")]


def test_a_source_that_is_cut_short_meanwhile_is_an_error(
    make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_transfer.os, "preadv", lambda *arguments: 0)
    with pytest.raises(DataError, match=r"shard-00000.h5: cannot be read .*too early"):
        stage(make(12, 4), place, ALONE)


def test_strange_records_are_never_believed(make: Make, place: Path) -> None:
    source = make(4, 4)
    staged = stage(source, place, ALONE)
    good = json.loads((staged.path / FILE_NAME).read_text())
    assert read_record(staged.path) is not None
    changes: list[dict[str, Any]] = [
        {"shards": ["../../etc/passwd"]},
        {"files": ["/etc/passwd"]},
        {"shards": "all"},
        {"keep": 1},
        {"version": 2},
        {"more": 1},
        {"owner": {**good["owner"], "pid": -1}},
        {"owner": {**good["owner"], "pid": "1"}},
        {"owner": None},
    ]
    for change in changes:
        (staged.path / FILE_NAME).write_text(json.dumps({**good, **change}))
        assert read_record(staged.path) is None, change
    (staged.path / FILE_NAME).write_text("[" * 100_000)
    assert read_record(staged.path) is None
    with pytest.raises(DataError, match="in the way"):
        stage(source, place, ALONE)


def test_auto_takes_the_first_place_with_room(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    monkeypatch.setattr(stage_room, "PLACES", ("$NOT_SET_HERE/x", str(small), str(large)))
    free = {small: 1000, large: 1 << 40}
    monkeypatch.setattr(stage_room, "free_bytes", lambda path: free[path])
    source = make(12, 4)
    assert stage(source, "auto", ALONE).path.parent == large
    free[large] = 0
    assert stage(source, "auto", ALONE).path.parent == large  # it is there already
    with pytest.raises(NoRoomError, match=r"no place of its own with room for .*small"):
        stage(make(4, 4, name="other"), "auto", ALONE)


def test_shared_file_systems_are_no_place_of_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path} lustre rw 0 0\nc /dev/shm tmpfs rw 0 0\n")
    monkeypatch.setattr(stage_room, "_MOUNTS", mounts)
    monkeypatch.setattr(stage_room, "PLACES", (str(tmp_path), "/dev/shm"))
    assert stage_room.file_system(tmp_path / "x") == "lustre"
    assert stage_room.file_system(Path("/etc")) == "ext4"
    assert list(stage_room.local_places()) == [Path("/dev/shm")]


def test_variables_are_filled_in(make: Make, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_PLACE", str(place))
    source = make(4, 4)
    assert stage(source, "$LOCAL_PLACE/in", ALONE).path.parent == place / "in"
    with pytest.raises(DataError, match="a variable that is not set"):
        stage(source, "$NOT_SET_HERE", ALONE)


def test_progress_is_told(make: Make, place: Path) -> None:
    lines: list[str] = []
    stage(make(12, 4), place, ALONE, progress=lines.append)
    assert len(lines) == 1
    assert re.fullmatch(r"staged 180.0 KiB of 180.0 KiB a node \([\d.]+ .*/s\)", lines[0])


def test_no_thread_and_no_open_file_is_left(make: Make, place: Path) -> None:
    threads = threading.active_count()
    stage(make(4, 4), place, ALONE)
    assert threading.active_count() == threads
