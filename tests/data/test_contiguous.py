from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcad.data.shards import contiguous as module
from hpcad.data.shards import gather as gathering
from hpcad.data.shards.contiguous import ContiguousArray
from hpcad.data.shards.descriptors import OPEN, Descriptors, StoredFile
from hpcad.data.shards.gather import GatherError, gather, pieces, reference
from hpcad.errors import DataError

TABLE = np.arange(100 * 6, dtype="<f4").reshape(100, 3, 2)
OFFSET = 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "array"
    file.write_bytes(b"\xff" * OFFSET + TABLE.tobytes())
    return file


@pytest.fixture
def array(path: Path) -> ContiguousArray:
    file = StoredFile(path, path.stat().st_size)
    return ContiguousArray(file, OFFSET, TABLE.shape, TABLE.dtype)


def read(array: ContiguousArray, rows: object) -> np.ndarray:
    rows = np.asarray(rows, np.int64)
    out = np.full((len(rows), *array.shape[1:]), np.nan, array.dtype)
    array.read(rows, out)
    return out


@pytest.fixture(params=["C", "Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to read: in C, and where there is no compiler."""
    if request.param == "Python":
        monkeypatch.setattr(gathering, "_routine", lambda: None)
    elif gathering._routine() is None:
        pytest.skip("no C compiler")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "rows",
    [[], [0], [99, 0, 99], list(range(100)), list(range(99, -1, -1)), [5, 6, 7, 3, 4, 90]],
)
def test_rows_come_in_the_order_asked(array: ContiguousArray, rows: list[int]) -> None:
    np.testing.assert_array_equal(read(array, rows), TABLE[rows])


@pytest.mark.parametrize("how", [gather, reference])
def test_pieces_that_lie_together_are_one_request(
    path: Path, how: Callable[[np.ndarray, np.ndarray], int]
) -> None:
    file = os.open(path, os.O_RDONLY)
    target = np.zeros(60, np.uint8)
    columns = zip(
        *[(40, 10, 0), (50, 10, 10), (60, 10, 20), (10, 5, 55), (70, 10, 30)], strict=True
    )
    starts, sizes, places = (np.array(column, np.int64) for column in columns)
    try:
        requests = how(pieces(file, starts, sizes, places), target)
    finally:
        os.close(file)
    assert requests == 3
    assert target[:40].tobytes() == path.read_bytes()[40:80]
    assert target[40:].tolist() == [0] * 15 + [255] * 5


@pytest.mark.parametrize("how", [gather, reference])
def test_nothing_is_written_beyond_the_target(
    path: Path, how: Callable[[np.ndarray, np.ndarray], int]
) -> None:
    for size, place in ((11, 0), (10, 1), (-1, 0), (1, -1), (2**62, 2**62)):
        with pytest.raises(ValueError, match="beyond a target of 10 bytes"):
            how(pieces(0, [0], size, [place]), np.zeros(10, np.uint8))


@pytest.mark.parametrize("how", [gather, reference])
def test_the_piece_that_fails_is_named(
    path: Path, how: Callable[[np.ndarray, np.ndarray], int]
) -> None:
    file, size = os.open(path, os.O_RDONLY), path.stat().st_size
    numbers = [np.array(column, np.int64) for column in ([0, size - 3], [4, 4], [0, 4])]
    target = np.zeros(8, np.uint8)
    try:
        with pytest.raises(GatherError, match="1, 0") as caught:
            how(pieces(file, *numbers), target)
    finally:
        os.close(file)
    assert caught.value.reason == "the file ends too early"
    with pytest.raises(GatherError) as caught:
        how(pieces(-1, *numbers), target)
    assert (caught.value.piece, caught.value.reason) == (0, "Bad file descriptor")


@pytest.mark.usefixtures("way")
def test_a_file_cut_short_while_open_is_an_error(path: Path, array: ContiguousArray) -> None:
    read(array, [99])
    os.truncate(path, OFFSET + 50 * array.row_bytes)
    np.testing.assert_array_equal(read(array, [49]), TABLE[[49]])
    with pytest.raises(DataError, match=r"array: cannot be read \(the file ends too early\)"):
        read(array, [3, 50])


@pytest.mark.parametrize("rows", [[-1], [100], [0, 2**60]])
def test_rows_that_do_not_exist(array: ContiguousArray, rows: list[int]) -> None:
    with pytest.raises(DataError, match="of an array of 100"):
        read(array, rows)


@pytest.mark.parametrize(
    "out",
    [
        np.empty((2, 3, 2), "f8"),
        np.empty((2, 2, 3), "f4"),
        np.empty((3, 3, 2), "f4"),
        np.empty((4, 3, 2), "f4")[::2],
        np.broadcast_to(np.float32(0), (2, 3, 2)),
    ],
)
def test_targets_that_do_not_fit(array: ContiguousArray, out: np.ndarray) -> None:
    with pytest.raises(DataError, match="out="):
        array.read(np.array([0, 1]), out)


def test_an_array_must_lie_within_its_file(path: Path) -> None:
    file = StoredFile(path, path.stat().st_size)
    with pytest.raises(DataError, match="does not fit into a file of 2440 bytes"):
        ContiguousArray(file, OFFSET + 1, TABLE.shape, TABLE.dtype)


# -- open files --------------------------------------------------------------------------------


def files(folder: Path, count: int) -> list[StoredFile]:
    found = []
    for i in range(count):
        (folder / str(i)).write_bytes(bytes([i]))
        found.append(StoredFile(folder / str(i), 1))
    return found


def content(pool: Descriptors, file: StoredFile) -> int:
    (descriptor,) = pool.borrow([file])
    return os.pread(descriptor.number, 1, 0)[0]


def descriptors_of_this_process() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_least_recently_used_is_closed(tmp_path: Path) -> None:
    pool, many = Descriptors(3), files(tmp_path, 5)
    before = descriptors_of_this_process()
    for i in (0, 1, 2, 0, 3):  # 3 takes the place of 1
        assert content(pool, many[i]) == i
    assert [file.opened is not None for file in many] == [True, False, True, True, False]
    assert pool.open_now() == descriptors_of_this_process() - before == 3
    assert pool.opens == 4
    assert content(pool, many[1]) == 1
    assert pool.opens == 5


def test_what_is_borrowed_is_not_closed(tmp_path: Path) -> None:
    pool, many = Descriptors(2), files(tmp_path, 5)
    borrowed = pool.borrow(many)
    assert pool.open_now() == 2
    assert [os.pread(each.number, 1, 0)[0] for each in borrowed] == [0, 1, 2, 3, 4]


def test_a_forgotten_file_is_closed(tmp_path: Path) -> None:
    pool, before = Descriptors(8), descriptors_of_this_process()
    many = files(tmp_path, 4)
    pool.borrow(many)
    assert descriptors_of_this_process() == before + 4
    del many
    assert descriptors_of_this_process() == before


def test_threads_borrow_while_others_close(tmp_path: Path) -> None:
    pool, many, wrong = Descriptors(2), files(tmp_path, 8), []

    def work(seed: int) -> None:
        numbers = np.random.default_rng(seed).integers(0, 8, 500).tolist()
        wrong.extend(i for i in numbers if content(pool, many[i]) != i)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pool.open_now() <= 2


def test_a_forked_child_opens_its_own_even_while_a_lock_is_held(tmp_path: Path) -> None:
    pool, many = Descriptors(4), files(tmp_path, 1)
    content(pool, many[0])
    parents = many[0].opened
    with pool._lock:  # as another thread might, in the moment of the fork
        child = os.fork()
        if child == 0:
            good = content(pool, many[0]) == 0 and many[0].opened is not parents
            os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert many[0].opened is parents
    assert content(pool, many[0]) == 0


def test_a_file_that_was_replaced_is_refused(tmp_path: Path) -> None:
    pool, (file, other) = Descriptors(1), files(tmp_path, 2)
    content(pool, file)
    content(pool, other)  # closes the first
    (tmp_path / "new").write_bytes(b"9")
    (tmp_path / "new").replace(tmp_path / "0")
    with pytest.raises(DataError, match="0: this shard was replaced or changed while it was in"):
        content(pool, file)


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"12")
    for name, message in (
        ("no", "no: cannot be opened"),
        (".", "is not a regular file"),
        ("short", "has 2 bytes, expected 3"),
    ):
        with pytest.raises(DataError, match=message):
            OPEN.borrow([StoredFile(tmp_path / name, 3)])


def test_arrays_of_one_file_share_its_descriptor(path: Path, array: ContiguousArray) -> None:
    second = ContiguousArray(array.file, OFFSET, (600,), np.dtype("<f4"))
    before = module.OPEN.opens
    read(array, [1])
    np.testing.assert_array_equal(read(second, [7]), [7.0])
    assert module.OPEN.opens == before + 1
