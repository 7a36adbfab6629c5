from __future__ import annotations

import gc
import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcad.data import Dataset, Loader, open_dataset
from hpcad.data.loading import batch_reader
from hpcad.data.loading import loader as loader_module
from hpcad.data.loading.ring import Ring
from hpcad.errors import DataError


@pytest.fixture
def dataset(make: Callable[..., Path]) -> Dataset:
    return open_dataset(make(20, 6))


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "hpcad-loader"]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited 10 s in vain"
        time.sleep(0.005)


@pytest.mark.parametrize("prefetch", [0, 1, 2, 50])
def test_prefetching_changes_nothing(dataset: Dataset, prefetch: int) -> None:
    with Loader(dataset, 6, prefetch=prefetch, epochs=2) as loader:
        batches = [(batch.ids.tolist(), batch.cursor, batch["x"].sum()) for batch in loader]
    with Loader(dataset, 6, prefetch=0, epochs=2) as loader:
        assert batches == [(b.ids.tolist(), b.cursor, b["x"].sum()) for b in loader]
    assert not loader_threads()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_the_cursor_is_that_of_the_last_batch_handed_out(dataset: Dataset, prefetch: int) -> None:
    with Loader(dataset, 6, prefetch=prefetch, cursor=6, epochs=1) as loader:
        assert loader.cursor == 6
        next(loader)
        time.sleep(0.05)  # the thread reads on, the cursor does not
        assert loader.cursor == 12
        assert [batch.cursor for batch in loader] == [18, 20]
        assert loader.cursor == 20
        assert list(loader) == []


def test_epochs_count_from_the_very_start(dataset: Dataset) -> None:
    with Loader(dataset, 6, cursor=34, epochs=2) as loader:
        assert [(b.epoch, b.cursor) for b in loader] == [(1, 40)]
    with Loader(dataset, 6, cursor=40, epochs=2) as loader:
        assert list(loader) == []
    with Loader(dataset, 6) as loader:
        assert [next(loader).epoch for _ in range(9)] == [0] * 4 + [1] * 4 + [2]


def test_without_shuffling_samples_come_as_packed(dataset: Dataset) -> None:
    with Loader(dataset, 6, shuffle=False, epochs=1) as loader:
        assert np.concatenate([batch.ids for batch in loader]).tolist() == list(range(20))


def test_seeds_give_different_orders(dataset: Dataset) -> None:
    with Loader(dataset, 20, seed=1) as one, Loader(dataset, 20, seed=2) as two:
        assert next(one).ids.tolist() != next(two).ids.tolist()


def test_at_most_the_asked_number_of_batches_is_read_ahead(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = dataset.read
    reads = []
    monkeypatch.setattr(dataset, "read", lambda *given: reads.append(1) or read(*given))
    with Loader(dataset, 2, prefetch=3) as loader:
        next(loader)
        wait_until(lambda: len(reads) == 4)  # one handed out, three waiting
        time.sleep(0.25)
        assert len(reads) == 4


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_in_the_thread_comes_with_its_traceback(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, prefetch: int
) -> None:
    read = dataset.read
    calls = []

    def breaks_at_third(*given: Any) -> dict[str, np.ndarray]:
        calls.append(1)
        if len(calls) == 3:
            raise DataError("the disk went away")
        return read(*given)

    monkeypatch.setattr(dataset, "read", breaks_at_third)
    with Loader(dataset, 6, prefetch=prefetch) as loader:
        next(loader)
        next(loader)
        for _ in range(2):  # it stays broken, and does not look like the end of the data
            with pytest.raises(DataError, match="the disk went away") as caught:
                next(loader)
        frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert "breaks_at_third" in frames
        assert loader.cursor == 12
    assert not loader_threads()


def test_a_damaged_shard_stops_the_iteration(make: Callable[..., Path]) -> None:
    directory = make(20, 6)
    dataset = open_dataset(directory)
    os.truncate(directory / "shard-00002.h5", 100)
    with (
        Loader(dataset, 4) as loader,
        pytest.raises(DataError, match=r"shard-00002\.h5: this shard was cut short"),
    ):
        list(loader)


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_closing_ends_the_thread_at_once(dataset: Dataset, taken: int) -> None:
    loader = Loader(dataset, 2, prefetch=2)
    for _ in range(taken):
        next(loader)
    started = time.perf_counter()
    loader.close()
    loader.close()
    assert time.perf_counter() - started < 1
    assert not loader_threads()
    with pytest.raises(DataError, match="this loader is closed"):
        next(loader)


def test_a_forgotten_loader_ends_its_thread(dataset: Dataset) -> None:
    loader = Loader(dataset, 2)
    next(loader)
    assert len(loader_threads()) == 2
    del loader
    gc.collect()
    wait_until(lambda: not loader_threads())


def test_waiting_is_measured(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read = dataset.read

    def slow(*given: Any) -> dict[str, np.ndarray]:
        time.sleep(0.1)
        return read(*given)

    monkeypatch.setattr(dataset, "read", slow)
    with Loader(dataset, 10, prefetch=0, epochs=1) as loader:
        list(loader)
        assert loader.wait_seconds >= 2 * 0.1
    with Loader(dataset, 4, prefetch=2, epochs=1) as loader:
        next(loader)
        first = loader.wait_seconds
        assert first >= 0.09
        time.sleep(0.5)  # two batches are ready after 0.2 s
        next(loader)
        next(loader)
        assert loader.wait_seconds - first < 0.1


def test_a_loader_is_not_used_after_a_fork(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = Loader(dataset, 4)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(DataError, match="make the loader after the fork"):
            next(loader)
    loader.close()


def test_a_batch_smaller_than_the_world_says_what_to_do(dataset: Dataset) -> None:
    message = "global batch of 3 cannot be split over 4 ranks.*at least 4, or start fewer ranks"
    with pytest.raises(DataError, match=message):
        Loader(dataset, 3, rank=0, size=4)
    Loader(dataset, 4, rank=3, size=4).close()


@pytest.mark.parametrize(
    "options",
    [
        {"rank": 2, "size": 2},
        {"rank": -1},
        {"cursor": -1},
        {"prefetch": -1},
        {"prefetch_bytes": 0},
        {"readers": 0},
        {"epochs": -1},
    ],
)
def test_other_misuse(dataset: Dataset, options: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"does not exist among|must be at least [01], not"):
        Loader(dataset, 4, **options)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_batches_that_are_kept_are_not_overwritten(dataset: Dataset, prefetch: int) -> None:
    with Loader(dataset, 3, prefetch=prefetch, epochs=4) as loader:
        kept = list(loader)
    assert len(kept) == 4 * 7
    for batch in kept:
        np.testing.assert_array_equal(batch["y"], batch.ids)
        np.testing.assert_array_equal(batch["x"][:, 0, 0], batch.ids * 10)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_loop_that_keeps_one_batch_allocates_a_few_blocks(
    dataset: Dataset, prefetch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rings: list[Ring] = []
    monkeypatch.setattr(
        batch_reader, "Ring", lambda *given: rings.append(Ring(*given)) or rings[-1]
    )
    addresses = set()
    with Loader(dataset, 5, prefetch=prefetch, epochs=10) as loader:
        for batch in loader:
            addresses.add(batch["x"].ctypes.data)
    assert rings[0].made <= prefetch + 2
    assert len(addresses) <= prefetch + 2


def test_the_bytes_read_ahead_are_bounded(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reads = dataset.read, []
    monkeypatch.setattr(dataset, "read", lambda *given: reads.append(1) or read(*given))
    with Loader(dataset, 2, prefetch=50, prefetch_bytes=3 * 2 * 32 + 5, readers=4) as loader:
        next(loader)
        wait_until(lambda: len(reads) == 4)  # one handed out, three waiting
        time.sleep(0.1)
        assert len(reads) == 4


def test_many_readers_change_nothing(dataset: Dataset) -> None:
    with Loader(dataset, 3, prefetch=9, readers=8, epochs=5) as loader:
        found = np.concatenate([batch["y"] for batch in loader])
    with Loader(dataset, 3, prefetch=0, epochs=5) as loader:
        np.testing.assert_array_equal(found, np.concatenate([batch.ids for batch in loader]))


def test_for_a_device_batches_are_read_into_its_memory_and_copied(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Moving:
        def __init__(self) -> None:
            self.allocated, self.copied = 0, 0

        def allocate(self, nbytes: int) -> np.ndarray:
            self.allocated += 1
            return np.empty(nbytes, np.uint8)

        def copy(self, fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            self.copied += 1
            return {name: -array for name, array in fields.items()}

    moving = Moving()
    monkeypatch.setattr(loader_module, "transfer", lambda _backend: moving)
    with Loader(dataset, 5, prefetch=3, epochs=3) as loader:
        for batch in loader:
            np.testing.assert_array_equal(batch["y"], -batch.ids)
    assert moving.copied == 12
    assert moving.allocated <= 3 + 2


def test_small_batches_are_read_together(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read, reads = dataset.read, []
    monkeypatch.setattr(dataset, "read", lambda ids, out: reads.append(len(ids)) or read(ids, out))
    with Loader(dataset, 3, prefetch=12, readers=1, epochs=2) as loader:
        batches = list(loader)
    # Twelve are ahead at most, in parts of four; an epoch ends with a batch of two.
    assert sorted(reads) == sorted([12, 3 + 3 + 2 + 3, 12, 3 + 2])
    assert [len(batch) for batch in batches] == [3, 3, 3, 3, 3, 3, 2] * 2
    for batch in batches:
        np.testing.assert_array_equal(batch["y"], batch.ids)
        assert batch["x"].flags.c_contiguous


@pytest.mark.parametrize("broken", range(5))
def test_an_error_among_batches_read_together_comes_in_its_place(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    with Loader(dataset, 4, prefetch=0, epochs=1) as loader:
        bad = [batch.ids for batch in loader][broken][2]
    read = dataset.read

    def damaged(ids: np.ndarray, out: Any) -> dict[str, np.ndarray]:
        if bad in ids:
            raise DataError("the disk went away")
        return read(ids, out)

    monkeypatch.setattr(dataset, "read", damaged)
    with Loader(dataset, 4, prefetch=20) as loader:
        assert loader._reader.group == 5
        for i in range(broken):
            assert next(loader).cursor == 4 * (i + 1)
        for _ in range(2):
            with pytest.raises(DataError, match="the disk went away"):
                next(loader)
        assert loader.cursor == 4 * broken


def test_reading_together_stays_within_the_budget(dataset: Dataset) -> None:
    for prefetch in range(1, 40):
        for readers in (1, 2, 5):
            with Loader(dataset, 2, prefetch=prefetch, readers=readers) as loader:
                group, budget = loader._reader.group, loader._reader.budget
            assert group >= 1
            assert budget.jobs >= 1
            # A group that is being used up has given its place to another.
            assert group * budget.jobs + group - 1 <= prefetch
            assert budget.jobs >= min(readers, prefetch)
