"""Restoring in one process: the newest that is whole, parts of it, and what is said otherwise."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest
from checkpoint_layouts import forge, write_directory, write_file_v1

from hpcad.checkpoint import DamagedCheckpointError
from hpcad.checkpoint.manifest import ArraySpec, Manifest, PartSpec, SliceSpec
from hpcad.checkpoint.restoring.distribution import assign
from hpcad.checkpoint.restoring.restore import restore, restore_newest
from hpcad.errors import CheckpointError
from hpcad.parallel.serial import SerialCommunicator


@pytest.fixture
def alone():
    return SerialCommunicator()


def cut(path):
    part = sorted(path.glob("*.h5"))[0]
    part.write_bytes(part.read_bytes()[:-1])


def test_the_newest_by_step(tmp_path, arrays, alone, same):
    for step in (9, 10, 2):
        write_directory(tmp_path, step, arrays, ranks=2)
    found = restore_newest(tmp_path, alone)
    assert found.step == 10
    same(found.arrays, arrays)


def test_damaged_ones_are_skipped_with_one_line_each(tmp_path, arrays, alone, same, caplog):
    for step in (1, 2, 3, 4):
        write_directory(tmp_path, step, arrays, ranks=2)
    cut(tmp_path / "step-00000004")
    (tmp_path / "step-00000003" / "manifest.json").write_bytes(b"{}")
    with caplog.at_level(logging.WARNING):
        found = restore_newest(tmp_path, alone)
    assert found.step == 2
    same(found.arrays, arrays)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" is damaged")[0] for line in lines] == [
        f"skipped: checkpoint {tmp_path}/step-0000000{step}" for step in (4, 3)
    ]


def test_a_directory_without_a_manifest_is_not_tried(tmp_path, arrays, alone, caplog):
    write_directory(tmp_path, 1, arrays)
    (write_directory(tmp_path, 2, arrays) / "manifest.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert restore_newest(tmp_path, alone).step == 1
    assert not caplog.records


def test_both_versions_lie_in_one_directory(tmp_path, arrays, alone, same):
    write_file_v1(tmp_path, 5, arrays, {"x": 1})
    write_directory(tmp_path, 4, arrays)
    found = restore_newest(tmp_path, alone)
    assert (found.step, found.state, found.path.name) == (5, {"x": 1}, "step-00000005.h5")
    same(found.arrays, arrays)
    write_directory(tmp_path, 6, arrays)
    assert restore_newest(tmp_path, alone).step == 6


def test_what_is_newer_than_this_program_is_not_skipped(tmp_path, arrays, alone):
    """Going back without a word would throw away what was learned since."""
    write_directory(tmp_path, 1, arrays)
    forge(write_directory(tmp_path, 2, arrays), lambda record: record.update(version=3))
    with pytest.raises(CheckpointError, match="update hpcad") as caught:
        restore_newest(tmp_path, alone)
    assert not isinstance(caught.value, DamagedCheckpointError)


def test_nothing_and_nothing_whole(tmp_path, arrays, alone):
    assert restore_newest(tmp_path, alone) is None
    assert restore_newest(tmp_path / "absent", alone) is None
    cut(write_directory(tmp_path, 1, arrays))
    with pytest.raises(CheckpointError, match=r"none of the 1 checkpoints in .* verifies"):
        restore_newest(tmp_path, alone)


def test_patterns_choose_arrays_and_only_these_are_verified(tmp_path, arrays, alone, same):
    path = write_directory(tmp_path, 1, arrays, ranks=2)
    part = sorted(path.glob("*.h5"))[1]
    data = bytearray(part.read_bytes())
    at = data.index(arrays["optimizer/m/fc1.weight"].tobytes()[-64:])
    data[at] ^= 1
    part.write_bytes(data)
    found = restore(path, alone, patterns=["*.bias", "parameters/*.weight"])
    same(found.arrays, {name: arrays[name] for name in arrays if name.startswith("parameters/")})
    with pytest.raises(DamagedCheckpointError, match="optimizer/m"):
        restore(path, alone)


def test_a_pattern_without_a_match_is_an_error(tmp_path, arrays, alone):
    path = write_directory(tmp_path, 1, arrays)
    with pytest.raises(CheckpointError, match=r"no array that matches 'weights/\*'; it holds para"):
        restore(path, alone, patterns=["parameters/*", "weights/*"])


def test_wanted_slices_are_flat(tmp_path, arrays, alone, same):
    path = write_directory(tmp_path, 1, arrays, ranks=3)
    wanted = {"optimizer/m/fc1.weight": (100, 200), "parameters/fc1.bias": (24, 0)}
    found = restore(path, alone, wanted=wanted)
    expected = arrays | {
        name: arrays[name].reshape(-1)[start : start + count]
        for name, (start, count) in wanted.items()
    }
    same(found.arrays, expected)


@pytest.mark.parametrize("wanted", [(0, 25), (25, 0), (-1, 2), (3, -1)])
def test_wanted_slices_must_be_there(tmp_path, arrays, alone, wanted):
    path = write_directory(tmp_path, 1, arrays)
    with pytest.raises(CheckpointError, match=r"holds 24 elements of 'parameters/fc1\.bias'"):
        restore(path, alone, wanted={"parameters/fc1.bias": wanted})


def specs_of(lengths):
    return [
        ArraySpec(f"x{i}", "|u1", (n,), (SliceSpec("p", 0, 0, n, ""),))
        for i, n in enumerate(lengths)
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_every_slice_has_one_reader_and_they_read_alike(size):
    rng = np.random.default_rng(size)
    lengths = [int(n) for n in rng.integers(1, 1000, 40)]
    runs = assign(specs_of(lengths), size)
    assert sorted((run.array, run.begin, run.end) for run in runs) == sorted(
        (f"x{i}", 0, n) for i, n in enumerate(lengths)
    )
    loads = [sum(run.end for run in runs if run.reader == rank) for rank in range(size)]
    best = max(max(lengths), sum(lengths) / size)
    assert max(loads) <= 4 / 3 * best + 1


def test_a_manifest_of_many_slices_is_read_in_time(tmp_path):
    """Two hundred arrays of a hundred ranks: quadratic work would be noticed."""
    arrays = []
    for i in range(200):
        slices = tuple(
            SliceSpec(f"{'0' * 16}-{r:04d}.h5", 8 * i, 8 * r, 8, "0" * 32) for r in range(100)
        )
        arrays.append(ArraySpec(f"a/{i}", "|u1", (800,), slices))
    parts = tuple(PartSpec(f"{'0' * 16}-{r:04d}.h5", 8000) for r in range(100))
    manifest = Manifest(1, "0" * 16, 100, "", ("n",), "0", {}, tuple(arrays), parts)
    text = manifest.encode()
    begin = time.perf_counter()
    decoded = Manifest.decode(text)
    assigned = assign(decoded.arrays, 64)
    assert time.perf_counter() - begin < 2
    assert len(assigned) == 20_000
