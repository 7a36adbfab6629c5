from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from hpcad.data.loading.prefetch import Budget, ReadAhead
from hpcad.data.loading.ring import Ring
from hpcad.data.manifest.contents import FieldSpec

NAME = "test-prefetch"


def ahead(
    jobs: Iterator[int],
    work: Callable[[int], int] = lambda job: job,
    *,
    size: int = 1,
    most: int = 4,
    nbytes: int = 1 << 20,
    threads: int = 2,
) -> ReadAhead[int, int]:
    return ReadAhead(jobs, work, lambda _job: size, Budget(most, nbytes, threads), NAME)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited 10 s in vain"
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def no_threads_stay() -> Iterator[None]:
    yield
    wait_until(lambda: not threads())


@pytest.mark.parametrize(("count", "most"), [(1, 1), (2, 2), (4, 4), (4, 16)])
def test_results_come_in_order_whatever_thread_is_first(count: int, most: int) -> None:
    rng = np.random.default_rng(0)
    delays = rng.uniform(0, 0.003, 100).tolist()

    def work(job: int) -> int:
        time.sleep(delays[job])
        return job * job

    reader = ahead(iter(range(100)), work, most=most, threads=count)
    assert [reader.next() for _ in range(100)] == [n * n for n in range(100)]
    assert reader.next() is None
    assert reader.next() is None
    reader.close()


def test_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=10)

    def work(job: int) -> int:
        meeting.wait()  # passes when three jobs are being worked on
        return job

    reader = ahead(iter(range(6)), work, threads=3)
    assert [reader.next() for _ in range(7)] == [0, 1, 2, 3, 4, 5, None]
    reader.close()


@pytest.mark.parametrize(
    ("size", "most", "nbytes", "expected"),
    [(1, 3, 100, 3), (10, 50, 35, 3), (10, 50, 40, 4), (1000, 50, 10, 1)],
)
def test_the_budget_bounds_jobs_and_bytes(size: int, most: int, nbytes: int, expected: int) -> None:
    started: list[int] = []

    def work(job: int) -> int:
        started.append(job)
        return job

    reader = ahead(iter(range(100)), work, size=size, most=most, nbytes=nbytes, threads=4)
    for taken in range(3):
        wait_until(lambda taken=taken: len(started) == expected + taken)
        time.sleep(0.03)
        assert len(started) == expected + taken
        assert reader.next() == taken
    reader.close()


def test_a_large_job_waits_for_room_and_is_not_overtaken() -> None:
    sizes = {0: 6, 1: 6, 2: 1, 3: 1}
    started: list[int] = []

    def work(job: int) -> int:
        started.append(job)
        return job

    reader: ReadAhead[int, int] = ReadAhead(
        iter(sizes), work, sizes.__getitem__, Budget(4, 10, 4), NAME
    )
    wait_until(lambda: started == [0])
    time.sleep(0.05)
    assert started == [0]  # 1 does not fit, and 2 and 3 would, but come after it
    assert reader.next() == 0
    wait_until(lambda: sorted(started) == [0, 1, 2, 3])
    assert [reader.next() for _ in range(4)] == [1, 2, 3, None]
    reader.close()


def test_an_error_comes_in_its_turn_and_stays() -> None:
    def work(job: int) -> int:
        if job == 2:
            raise OSError("the disk went away")
        time.sleep(0.01)
        return job

    reader = ahead(iter(range(10)), work)
    assert [reader.next(), reader.next()] == [0, 1]
    for _ in range(2):
        with pytest.raises(OSError, match="the disk went away"):
            reader.next()
    reader.close()


def test_an_error_of_the_jobs_themselves() -> None:
    def jobs() -> Iterator[int]:
        yield 5
        raise ValueError("no such order")

    reader = ahead(jobs())
    assert reader.next() == 5
    with pytest.raises(ValueError, match="no such order"):
        reader.next()
    reader.close()


def test_closing_lets_a_job_end_and_drops_what_was_read() -> None:
    gate, started = threading.Event(), threading.Event()

    def work(job: int) -> int:
        if job == 1:
            started.set()
            gate.wait(10)
        return job

    reader = ahead(iter(range(10)), work)
    assert reader.next() == 0
    assert started.wait(10)
    closing = threading.Thread(target=reader.close)
    closing.start()
    time.sleep(0.02)
    assert closing.is_alive()
    gate.set()
    closing.join(10)
    assert not closing.is_alive()
    assert reader.next() is None
    reader.close()


def test_a_forgotten_one_ends_its_threads() -> None:
    reader = ahead(iter(range(100)))
    assert reader.next() == 0
    assert threads()
    del reader
    gc.collect()
    wait_until(lambda: not threads())


# -- memory that is used again -----------------------------------------------------------------


def test_a_block_is_used_again_when_nobody_holds_it() -> None:
    ring = Ring(4)
    for i in range(100):
        array = ring.lend(1000 - i)
        array[:] = i
    assert ring.made <= 2  # the loop holds one while it asks for the next
    assert array.nbytes == 901


def test_a_view_of_a_view_keeps_the_block() -> None:
    ring = Ring(4)
    block = ring.lend(64)
    block[:] = 7
    view = block.view(np.int16).reshape(4, 8)[1:, ::2].T
    del block
    ring.lend(64)[:] = 0
    assert ring.made == 2
    assert (view == 0x0707).all()
    del view
    ring.lend(64)
    ring.lend(64)
    assert ring.made == 2


def test_what_is_kept_makes_the_ring_grow_and_no_more() -> None:
    ring = Ring(2)
    kept = [ring.lend(8) for _ in range(10)]
    for i, array in enumerate(kept):
        array[:] = i
    assert [int(array[0]) for array in kept] == list(range(10))
    kept.clear()
    del array
    assert len(ring._free) == 2


def test_a_block_that_is_too_small_is_replaced() -> None:
    ring = Ring(2)
    ring.lend(10)
    assert ring.lend(20).nbytes == 20
    assert ring.lend(15).nbytes == 15
    assert ring.made == 2


def test_fields_share_a_block_and_begin_at_pages() -> None:
    fields = {
        "x": FieldSpec((3, 2), np.dtype("<f4")),
        "y": FieldSpec((), np.dtype("<i8")),
    }
    ring = Ring(2)
    arrays = ring.lend_fields(fields, 5)
    assert ring.made == 1
    for name, shape in (("x", (5, 3, 2)), ("y", (5,))):
        assert arrays[name].shape == shape
        assert arrays[name].dtype == fields[name].dtype
        assert arrays[name].flags.c_contiguous
        assert arrays[name].flags.writeable
        assert arrays[name].ctypes.data % 4096 == 0
        arrays[name][...] = 1
    empty = ring.lend_fields(fields, 0)
    assert empty["x"].shape == (0, 3, 2)


def test_threads_may_lend_and_return_together() -> None:
    ring, wrong = Ring(8), []

    def work(number: int) -> None:
        for _ in range(300):
            array = ring.lend(256)
            array[:] = number
            time.sleep(0)
            if (array != number).any():
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert ring.made <= 8
