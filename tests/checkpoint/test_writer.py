"""Writing: what is stored, and what a failure leaves behind at every point of the protocol."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from hpcad.checkpoint import CheckpointStore, read_checkpoint, writer
from hpcad.errors import CheckpointError


class FailingOs:
    """The module `os`, whose n-th call that changes the disk fails."""

    CHANGES = ("open", "ftruncate", "pwrite", "fsync", "replace", "close")

    def __init__(self, failing: int, code: int) -> None:
        self.calls: list[str] = []
        self._failing = failing
        self._code = code

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in self.CHANGES:
            return real

        def call(*args, **kwargs):
            self.calls.append(name)
            if len(self.calls) == self._failing:
                if name == "close":
                    real(*args)  # Linux has released it, whatever it reports
                raise OSError(self._code, os.strerror(self._code))
            return real(*args, **kwargs)

        return call


def test_every_supported_dtype_and_shape(tmp_path, same):
    dtypes = ["?", "b", "h", "i", "q", "B", "H", "I", "Q", "e", "f", "d"]
    arrays = {f"a/{d}{n}": np.ones((n, 3), d) for d in dtypes for n in (0, 1, 4)}
    arrays["scalar"] = np.array(1.5)
    path = writer.write_checkpoint(tmp_path, 1, arrays, {})
    same(read_checkpoint(path).arrays, arrays)


def test_layout_and_byte_order_are_made_plain(tmp_path):
    arrays = {
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "strided": np.arange(10)[::3],
        "big_endian": np.arange(3, dtype=">f4"),
    }
    read = read_checkpoint(writer.write_checkpoint(tmp_path, 1, arrays, {})).arrays
    for name, array in arrays.items():
        assert np.array_equal(read[name], array)
    assert read["big_endian"].dtype == np.dtype("<f4")


def test_h5py_reads_it_without_hpcad(saved, arrays):
    with h5py.File(saved) as file:
        assert file.attrs["format"] == b"hpcad-checkpoint"
        for name, array in arrays.items():
            dataset = file["arrays"][name]
            assert np.array_equal(dataset[()], array)
            assert dataset.chunks is None


@pytest.mark.parametrize("dtype", [np.complex128, object, "U3", "M8[s]", [("a", "f4")]])
def test_other_dtypes_are_refused(tmp_path, dtype):
    with pytest.raises(CheckpointError, match=r"'w' has dtype .* cannot store"):
        writer.write_checkpoint(tmp_path, 1, {"w": np.zeros(2, dtype)}, {})
    assert list(tmp_path.iterdir()) == []


def message_of_failure(store, arrays) -> str | None:
    try:
        store.save(2, arrays, {"step": 2})
    except CheckpointError as error:
        return str(error)
    return None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_failure_of_each_system_call(tmp_path, monkeypatch, arrays, same, code):
    """Whatever call fails: one CheckpointError, no temporary file, old or new checkpoint whole."""
    store = CheckpointStore(tmp_path)
    store.save(1, arrays, {"step": 1})
    changed = {name: array + 1 for name, array in arrays.items()}
    failing = 0
    while True:
        failing += 1
        fake = FailingOs(failing, code)
        with monkeypatch.context() as patch:
            patch.setattr(writer, "os", fake)
            message = message_of_failure(store, changed)
        if message is None:
            break
        assert "step 2" in message
        assert os.strerror(code) in message
        assert list(tmp_path.glob(".*")) == []
        newest = store.latest()
        same(newest.arrays, changed if newest.step == 2 else arrays)
        assert (tmp_path / "step-00000001.h5").exists()
    assert {"open", "ftruncate", "pwrite", "fsync", "replace"} <= set(fake.calls)
    assert failing == len(fake.calls) + 1
    assert store.latest().step == 2


def test_order_of_the_protocol(tmp_path, monkeypatch, arrays):
    """All bytes, then fsync, then rename, then fsync of the directory."""
    fake = FailingOs(0, 0)
    monkeypatch.setattr(writer, "os", fake)
    writer.write_checkpoint(tmp_path, 1, arrays, {})
    names = [name for name in fake.calls if name != "open"]
    assert names[0] == "ftruncate"
    assert set(names[1:-5]) == {"pwrite"}
    assert names[-5:] == ["fsync", "close", "replace", "fsync", "close"]


def test_short_writes_are_continued(tmp_path, monkeypatch, arrays, same):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:100], offset))
    path = writer.write_checkpoint(tmp_path, 1, arrays, {})
    monkeypatch.undo()
    same(read_checkpoint(path).arrays, arrays)


def _dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_leftovers_of_dead_runs_are_found(tmp_path):
    host = socket.gethostname().split(".")[0]
    names = {
        "dead": f".step-00000001.h5.tmp-{host}-{_dead_pid()}-aa",
        "mine": f".step-00000001.h5.tmp-{host}-{os.getpid()}-bb",
        "live": f".step-00000001.h5.tmp-{host}-1-cc",
        "elsewhere": ".step-00000001.h5.tmp-other-node-7-99999-dd",
        "stale": ".step-00000001.h5.tmp-other-node-7-99999-ee",
    }
    for name in names.values():
        (tmp_path / name).write_bytes(b"x")
    os.utime(tmp_path / names["stale"], (time.time() - 7200,) * 2)
    (tmp_path / "notes.txt").write_text("the user's own")
    found = {path.name for path in writer.leftovers(tmp_path)}
    assert found == {names["dead"], names["mine"], names["stale"]}


_SAVE_FOR_EVER = """
import sys
import numpy as np
from hpcad.checkpoint import CheckpointStore
store = CheckpointStore(sys.argv[1])
step = int(sys.argv[2])
while True:
    step += 1
    arrays = {f"parameters/w{i}": np.full((250, 100), step + i / 10) for i in range(10)}
    store.save(step, arrays, {"step": step})
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
    """Ten kills at random moments: the newest file is whole, of one step, and none was lost."""
    choose = random.Random(20)
    store = CheckpointStore(tmp_path)
    step, torn = 0, 0
    for _ in range(10):
        done = _kill_while_saving(tmp_path, step, choose.uniform(0, 0.04))
        torn += len(list(tmp_path.glob(".step-*")))
        newest = store.latest()
        assert newest.step in (done, done + 1)
        assert newest.state == {"step": newest.step}
        for i in range(10):
            assert np.all(newest.arrays[f"parameters/w{i}"] == newest.step + i / 10)
        step = newest.step
    store.save(step + 1, {"parameters/w": np.zeros(3)}, {})
    assert list(tmp_path.glob(".step-*")) == []
    assert torn > 0, "no kill hit a save: the delays have to change"
