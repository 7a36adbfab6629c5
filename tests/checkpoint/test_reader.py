"""Reading a checkpoint directory: all bits, by offsets alone, or an error that names it."""

from __future__ import annotations

import errno
import os
import tracemalloc

import h5py
import numpy as np
import pytest
from checkpoint_layouts import forge, write_directory

from hpcad.checkpoint import DamagedCheckpointError, read_checkpoint
from hpcad.checkpoint.manifest import Manifest
from hpcad.checkpoint.reading import opening
from hpcad.checkpoint.reading.directory_reader import DirectoryReader
from hpcad.checkpoint.reading.opening import read_range
from hpcad.checkpoint.reading.reader import open_checkpoint
from hpcad.errors import CheckpointError

EVERY_DTYPE = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
def test_every_dtype_and_shape_from_any_number_of_parts(tmp_path, ranks, same):
    rng = np.random.default_rng(1)
    arrays = {f"x/{code}": rng.integers(0, 2, (3, 5)).astype(code) for code in EVERY_DTYPE}
    arrays |= {"scalar": np.array(2.5), "none": np.empty((0, 3), "i4"), "deep/er/one": np.ones(1)}
    state = {"a": [1, {"b": None}], "lost": float("nan"), "ü": "ä"}
    path = write_directory(tmp_path, 3, arrays, state, ranks=ranks)
    found = read_checkpoint(path)
    same(found.arrays, arrays)
    assert (found.path, found.step) == (path, 3)
    assert repr(found.state) == repr(state)


def test_hdf5_has_no_part_in_reading(tmp_path, arrays, same, monkeypatch):
    path = write_directory(tmp_path, 3, arrays, ranks=2)
    monkeypatch.setattr(h5py, "File", None)
    same(read_checkpoint(path).arrays, arrays)


def test_a_checkpoint_may_be_reached_through_a_link(tmp_path, arrays, same):
    path = write_directory(tmp_path, 3, arrays)
    (tmp_path / "best").symlink_to(path)
    same(read_checkpoint(tmp_path / "best").arrays, arrays)


def test_one_array_needs_no_other(tmp_path, arrays):
    path = write_directory(tmp_path, 3, arrays, ranks=2)
    damage(path, arrays["parameters/fc1.weight"].tobytes()[-40:])
    with open_checkpoint(path) as reader:
        assert reader.read("optimizer/count") == 7
    with pytest.raises(DamagedCheckpointError, match=r"array 'parameters/fc1\.weight' does not"):
        read_checkpoint(path)


def test_verify_finds_what_read_finds(tmp_path, arrays):
    path = write_directory(tmp_path, 3, arrays, ranks=2)
    with open_checkpoint(path) as reader:
        reader.verify()
    damage(path, arrays["optimizer/m/fc1.weight"].tobytes()[:16])
    with (
        pytest.raises(DamagedCheckpointError, match="optimizer/m/fc1"),
        open_checkpoint(path) as reader,
    ):
        reader.verify()


def damage(path, data):
    """Flip a bit of `data`, in whichever part holds it."""
    for part in path.glob("*.h5"):
        content = bytearray(part.read_bytes())
        if (at := content.find(data)) >= 0:
            content[at] ^= 1
            part.write_bytes(content)
            return
    raise AssertionError("no part holds it")


def test_a_slice_of_an_array(tmp_path, arrays):
    path = write_directory(tmp_path, 3, arrays, ranks=3)
    expected = arrays["optimizer/m/fc1.weight"].reshape(-1)
    with open_checkpoint(path) as reader:
        spec = next(s for s in reader.arrays if s.name == "optimizer/m/fc1.weight")
        for start, stop in [(0, 384), (0, 1), (100, 300), (383, 384), (127, 129), (5, 5)]:
            out = np.full(stop - start, np.nan)
            reader.read_into(spec, start, out.view(np.uint8).data)
            assert np.array_equal(out, expected[start:stop])


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
def test_chunks_of_any_size_give_the_same_bytes_and_checksum(tmp_path, monkeypatch, chunk):
    data = bytes(range(60))
    (tmp_path / "x").write_bytes(data)
    descriptor = os.open(tmp_path / "x", os.O_RDONLY)
    whole = read_range(descriptor, 5, 50, memoryview(b""))
    monkeypatch.setattr(opening, "_CHUNK", chunk)
    for begin in range(0, 50, 7):
        for length in (0, 1, 8, 50 - begin):
            out = bytearray(min(length, 50 - begin))
            assert read_range(descriptor, 5, 50, memoryview(out), begin) == whole
            assert bytes(out) == data[5 + begin : 5 + begin + len(out)]
    os.close(descriptor)


def test_few_files_are_open_at_once(tmp_path, same):
    """A limit on open files is no limit on ranks."""
    arrays = {f"x{i}": np.arange(100.0) + i for i in range(3)}
    path = write_directory(tmp_path, 3, arrays, ranks=80)
    before = len(os.listdir("/proc/self/fd"))
    with open_checkpoint(path) as reader:
        same({s.name: reader.read(s.name) for s in reader.arrays}, arrays)
        assert len(os.listdir("/proc/self/fd")) - before <= 33
    assert len(os.listdir("/proc/self/fd")) == before


def test_errors_leave_no_file_open(tmp_path, arrays):
    path = write_directory(tmp_path, 3, arrays, ranks=2)
    part = sorted(path.glob("*.h5"))[1]
    part.write_bytes(part.read_bytes()[:-1])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(DamagedCheckpointError):
            read_checkpoint(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_there(tmp_path):
    with pytest.raises(CheckpointError, match=f"there is no checkpoint {tmp_path}/step-00000001"):
        read_checkpoint(tmp_path / "step-00000001")
    (tmp_path / "step-00000001").mkdir()
    with pytest.raises(CheckpointError, match=r"'manifest\.json' is missing"):
        read_checkpoint(tmp_path / "step-00000001")


def test_a_step_under_the_name_of_another(tmp_path, arrays):
    path = write_directory(tmp_path, 3, arrays)
    path.rename(tmp_path / "step-00000004")
    with pytest.raises(DamagedCheckpointError, match="its name states step 4, it holds 3"):
        read_checkpoint(tmp_path / "step-00000004")


def test_a_newer_format_is_no_damage(tmp_path, arrays):
    path = write_directory(tmp_path, 3, arrays)
    forge(path, lambda record: record.update(version=3))
    with pytest.raises(CheckpointError, match=r"has format version 3.*update hpcad") as caught:
        read_checkpoint(path)
    assert not isinstance(caught.value, DamagedCheckpointError)


def test_a_directory_that_another_rank_sees_and_this_one_not_is_no_damage(tmp_path, arrays):
    """It is the mount of a node that is wrong; older checkpoints would be as invisible."""
    path = write_directory(tmp_path, 3, arrays)
    with open_checkpoint(path) as reader:
        manifest = reader.manifest
    with pytest.raises(CheckpointError, match="a file system that all nodes share") as caught:
        DirectoryReader(tmp_path / "elsewhere", manifest)
    assert not isinstance(caught.value, DamagedCheckpointError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_no_damage(tmp_path, arrays):
    path = write_directory(tmp_path, 3, arrays)
    (path / "manifest.json").chmod(0)
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        read_checkpoint(path)
    assert not isinstance(caught.value, DamagedCheckpointError)


@pytest.mark.parametrize("lacking", [errno.EACCES, errno.EMFILE, errno.ENOMEM])
def test_what_this_process_lacks_is_no_damage(tmp_path, arrays, monkeypatch, lacking):
    path = write_directory(tmp_path, 3, arrays)

    def refuse(*arguments):
        raise OSError(lacking, os.strerror(lacking))

    monkeypatch.setattr(opening.os, "preadv", refuse)
    with pytest.raises(CheckpointError, match=os.strerror(lacking)) as caught:
        read_checkpoint(path)
    assert not isinstance(caught.value, DamagedCheckpointError)


def test_a_read_error_of_the_disk_is_damage(tmp_path, arrays, monkeypatch):
    path = write_directory(tmp_path, 3, arrays)
    with open_checkpoint(path):
        monkeypatch.setattr(opening.os, "preadv", lambda *a: raising(OSError(errno.EIO, "bad")))
    with pytest.raises(DamagedCheckpointError, match="bad"):
        read_checkpoint(path)


def test_a_defect_of_the_reader_is_no_damage(tmp_path, arrays, monkeypatch):
    """Or it would lead a run to its older checkpoints, without a traceback."""
    path = write_directory(tmp_path, 3, arrays)
    monkeypatch.setattr(DirectoryReader, "read_slice", lambda *a: raising(TypeError("a defect")))
    with pytest.raises(TypeError, match="a defect"):
        read_checkpoint(path)


def raising(error):
    raise error


def test_memory_for_one_chunk_is_enough_to_verify(tmp_path):
    path = write_directory(tmp_path, 3, {"x": np.zeros(8 << 20)})
    tracemalloc.start()
    try:
        with open_checkpoint(path) as reader:
            reader.verify()
        assert tracemalloc.get_traced_memory()[1] < 9 << 20
    finally:
        tracemalloc.stop()


def test_more_than_the_memory_is_no_damage(tmp_path, arrays, monkeypatch):
    path = write_directory(tmp_path, 3, arrays)
    monkeypatch.setattr(opening.os, "sysconf", lambda name: 8 if "PAGES" in name else 100)
    with pytest.raises(CheckpointError, match=r"this machine has 0\.0 GB") as caught:
        read_checkpoint(path)
    assert not isinstance(caught.value, DamagedCheckpointError)


def test_the_layouts_of_these_tests_are_of_the_format(tmp_path, arrays):
    path = write_directory(tmp_path, 3, arrays, ranks=2)
    text = (path / "manifest.json").read_bytes()
    forge(path, lambda record: None)
    assert Manifest.decode((path / "manifest.json").read_bytes()) == Manifest.decode(text)
    with h5py.File(sorted(path.glob("*.h5"))[0]) as part:
        half = arrays["parameters/fc1.weight"].reshape(-1)[:192]
        assert np.array_equal(part["parameters/fc1.weight"][()], half)
