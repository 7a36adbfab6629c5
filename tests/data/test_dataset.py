from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcad.data import dataset as dataset_module
from hpcad.data import open_dataset
from hpcad.data.manifest.reader import read_manifest
from hpcad.errors import DataError
from hpcad.parallel.serial import SerialCommunicator

from .conftest import numbered


def test_samples_come_in_the_order_asked(make: Callable[..., Path]) -> None:
    dataset = open_dataset(make(23, 5))
    expected = numbered(23)
    assert len(dataset) == 23
    assert {name: spec.shape for name, spec in dataset.fields.items()} == {"x": (3, 2), "y": ()}
    rng = np.random.default_rng(0)
    for ids in (np.arange(23), rng.permutation(23), rng.integers(0, 23, 100), [22, 0, 22], [7]):
        batch = dataset.read(np.asarray(ids))
        for name, array in expected.items():
            np.testing.assert_array_equal(batch[name], array[ids])
            assert batch[name].dtype == array.dtype


@pytest.mark.parametrize("shard_samples", [3, 100])
def test_no_ids_give_empty_arrays(make: Callable[..., Path], shard_samples: int) -> None:
    batch = open_dataset(make(10, shard_samples)).read(np.empty(0, np.int64))
    assert batch["x"].shape == (0, 3, 2)
    assert batch["x"].dtype == np.float32
    assert batch["y"].shape == (0,)


def test_what_is_read_may_be_changed(make: Callable[..., Path]) -> None:
    dataset = open_dataset(make(10, 100))
    dataset.read(np.arange(3))["x"][...] = -1
    np.testing.assert_array_equal(dataset.read(np.arange(3))["x"], numbered(3)["x"])


@pytest.mark.parametrize("shard_samples", [3, 100])
def test_samples_go_into_memory_that_is_given(
    make: Callable[..., Path], shard_samples: int
) -> None:
    dataset = open_dataset(make(10, shard_samples))
    out = {"x": np.zeros((4, 3, 2), np.float32), "y": np.zeros(4, np.int64)}
    ids = np.array([9, 0, 4, 3])
    found = dataset.read(ids, out)
    for name, array in numbered(10).items():
        assert found[name] is out[name]
        np.testing.assert_array_equal(out[name], array[ids])
    for wrong in ({"x": out["x"]}, {**out, "y": out["y"].astype(np.int32)}, {**out, "z": out["y"]}):
        with pytest.raises(DataError, match="out="):
            dataset.read(ids, wrong)


def test_more_shards_than_are_read_from_at_once(make: Callable[..., Path]) -> None:
    dataset, ids = open_dataset(make(200, 1)), np.random.default_rng(0).permutation(200)
    np.testing.assert_array_equal(dataset.read(ids)["x"], numbered(200)["x"][ids])
    assert dataset.requests == 2 * 200


def test_arrays_of_another_kind_are_read_shard_by_shard(make: Callable[..., Path]) -> None:
    """Chunked ones, for example: whatever has `read`."""

    class Other:
        def __init__(self, array: Any) -> None:
            self.array, self.calls = array, 0

        def read(self, rows: np.ndarray, out: np.ndarray) -> None:
            self.calls += 1
            self.array.read(rows, out)

    dataset = open_dataset(make(23, 5))
    rows = dataset._rows
    for index in range(5):
        rows._opened[index] = {name: Other(array) for name, array in rows.shard(index).items()}
    for ids in (np.arange(23), np.random.default_rng(1).permutation(23), np.array([22, 0, 22])):
        for name, array in dataset.read(ids).items():
            np.testing.assert_array_equal(array, numbered(23)[name][ids])
    assert rows.shard(0)["x"].calls == 3
    runs = np.empty((3, 7), np.int64)
    rows.read_runs("y", np.array([16, 0, 3]), 7, runs)
    np.testing.assert_array_equal(runs, [np.arange(s, s + 7) for s in (16, 0, 3)])


@pytest.mark.parametrize("ids", [[-1], [10], [0, 2**40]])
def test_ids_that_do_not_exist(make: Callable[..., Path], ids: list[int]) -> None:
    with pytest.raises(DataError, match="has the samples 0 to 9"):
        open_dataset(make(10)).read(np.array(ids))


@pytest.mark.parametrize("ids", [np.array([0.5]), np.array([[1]]), np.array([True])])
def test_ids_that_are_no_ids(make: Callable[..., Path], ids: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"integers of shape \(n,\)"):
        open_dataset(make(10)).read(ids)


def test_shards_are_opened_when_first_needed(make: Callable[..., Path]) -> None:
    directory = make(12, 4)
    dataset = open_dataset(directory)
    os.unlink(directory / "shard-00001.h5")
    dataset.read(np.array([0, 11]))
    with pytest.raises(DataError, match=r"shard-00001\.h5: this shard is missing"):
        dataset.read(np.array([5]))


@pytest.mark.parametrize("shard", ["shard-00000.h5", "shard-00002.h5"])
def test_opening_looks_for_every_shard(make: Callable[..., Path], shard: str) -> None:
    directory = make(12, 4)
    os.truncate(directory / shard, 5000)
    with pytest.raises(DataError, match=f"{shard}: this shard was cut short"):
        open_dataset(directory)
    os.unlink(directory / shard)
    with pytest.raises(DataError, match=f"{shard}: this shard is missing"):
        open_dataset(directory)


def damage(directory: Path) -> None:
    manifest = read_manifest(directory)
    shard = manifest.shards[1]
    with open(directory / shard.file, "r+b") as file:
        file.seek(shard.arrays["x"].offset)
        file.write(b"\xff")


def test_small_datasets_are_verified_at_first_touch(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make(12, 4)
    damage(directory)
    dataset = open_dataset(directory)
    dataset.read(np.array([0]))
    with pytest.raises(DataError, match="checksum of field 'x' does not match"):
        dataset.read(np.array([7]))
    open_dataset(directory, verify=False).read(np.array([7]))
    monkeypatch.setattr(dataset_module, "VERIFY_BYTES", 100)
    open_dataset(directory).read(np.array([7]))
    with pytest.raises(DataError, match="checksum"):
        open_dataset(directory, verify=True).read(np.array([7]))


def test_a_shard_of_another_shape_than_its_manifest(
    make: Callable[..., Path], edit: Callable[..., None]
) -> None:
    directory = make(12, 4)

    def reshape(manifest: Any) -> None:
        manifest["statistics"] = {}
        manifest["fields"]["x"]["shape"] = [2, 3]
        for shard in manifest["shards"]:
            shard["arrays"]["x"]["shape"] = [4, 2, 3]

    edit(directory, reshape)
    message = r"field 'x' is float32 \(4, 3, 2\), the manifest says float32 \(4, 2, 3\)"
    with pytest.raises(DataError, match=message):
        open_dataset(directory).read(np.array([0]))


def test_a_child_process_reads_what_its_parent_opened(make: Callable[..., Path]) -> None:
    program = """
import os, sys
import numpy as np
from hpcad.data import open_dataset
dataset = open_dataset(sys.argv[1])
dataset.read(np.array([0]))  # one shard open, the others not
child = os.fork()
if child == 0:
    good = dataset.read(np.arange(12))["y"].tolist() == list(range(12))
    os._exit(0 if good else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert dataset.read(np.arange(12))["y"].tolist() == list(range(12))
"""
    command = [sys.executable, "-c", program, str(make(12, 4))]
    subprocess.run(command, check=True, timeout=60)


def test_threads_may_read_together(make: Callable[..., Path]) -> None:
    dataset = open_dataset(make(40, 1))
    wrong = []

    def read() -> None:
        if dataset.read(np.arange(40))["y"].tolist() != list(range(40)):
            wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_unknown_way_to_verify_is_refused_at_once(make: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="verify='maybe' is unknown"):
        open_dataset(make(10), verify="maybe")


def test_stride_without_window(make: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="give window= too"):
        open_dataset(make(10), stride=2)


def test_a_world_of_one(make: Callable[..., Path]) -> None:
    directory = make(10)
    dataset = open_dataset(directory, SerialCommunicator())
    assert dataset.hash == open_dataset(directory).hash
    with pytest.raises(DataError, match="there is no such dataset"):
        open_dataset(directory / "no", SerialCommunicator())


WORLD = """
import sys
from pathlib import Path
import numpy as np
from hpcad.data import dataset as module, open_dataset
from hpcad.data.manifest import reader as manifest_reader
from hpcad.errors import DataError
from hpcad.parallel import init
world = init()
reads = []
real = module.read_manifest_json
module.read_manifest_json = lambda directory: reads.append(1) or real(directory)
dataset = open_dataset(sys.argv[1], world.communicator)
assert len(reads) == (1 if world.rank == 0 else 0), (world.rank, reads)
assert dataset.read(np.arange(12))["y"].tolist() == list(range(12))
try:
    open_dataset(sys.argv[2], world.communicator)
except DataError as error:
    message = str(error)
messages = world.communicator.gather_json(message)
if world.rank == 0:
    Path(sys.argv[3]).write_text("\\n".join(messages))
"""


def test_rank_0_reads_the_manifest_and_its_error_reaches_all(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    mpirun = Path(sys.executable).parent / "mpirun"
    if not mpirun.exists():
        pytest.skip("no mpirun beside this Python")
    good, bad, out = make(12, 4, "good"), make(12, 4, "bad"), tmp_path / "messages"
    (bad / "shard-00002.h5").unlink()
    arguments = [sys.executable, "-c", WORLD, str(good), str(bad), str(out)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(mpirun), "-n", "2", *arguments],
        timeout=60,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = out.read_text().splitlines()
    assert first.startswith(f"{bad}/shard-00002.h5: this shard is missing")
    assert second.startswith("rank 0 on ")
    assert second.endswith(first)
