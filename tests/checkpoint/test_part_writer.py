"""A part: an HDF5 file that others read, equal however it is written, with the right checksums."""

from __future__ import annotations

import errno
import os

import h5py
import numpy as np
import pytest

from hpcad.checkpoint.disk import DISK, Disk
from hpcad.checkpoint.format import checksum
from hpcad.checkpoint.saving import part_writer
from hpcad.checkpoint.saving.part_layout import PartLayout
from hpcad.checkpoint.saving.part_writer import Ring, copied, page_aligned, streamed, write_part
from hpcad.checkpoint.saving.second_buffer import SecondBuffer
from hpcad.checkpoint.slices import Piece, describe, divide, values

DTYPES = ["?", "b", "h", "i", "q", "B", "H", "I", "Q", "e", "f", "d"]


@pytest.fixture
def many():
    rng = np.random.default_rng(2)
    arrays = {f"a/{d}{n}": rng.integers(0, 2, (n, 3)).astype(d) for d in DTYPES for n in (1, 4)}
    arrays["scalar"] = np.array(1.5)
    arrays["large"] = rng.standard_normal((300, 70))
    arrays["odd"] = rng.integers(0, 255, 5001).astype(np.uint8)
    return arrays


@pytest.fixture
def _small_blocks(monkeypatch):
    monkeypatch.setattr(part_writer, "BLOCK", 8192)


@pytest.mark.usefixtures("_small_blocks")
def test_h5py_reads_every_dtype_and_shape(tmp_path, many):
    (share,) = divide(describe(many), 1)
    layout = PartLayout(share)
    written = write_part(
        DISK, tmp_path / "a.h5", layout, streamed(layout, values(many, share), Ring())
    )
    assert written.bytes == (tmp_path / "a.h5").stat().st_size == layout.size
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["format"] == b"hpcad-checkpoint"
        assert file.attrs["version"] == 2
        for name, array in many.items():
            dataset = file["arrays"][name]
            assert dataset.chunks is None
            assert dataset.shape == array.shape
            assert np.array_equal(dataset[()], array)


def test_a_slice_is_a_flat_dataset_that_states_its_start(tmp_path):
    array = np.arange(10000.0).reshape(100, 100)
    share = [Piece("w", "<f8", (100, 100), 512, 1024)]
    layout = PartLayout(share)
    write_part(
        DISK, tmp_path / "a.h5", layout, streamed(layout, values({"w": array}, share), Ring())
    )
    with h5py.File(tmp_path / "a.h5") as file:
        dataset = file["arrays/w"]
        assert dataset[()].tolist() == array.reshape(-1)[512:1536].tolist()
        assert dataset.attrs["start"] == 512


@pytest.mark.usefixtures("_small_blocks")
def test_checksums_are_those_of_the_pieces(tmp_path, many):
    (share,) = divide(describe(many), 1)
    layout = PartLayout(share)
    sources = values(many, share)
    written = write_part(DISK, tmp_path / "a.h5", layout, streamed(layout, sources, Ring()))
    assert list(written.checksums) == [checksum(source.data) for source in sources]
    text = (tmp_path / "a.h5").read_bytes()
    for piece, offset, digest in zip(share, layout.offsets, written.checksums, strict=True):
        assert checksum(text[offset : offset + piece.nbytes]) == digest


@pytest.mark.usefixtures("_small_blocks")
def test_streamed_and_copied_files_are_equal(tmp_path, many):
    (share,) = divide(describe(many), 1)
    layout = PartLayout(share)
    sources = values(many, share)
    first = write_part(DISK, tmp_path / "a.h5", layout, streamed(layout, sources, Ring()))
    buffer = SecondBuffer(layout)
    buffer.take(sources, ())
    second = write_part(DISK, tmp_path / "b.h5", layout, copied(buffer.image))
    assert first.checksums == second.checksums
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_files_are_whole_pages_and_large_arrays_begin_at_one(many):
    (share,) = divide(describe(many), 1)
    layout = PartLayout(share)
    assert layout.size % 4096 == 0
    for piece, offset in zip(share, layout.offsets, strict=True):
        assert offset % 4096 == 0 or piece.nbytes < 4096
        assert offset + piece.nbytes <= layout.size


@pytest.mark.usefixtures("_small_blocks")
def test_a_ring_is_reused_and_grows():
    ring = Ring()
    assert len(ring.blocks(1)) == 1
    few = ring.blocks(5000 * 8192)
    assert len(few) == 5
    assert not any(np.shares_memory(few[i], few[j]) for i in range(5) for j in range(i))
    assert all(block.ctypes.data % 4096 == 0 for block in few)
    assert np.shares_memory(ring.blocks(5000 * 8192)[0], few[0])


def test_memory_begins_at_a_page():
    memory = page_aligned(5000)
    assert memory.ctypes.data % 4096 == 0
    assert len(memory) == 5000


class Failing(Disk):
    """Fails at the n-th block."""

    def __init__(self, failing: int) -> None:
        self.failing, self.blocks = failing, 0

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        self.blocks += 1
        if self.blocks == self.failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().pwrite(descriptor, data, offset)


@pytest.mark.parametrize("failing", [1, 2, 5])
@pytest.mark.usefixtures("_small_blocks")
def test_a_failed_block_ends_the_writing_and_closes_the_file(tmp_path, many, failing):
    (share,) = divide(describe(many), 1)
    layout = PartLayout(share)
    before = len(os.listdir("/proc/self/fd"))
    disk = Failing(failing)
    with pytest.raises(OSError, match="No space"):
        write_part(disk, tmp_path / "a.h5", layout, streamed(layout, values(many, share), Ring()))
    assert len(os.listdir("/proc/self/fd")) == before
    assert disk.blocks == failing


def test_an_error_of_the_source_ends_the_writing(tmp_path, many):
    (share,) = divide(describe(many), 1)
    layout = PartLayout(share)

    def blocks():
        yield 0, page_aligned(4096)
        raise MemoryError("no more")

    with pytest.raises(MemoryError):
        write_part(DISK, tmp_path / "a.h5", layout, blocks())
