"""Packing that goes on after it was broken off: the same dataset, or a clear error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcad.data import open_dataset, pack, pack_all
from hpcad.data.packing import parallel as packing_parallel
from hpcad.data.packing import place as packing_place
from hpcad.data.packing import shard as packing_shard
from hpcad.data.packing.place import PackingPlace
from hpcad.data.shards.writer import Layout
from hpcad.data.sources import Source, array_source, npy_source
from hpcad.errors import DataError

N, PER_SHARD = 40, 6
SHARDS = 7


class KilledError(BaseException):
    """Stands for SIGKILL: whatever would tidy up is switched off before it is raised."""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((N, 3)))
    return npy_source(tmp_path / "x.npy")


@pytest.fixture
def whole(tmp_path: Path, source: Source) -> str:
    """The hash of the dataset that was packed in one go."""
    return pack(source, tmp_path / "whole", shard_samples=PER_SHARD).hash


def killed(monkeypatch: pytest.MonkeyPatch, room: Any, name: str, at: int, after: bool) -> None:
    """Let the `at`-th call of a function be the last thing that happens."""
    real, calls = getattr(room, name), iter(range(1000))

    def die() -> None:
        monkeypatch.setattr(PackingPlace, "discard", lambda self: None)
        monkeypatch.setattr(PackingPlace, "release", lambda self: None)
        raise KilledError

    def counted(*given: Any, **named: Any) -> Any:
        last = next(calls) == at
        if last and not after:
            die()
        result = real(*given, **named)
        if last:
            die()
        return result

    monkeypatch.setattr(room, name, counted)


POINTS = [
    *((packing_shard, "write_shard", at, after) for at in range(SHARDS) for after in (0, 1)),
    *((packing_place, "write_json", at, after) for at in (2, 5, 8) for after in (0, 1)),
    *((packing_parallel, "write_manifest", 0, after) for after in (0, 1)),
    *((packing_place, "replace_directory", 0, after) for after in (0, 1)),
]


@pytest.mark.parametrize(("room", "name", "at", "after"), POINTS)
def test_killed_at_any_point_it_goes_on_to_the_same_dataset(
    tmp_path: Path, source: Source, whole: str, room: Any, name: str, at: int, after: int
) -> None:
    place = tmp_path / "d"
    with pytest.MonkeyPatch.context() as patch:
        killed(patch, room, name, at, bool(after))
        with pytest.raises(KilledError):
            pack(source, place, shard_samples=PER_SHARD)
    renamed = name == "replace_directory" and after
    assert place.exists() == bool(renamed)
    written = []
    with pytest.MonkeyPatch.context() as patch:
        real = packing_shard.write_shard
        patch.setattr(
            packing_shard, "write_shard", lambda *a, **b: written.append(a[0]) or real(*a, **b)
        )
        assert pack(source, place, shard_samples=PER_SHARD, resume=True).hash == whole
    if name == "write_shard":
        assert len(written) == SHARDS - at
    np.testing.assert_array_equal(
        open_dataset(place).read(np.arange(N))["x"], np.load(tmp_path / "x.npy")
    )
    assert sorted(os.listdir(tmp_path)) == ["d", "whole", "x.npy"]


PROGRAM = """
import sys, time, numpy as np
from hpcad.data import pack
from hpcad.data.sources import npy_source
def slow(line):
    print(line, flush=True)
    time.sleep(0.05)
pack(npy_source(sys.argv[1]), sys.argv[2], shard_samples=1, progress=slow)
"""


def test_a_killed_process(tmp_path: Path, source: Source) -> None:
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "x.npy"), str(tmp_path / "d")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        with pytest.raises(DataError, match=f"is being packed by process {process.pid}"):
            pack(source, tmp_path / "d", shard_samples=1, resume=True)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "d").exists()
    with pytest.raises(DataError, match="was broken off there; go on with --resume"):
        pack(source, tmp_path / "d", shard_samples=1)
    lines: list[str] = []
    pack(source, tmp_path / "d", shard_samples=1, resume=True, progress=lines.append)
    assert 0 < len(lines) - 1 <= N - 2
    assert sorted(os.listdir(tmp_path)) == ["d", "x.npy"]


def broken_off(source: Source, place: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        killed(patch, packing_shard, "write_shard", 3, False)
        with pytest.raises(KilledError):
            pack(source, place, shard_samples=PER_SHARD)


def test_a_changed_source_is_not_continued(tmp_path: Path, source: Source) -> None:
    broken_off(source, tmp_path / "d")
    os.utime(tmp_path / "x.npy", ns=(1, 1))
    with pytest.raises(DataError, match="the source's files have changed since"):
        pack(source, tmp_path / "d", shard_samples=PER_SHARD, resume=True)
    assert (tmp_path / ".d.packing").exists()
    pack(source, tmp_path / "d", shard_samples=PER_SHARD, force=True)
    assert sorted(os.listdir(tmp_path)) == ["d", "x.npy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_samples": 5}, "shard_samples was 6, and now is 5"),
        ({"layout": Layout(chunked=True)}, "layout was"),
    ],
)
def test_other_options_are_not_continued(
    tmp_path: Path, source: Source, options: dict[str, Any], message: str
) -> None:
    broken_off(source, tmp_path / "d")
    with pytest.raises(DataError, match=message):
        pack(source, tmp_path / "d", resume=True, **{"shard_samples": PER_SHARD, **options})
    other = replace(source, options={"label": "b"})
    with pytest.raises(DataError, match="options was"):
        pack(other, tmp_path / "d", resume=True, shard_samples=PER_SHARD)


def test_what_a_crash_has_torn_is_made_again(tmp_path: Path, source: Source, whole: str) -> None:
    broken_off(source, tmp_path / "d")
    hidden = tmp_path / ".d.packing"
    (hidden / "records" / "00000.json").write_text("{")
    os.truncate(hidden / "dataset" / "shard-00001.h5", 10)
    record = json.loads((hidden / "records" / "00002.json").read_text())
    record["statistics"]["x"]["mean"] = ["0x1p0"]
    (hidden / "records" / "00002.json").write_text(json.dumps(record))
    assert pack(source, tmp_path / "d", shard_samples=PER_SHARD, resume=True).hash == whole


def test_of_two_that_begin_at_once_one_fails(tmp_path: Path, source: Source) -> None:
    real = Path.mkdir

    def late(path: Path, *given: Any, **named: Any) -> None:
        if path.name == ".d.packing":  # the other was quicker
            real(path)
        real(path, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", late)
        with pytest.raises(DataError, match="cannot be written"):
            pack(source, tmp_path / "d")
    assert (tmp_path / ".d.packing").exists()  # it is not this one's


def test_arrays_in_memory_cannot_be_continued(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only a source that consists of files"):
        pack(array_source({"x": np.zeros(3)}), tmp_path / "d", resume=True)


def failing(source: Source, at: int) -> Source:
    def chunks(start: int, stop: int) -> Iterator[dict[str, Any]]:
        if start >= at:
            raise DataError("the source is damaged")
        yield from source.chunks(start, stop)

    return replace(source, chunks=chunks)


def test_an_error_leaves_nothing_unless_it_is_to_be_continued(
    tmp_path: Path, source: Source, whole: str
) -> None:
    with pytest.raises(DataError, match="the source is damaged"):
        pack(failing(source, 20), tmp_path / "d", shard_samples=PER_SHARD)
    assert sorted(os.listdir(tmp_path)) == ["whole", "x.npy"]
    with pytest.raises(DataError, match="the source is damaged"):
        pack(failing(source, 20), tmp_path / "d", shard_samples=PER_SHARD, resume=True)
    assert len(os.listdir(tmp_path / ".d.packing" / "records")) == 4
    assert pack(source, tmp_path / "d", shard_samples=PER_SHARD, resume=True).hash == whole


def test_two_parts_killed_between_their_renames(tmp_path: Path, source: Source) -> None:
    jobs = [(source, tmp_path / "o" / "a"), (source, tmp_path / "o" / "b")]
    with pytest.MonkeyPatch.context() as patch:
        killed(patch, packing_place, "replace_directory", 0, True)
        with pytest.raises(KilledError):
            pack_all(jobs, shard_samples=PER_SHARD)
    assert sorted(os.listdir(tmp_path / "o")) == [".a.packing", ".b.packing", "a"]
    first, second = pack_all(jobs, shard_samples=PER_SHARD, resume=True)
    assert first.hash == second.hash
    assert sorted(os.listdir(tmp_path / "o")) == ["a", "b"]


def test_what_is_not_this_packing_s_own_is_left_alone(tmp_path: Path, source: Source) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine").touch()
    with pytest.raises(DataError, match="files that are no dataset"):
        pack(source, tmp_path / "d", force=True)
    broken_off(source, tmp_path / "e")
    with pytest.raises(DataError, match="broken off"):
        pack(source, tmp_path / "e")
    assert len(os.listdir(tmp_path / ".e.packing" / "records")) == 3
