from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from hpcad.data import FieldSpec, open_dataset
from hpcad.data.manifest.contents import DTYPES
from hpcad.data.packing.writer import DatasetWriter
from hpcad.errors import DataError

FIELDS = {"x": FieldSpec((2,), DTYPES["float32"])}


def rows(start: int, stop: int) -> dict[str, np.ndarray]:
    return {"x": np.arange(2 * start, 2 * stop, dtype=np.float32).reshape(-1, 2)}


def write(place: Path, fields: dict[str, FieldSpec], chunk: dict[str, np.ndarray]) -> None:
    with DatasetWriter(place, fields, shard_samples=4) as writer:
        writer.append(chunk)
        writer.finish()
        writer.commit()


@pytest.mark.parametrize("chunks", [[10], [1] * 10, [3, 7], [4, 4, 2], [0, 9, 1]])
def test_chunks_of_any_size_become_shards_of_one_size(tmp_path: Path, chunks: list[int]) -> None:
    with DatasetWriter(tmp_path / "d", FIELDS, shard_samples=4) as writer:
        start = 0
        for count in chunks:
            writer.append(rows(start, start + count))
            start += count
        writer.finish()
        manifest = writer.commit()
    assert [shard.count for shard in manifest.shards] == [4, 4, 2]
    np.testing.assert_array_equal(
        open_dataset(tmp_path / "d").read(np.arange(10))["x"], rows(0, 10)["x"]
    )
    assert os.listdir(tmp_path) == ["d"]


def test_nothing_exists_before_commit_and_nothing_stays_without_it(tmp_path: Path) -> None:
    place = tmp_path / "new" / "deep" / "d"
    with DatasetWriter(place, FIELDS, shard_samples=4) as writer:
        writer.append(rows(0, 10))
        writer.finish()
        assert not place.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with DatasetWriter(tmp_path / "d", FIELDS, shard_samples=4) as writer:
            writer.append(rows(0, 10))
            raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        broken()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fsync", "rename"])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(DataError, match="the disk is full; nothing was left behind"):
        write(tmp_path / "d", FIELDS, rows(0, 10))
    assert list(tmp_path.iterdir()) == []


def test_a_real_limit_on_file_size_leaves_nothing(tmp_path: Path) -> None:
    program = """
import resource, sys
import numpy as np
from hpcad.data import pack
from hpcad.data.sources import array_source
from hpcad.errors import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    pack(array_source({"x": np.zeros((1000, 1000))}), sys.argv[1])
except DataError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "d")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "cannot be written (File too large)" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_killed_while_packing_leaves_no_dataset(tmp_path: Path) -> None:
    program = """
import os, signal, sys
import numpy as np
from hpcad.data.packing.writer import DatasetWriter
from hpcad.data import FieldSpec
writer = DatasetWriter(sys.argv[1], {"x": FieldSpec((), np.dtype("<f8"))}, shard_samples=4)
writer.append({"x": np.arange(10.0)})
writer.finish()
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "d")]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
    with pytest.raises(DataError, match="there is no such dataset"):
        open_dataset(tmp_path / "d")


def test_force_replaces_a_dataset_and_only_that(make: Callable[..., Path]) -> None:
    place = make(10)
    before = open_dataset(place).hash
    with pytest.raises(DataError, match=r"already there.*--force"):
        DatasetWriter(place, FIELDS, shard_samples=4)
    with DatasetWriter(place, FIELDS, shard_samples=4, force=True) as writer:
        writer.append(rows(0, 3))
        writer.finish()
        assert open_dataset(place).hash == before
        writer.commit()
    assert len(open_dataset(place)) == 3
    assert os.listdir(place.parent) == [place.name]
    (place / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"'notes\.txt' beside its dataset"):
        DatasetWriter(place, FIELDS, shard_samples=4, force=True)
    assert (place / "notes.txt").read_text() == "mine"


def test_other_directories_and_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "full")
    for name, message in [
        ("full", "files that are no dataset"),
        ("file", "not a directory"),
        ("link", "not a directory"),
    ]:
        with pytest.raises(DataError, match=message):
            DatasetWriter(tmp_path / name, FIELDS, shard_samples=4, force=True)
    assert (tmp_path / "full" / "thesis.tex").exists()


def test_an_empty_directory_is_used_and_readable_by_others(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    mask = os.umask(0o022)
    try:
        with DatasetWriter(tmp_path / "d", FIELDS, shard_samples=4) as writer:
            writer.append(rows(0, 3))
            writer.finish()
            writer.commit()
    finally:
        os.umask(mask)
    assert len(open_dataset(tmp_path / "d")) == 3
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        ({"y": np.zeros((1, 2), "f4")}, "fields"),
        ({"x": np.zeros((1, 3), "f4")}, "expected float32"),
        ({"x": np.zeros((1, 2), "f8")}, "expected float32"),
        ({"x": np.float32(1)}, "expected float32"),
    ],
)
def test_samples_that_do_not_fit(
    tmp_path: Path, chunk: dict[str, np.ndarray], message: str
) -> None:
    with (
        DatasetWriter(tmp_path / "d", FIELDS, shard_samples=4) as writer,
        pytest.raises(DataError, match=message),
    ):
        writer.append(chunk)


def test_counts_of_fields_must_agree(tmp_path: Path) -> None:
    fields = {**FIELDS, "y": FieldSpec((), DTYPES["int64"])}
    with (
        DatasetWriter(tmp_path / "d", fields, shard_samples=4) as writer,
        pytest.raises(DataError, match="differ in their number of samples"),
    ):
        writer.append({**rows(0, 3), "y": np.arange(4)})


def test_misuse_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 1 sample"):
        DatasetWriter(tmp_path / "d", FIELDS, shard_samples=0)
    with DatasetWriter(tmp_path / "d", FIELDS, shard_samples=4) as writer:
        with pytest.raises(DataError, match="finish"):
            writer.commit()
        with pytest.raises(DataError, match="holds no samples"):
            writer.finish()
        writer.append(rows(0, 1))
        with pytest.raises(DataError, match="cannot be written as JSON"):
            writer.finish(metadata={"a": object()})
    with pytest.raises(DataError, match="letters, digits and underscores"):
        write(tmp_path / "d", {"not a name": FIELDS["x"]}, {"not a name": rows(0, 1)["x"]})


def test_big_endian_and_strided_samples_are_stored_as_their_values(tmp_path: Path) -> None:
    wide = np.arange(12, dtype=">f4").reshape(3, 4)
    with DatasetWriter(tmp_path / "d", FIELDS, shard_samples=4) as writer:
        writer.append({"x": wide[:, ::2]})
        writer.finish()
        writer.commit()
    np.testing.assert_array_equal(open_dataset(tmp_path / "d").read([0, 1, 2])["x"], wide[:, ::2])
