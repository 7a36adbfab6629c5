from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcad.data import Loader, open_dataset
from hpcad.data.loading.stall import Stall, as_json, describe


def measured(wait: float, compute: float, steps: int = 11) -> Stall:
    stall = Stall(compute=compute, reading=2.0, reads=100, opens=3)
    stall.waited(5.0, 10**9)
    for _ in range(steps - 1):
        stall.waited(wait, 10**9)
    return stall


def test_utilisation_is_that_of_mlperf_storage_and_leaves_the_first_batch_out() -> None:
    stall = measured(wait=0.1, compute=9.0)
    assert stall.first_wait == 5.0
    assert stall.wait == pytest.approx(1.0)
    assert stall.wait_per_step == pytest.approx(0.1)
    assert stall.utilisation == pytest.approx(0.9)
    assert stall.delivered == pytest.approx(11e9 / 15)
    assert stall.read_rate == pytest.approx(5.5e9)


def test_nothing_measured_is_no_stall() -> None:
    assert Stall().utilisation == 1.0
    assert Stall().delivered == Stall().read_rate == Stall().wait_per_step == 0.0
    assert "utilisation 100.0 %" in Stall().summary()


def test_the_summary_of_one_rank() -> None:
    first, second = measured(wait=0.1, compute=9.0).summary().splitlines()
    assert first == (
        "data: waited 100 ms a step (at most 100, first batch 5e+03), "
        "accelerator utilisation 90.0 %"
    )
    assert second == ("data: 0.733 GB/s per rank, read at 5.5 GB/s per thread; 100 reads, 3 opens")


def test_ranks_are_told_by_least_median_and_most() -> None:
    first, second = describe(
        [measured(0.1, 9.0), measured(0.2, 8.0), measured(0.5, 5.0)]
    ).splitlines()
    assert "waited 100/200/500 ms a step (at most 500" in first
    assert "utilisation 73.3 %" in first  # (9 + 8 + 5) / 30
    assert second.endswith("300 reads, 9 opens")


def test_small_rates_are_told_in_megabytes() -> None:
    stall = Stall(compute=10.0, reading=1.0)
    stall.waited(0.0, 5_000_000)
    assert "data: 0.5 MB/s per rank, read at 5 MB/s per thread" in stall.summary()


def test_the_summary_is_gathered_from_all_ranks() -> None:
    class Three:
        def gather_json(self, value: Any) -> list[Any]:
            return [value, {**value, "wait": 3.0}, {**value, "wait": 2.0}]

    text = measured(0.1, 9.0).summary(Three(), compute=4.0)
    assert "waited 100/200/300 ms" in text
    assert "utilisation 66.7 %" in text  # 12 / (12 + 6)


def test_the_json_has_the_derived_numbers() -> None:
    found = as_json(measured(0.1, 9.0))
    assert found["utilisation"] == pytest.approx(0.9)
    assert found["steps"] == 11


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_loader_counts_what_it_reads(make: Callable[..., Path], prefetch: int) -> None:
    with Loader(open_dataset(make(20, 5)), 4, prefetch=prefetch, epochs=1) as loader:
        for _ in loader:
            time.sleep(0.002)
    stall = loader.stall
    assert stall.steps == 5
    assert stall.nbytes == 20 * (24 + 8)
    assert 10 <= stall.reads <= 40  # fewer than two per sample: neighbours are read together
    assert stall.reading > 0
    assert stall.compute >= 4 * 0.002


def test_waiting_and_computing_are_told_apart(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(make(20, 5))
    read = dataset.read

    def slow(*given: Any) -> dict[str, np.ndarray]:
        time.sleep(0.03)
        return read(*given)

    monkeypatch.setattr(dataset, "read", slow)
    with Loader(dataset, 4, prefetch=0, epochs=1) as loader:
        for _ in loader:
            time.sleep(0.01)
    assert loader.stall.wait >= 4 * 0.03
    assert loader.stall.longest_wait >= 0.03
    assert loader.stall.reading >= 5 * 0.03
    assert loader.stall.compute >= 0.04
    assert loader.stall.utilisation < 0.5
    assert loader.wait_seconds == loader.stall.first_wait + loader.stall.wait


def test_the_numbers_can_be_read_while_threads_read(make: Callable[..., Path]) -> None:
    with Loader(open_dataset(make(40, 5)), 4, prefetch=4) as loader:
        next(loader)
        assert threading.active_count() > 1
        assert loader.stall.steps == 1
        assert loader.stall.nbytes == 4 * 32
