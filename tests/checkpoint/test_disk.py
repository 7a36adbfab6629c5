"""The operations on files: exclusive, whole, and past the page cache only where that works."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from hpcad.checkpoint import disk as disk_module
from hpcad.checkpoint.disk import DISK, Disk, write_all, write_file


class Awkward(Disk):
    """Writes at most `most` bytes a call, and refuses direct writes when `strict`."""

    def __init__(self, most: int = 1 << 30, strict: bool = False) -> None:
        self.most, self.strict, self.refused = most, strict, 0

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        if self.strict and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            self.refused += 1
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return super().pwrite(descriptor, data[: self.most], offset)


def test_a_file_is_never_opened_over_another(tmp_path):
    os.close(DISK.create(tmp_path / "a"))
    for direct in (False, True):
        with pytest.raises(FileExistsError):
            DISK.create(tmp_path / "a", direct=direct)
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(tmp_path / "absent")
        with pytest.raises(FileExistsError):
            DISK.create(tmp_path / "link", direct=direct)


def test_short_writes_are_continued(tmp_path):
    data = os.urandom(10_000)
    write_file(Awkward(most=999), tmp_path / "a", data)
    assert (tmp_path / "a").read_bytes() == data


def test_direct_writes_that_are_refused_go_through_the_page_cache(tmp_path):
    disk = Awkward(strict=True)
    descriptor = disk.create(tmp_path / "a", direct=True)
    direct = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT
    write_all(disk, descriptor, memoryview(b"x" * 5000), 3)
    disk.close(descriptor)
    assert (tmp_path / "a").read_bytes() == bytes(3) + b"x" * 5000
    assert disk.refused == (1 if direct else 0)


def test_other_errors_of_writing_are_raised(tmp_path):
    class Full(Disk):
        def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_file(Full(), tmp_path / "a", b"x")


def test_einval_of_a_plain_file_is_raised(tmp_path):
    class Strange(Disk):
        def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
            raise OSError(errno.EINVAL, "Invalid argument")

    with pytest.raises(OSError, match="Invalid argument"):
        write_file(Strange(), tmp_path / "a", b"x")


def test_a_file_system_without_direct_writes(tmp_path, monkeypatch):
    real, tried = os.open, []

    def refuse(path, flags, mode=0o777):
        if flags & os.O_DIRECT:
            tried.append(path)
            os.close(real(path, flags & ~os.O_DIRECT, mode))  # as Linux does
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, mode)

    monkeypatch.setattr(disk_module.os, "open", refuse)
    descriptor = DISK.create(tmp_path / "a", direct=True)
    write_all(DISK, descriptor, memoryview(b"abc"), 0)
    os.close(descriptor)
    assert (tmp_path / "a").read_bytes() == b"abc"
    assert len(tried) == 1


def test_a_rename_replaces_a_file(tmp_path):
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    DISK.rename(tmp_path / "a", tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_text() == "new"


def test_a_directory_that_is_there_is_no_error(tmp_path):
    DISK.make_directory(tmp_path / "a")
    DISK.make_directory(tmp_path / "a")
    DISK.fsync_directory(tmp_path / "a")
    DISK.rmdir(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
