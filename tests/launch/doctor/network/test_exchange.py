"""A link is measured in both directions, and waits for a core are not held against it."""

from __future__ import annotations

import os
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from hpcad.launch.doctor.facts import Link, Sum
from hpcad.launch.doctor.network import sums
from hpcad.launch.doctor.network.exchange import CoreWait, Exchange, without_waits
from hpcad.launch.doctor.network.links import _Tour
from hpcad.launch.doctor.network.told import bus_bandwidth


class Cable:
    """A communicator of ranks that are threads; what rank 0 sends takes its time."""

    rate = 5e6  # bytes per second

    def __init__(self, rank: int, boxes: dict[tuple[int, int], queue.SimpleQueue]) -> None:
        self.rank, self.size, self._boxes = rank, 2, boxes

    def send(self, array, dest, tag=0, name=""):
        if self.rank == 0:
            time.sleep(array.nbytes / self.rate)
        self._boxes[self.rank, dest].put(array.copy())

    def receive(self, array, source, tag=0, name=""):
        array[...] = self._boxes[source, self.rank].get(timeout=10)


def test_both_directions_of_a_link():
    boxes = {(a, b): queue.SimpleQueue() for a in range(2) for b in range(2)}
    with ThreadPoolExecutor(2) as pool:
        slow, fast = pool.map(
            lambda rank: Exchange(Cable(rank, boxes)).with_peer(1 - rank, repeats=3), range(2)
        )
    assert (slow.peer, fast.peer) == (1, 0)
    assert slow.bandwidth < Cable.rate
    assert fast.bandwidth > 2 * slow.bandwidth
    assert slow.latency == fast.latency > 0
    assert slow.undisturbed >= slow.bandwidth


def test_waits_of_both_ranks_are_taken_off_but_never_all():
    assert without_waits(1.0, 200_000_000, 300_000_000) == pytest.approx(0.5)
    assert without_waits(1.0, 900_000_000, 900_000_000) == pytest.approx(0.1)


def test_the_wait_for_a_core_is_read_where_linux_tells_it(tmp_path):
    (tmp_path / "schedstat").write_text("5 1234 7\n")
    assert CoreWait(str(tmp_path / "schedstat"))() == 1234
    assert CoreWait(str(tmp_path / "none"))() == 0


@pytest.mark.skipif(not os.path.exists("/proc/thread-self/schedstat"), reason="not told here")
def test_two_threads_on_one_core_wait_for_it():
    before = os.sched_getaffinity(0)
    core_wait = CoreWait()
    child = os.posix_spawn("/bin/sh", ["sh", "-c", "while :; do :; done"], os.environ)
    try:
        os.sched_setaffinity(child, {min(before)})
        os.sched_setaffinity(0, {min(before)})
        start, end = core_wait(), time.monotonic() + 0.2
        while time.monotonic() < end:
            pass
        assert core_wait() - start > 20e6
    finally:
        os.sched_setaffinity(0, before)
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_the_best_of_all_measurements_counts(monkeypatch):
    found = iter([Link(1, 2e-6, 5.0, 6.0), Link(1, 1e-6, 4.0, 9.0)])
    monkeypatch.setattr(Exchange, "with_peer", lambda self, peer: next(found))
    tour = _Tour(SimpleNamespace(rank=0, size=2), thorough=False)
    tour._measure(1)
    tour._measure(1)
    assert tour.links == [Link(1, 1e-6, 5.0, 9.0)]


def test_bus_bandwidth_is_that_of_nccl_tests():
    assert bus_bandwidth(Sum("", 4_000_000, 1e-3), 4) == pytest.approx(6e9)
    assert bus_bandwidth(Sum("", 4_000_000, 1e-3), 2) == pytest.approx(4e9)


class Reducer:
    """Counts sums; each takes two milliseconds, the first of a size longer."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def allocate(self, nbytes):
        return np.zeros(nbytes, np.uint8)

    def allreduce(self, array, op="sum", name=""):
        time.sleep(0.002 if array.nbytes in self.calls else 0.05)
        self.calls.append(array.nbytes)


def test_sums_on_devices_take_the_way_of_training(monkeypatch):
    reducer = Reducer()
    host = SimpleNamespace(barrier=lambda name: None, allreduce=lambda array, op, name: None)
    world = SimpleNamespace(size=4, local_rank=1, communicator=host)
    monkeypatch.setattr(sums.device, "choose", lambda wish, local, group: "gpu:1")
    monkeypatch.setattr(sums, "get_backend", lambda name: SimpleNamespace(xp="cupy"))
    choice = SimpleNamespace(timed=reducer, reason="by nccl, 1 ms")
    monkeypatch.setattr(sums, "device_choice", lambda group, cupy: choice)
    found, problem = sums.on_devices(world)
    assert problem == ""
    assert [each.nbytes for each in found] == list(sums.SIZES)
    assert {each.where for each in found} == {"devices, by nccl, 1 ms"}
    assert all(0.002 <= each.seconds < 0.05 for each in found)
    assert sorted(set(reducer.calls)) == list(sums.SIZES)


def test_no_devices_no_sums(monkeypatch):
    world = SimpleNamespace(size=4, local_rank=1, communicator=None)
    monkeypatch.setattr(sums.device, "choose", lambda wish, local, group: "cpu")
    assert sums.on_devices(world) == ([], "")
