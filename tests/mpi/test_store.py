"""A distributed store gives what the dataset gives, wherever the samples lie. On any ranks."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import ArrayDataset, FieldSpec, Loader, open_dataset, pack
from hpcad.data.manifest.contents import DTYPES
from hpcad.data.packing.writer import DatasetWriter
from hpcad.data.ragged import Ragged
from hpcad.data.sources import array_source, text_sources
from hpcad.data.store import distributed as store_module
from hpcad.data.store.distributed import DistributedStore
from hpcad.errors import DataError
from hpcad.parallel import init

from .groups import make_group

pytestmark = pytest.mark.mpi

N = 53  # no number of ranks divides it


@pytest.fixture(scope="module")
def group():
    return init().communicator


@pytest.fixture(scope="module", params=["world", "mpi", "naive"])
def any_group(request):
    return make_group(request.param)


@pytest.fixture(scope="module")
def folder():
    """A directory with datasets, which all ranks see."""
    world = init().communicator
    with tempfile.TemporaryDirectory() as own:
        place = Path(world.broadcast_json(own))
        if world.rank == 0:
            _write(place)
        world.barrier()
        yield place
        world.barrier()


def _write(place):
    rng = np.random.default_rng(0)
    fields = {"x": rng.standard_normal((N, 3, 2)).astype("f4"), "y": np.arange(N)}
    pack(array_source(fields), place / "plain", shard_samples=7)
    (place / "text.txt").write_text("".join(map(chr, rng.integers(97, 123, 400))))
    pack(text_sources(place / "text.txt")[0], place / "tokens", shard_samples=33)
    specs = {
        "cloud": FieldSpec((3,), DTYPES["float32"], ragged=True),
        "y": FieldSpec((), DTYPES["int64"]),
    }
    lengths = rng.integers(0, 9, N) * (np.arange(N) > 20)  # the first ranks may hold no rows
    clouds = [rng.random((n, 3), np.float32) for n in lengths]
    with DatasetWriter(place / "ragged", specs, shard_samples=7) as writer:
        samples = Ragged(np.concatenate(clouds), np.concatenate(([0], np.cumsum(lengths))))
        writer.append({"cloud": samples, "y": np.arange(N)})
        writer.finish()
        writer.commit()


def opened(folder, kind):
    if kind == "arrays":
        return ArrayDataset({"x": np.arange(2.0 * N).reshape(N, 2), "y": np.arange(N)})
    windows = {"windows": (9, 9), "overlapping windows": (10, 3)}
    if kind in windows:
        window, stride = windows[kind]
        return open_dataset(folder / "tokens", window=window, stride=stride)
    return open_dataset(folder / kind)


KINDS = ["plain", "ragged", "tokens", "windows", "overlapping windows", "arrays"]


def check_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        if isinstance(array, Ragged):
            np.testing.assert_array_equal(found[name].offsets, array.offsets)
            found[name], array = found[name].values, array.values
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("kind", KINDS)
def test_any_ids_of_any_rank_give_the_bits_of_the_dataset(any_group, folder, kind):
    group = any_group
    dataset = opened(folder, kind)
    store = DistributedStore(dataset, group, node=0)
    n, rng = len(dataset), np.random.default_rng(group.rank)
    assert (len(store), store.hash, store.fields) == (n, dataset.hash, dataset.fields)
    for ids in (
        rng.permutation(n),
        rng.integers(0, n, 5 * group.rank),  # rank 0 asks for nothing, the others for more and more
        np.arange(n) if group.rank == 0 else np.empty(0, np.int64),
        np.full(3, n - 1),  # all want the same
        np.empty(0, np.int64),
    ):
        check_same(store.read(ids), dataset.read(ids))


def test_each_sample_lies_on_one_rank_and_is_read_from_disk_once(group, folder, monkeypatch):
    dataset = opened(folder, "plain")
    asked = []
    monkeypatch.setattr(
        dataset, "read", lambda ids, out: asked.extend(ids) or type(dataset).read(dataset, ids, out)
    )
    store = DistributedStore(dataset, group, node=0)
    store.read(np.arange(N))
    everywhere = group.gather_json([int(i) for i in asked])
    assert sorted(i for part in everywhere for i in part) == list(range(N))
    assert store.nbytes == len(asked) * (3 * 2 * 4 + 8)
    assert max(map(len, everywhere)) - min(map(len, everywhere)) <= 1


def test_what_was_asked_goes_into_the_memory_that_was_given(group, folder):
    dataset = opened(folder, "plain")
    store = DistributedStore(dataset, group, node=0)
    ids = np.random.default_rng(group.rank).integers(0, N, 11)
    out = {"x": np.zeros((11, 3, 2), "f4"), "y": np.zeros(11, np.int64)}
    found = store.read(ids, out)
    assert all(found[name] is out[name] for name in out)
    check_same(found, dataset.read(ids))


@pytest.mark.parametrize("kind", ["plain", "windows"])
def test_a_loader_that_reads_when_asked_gives_the_same_batches(group, folder, kind):
    dataset = opened(folder, kind)
    store = DistributedStore(dataset, group, node=0)
    options = {"seed": 3, "rank": group.rank, "size": group.size, "epochs": 2, "prefetch": 0}
    pairs = zip(
        Loader(dataset, 9, **options), Loader(store, 9, **options), strict=True
    )  # the last batch of an epoch has fewer samples than there may be ranks
    for expected, batch in pairs:
        assert batch.ids.tolist() == expected.ids.tolist()
        check_same(batch.fields, expected.fields)


def test_a_wrong_id_on_one_rank_is_an_error_on_all(group, folder):
    store = DistributedStore(opened(folder, "plain"), group, node=0)
    last = group.size - 1
    with pytest.raises(DataError, match="samples 0 to 52" if group.rank == last else "rank"):
        store.read(np.array([N if group.rank == last else 0]))
    assert store.read(np.array([7]))["y"].tolist() == [7]  # and the ranks are in step


def test_a_rank_that_cannot_read_its_part_is_an_error_on_all(group, folder, monkeypatch):
    dataset = opened(folder, "plain")
    if group.rank == group.size - 1:

        def fail(*arguments):
            raise DataError("the shard is gone")

        monkeypatch.setattr(dataset, "read", fail)
    with pytest.raises(DataError, match="the shard is gone"):
        DistributedStore(dataset, group, node=0)


def test_a_node_with_too_little_memory_is_named_on_all_ranks(group, folder, monkeypatch):
    last = group.size - 1
    free = 1000 if group.rank == last else 1 << 40
    monkeypatch.setattr(store_module, "available_memory", lambda: free)
    with pytest.raises(DataError, match=f"memory: node {last} needs 0.27 GB and has 0.00 GB"):
        DistributedStore(opened(folder, "plain"), group, node=group.rank)


def test_a_thread_is_told_that_messages_come_from_the_main_thread(group, folder):
    store = DistributedStore(opened(folder, "plain"), group, node=0)
    problems = []

    def read():
        try:
            store.read(np.array([1]))
        except DataError as error:
            problems.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert len(problems) == (group.size > 1)
    assert all("prefetch=0" in problem for problem in problems)
    store.close()
    with pytest.raises(DataError, match="closed"):
        store.read(np.array([1]))
