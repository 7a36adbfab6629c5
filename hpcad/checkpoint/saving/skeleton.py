"""The HDF5 structure of a checkpoint, built without touching the disk.

HDF5 writes its own structure only in passing: for arrays that are contiguous, allocated early and
never filled, a few hundred bytes each. We let it write those into a sparse image in memory and
ask it where each array will lie. The writer then puts image and arrays into the file with
`os.pwrite` alone. Two things are won: arrays go to disk at the speed of the disk, and a full disk
is an ordinary `OSError` of ours. (Inside HDF5 it leaves a file that can no longer be closed, and
so a descriptor that holds the disk space.)
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import h5py
import numpy as np

_PAGE = 4096


class SparseImage(io.RawIOBase):
    """A file in memory that holds only the pages written to; the rest reads as zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self._pages: dict[int, bytearray] = {}
        self._position = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self.size = self._position if size is None else size
        return self.size

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # Buffer is typed from 3.12
        view = memoryview(buffer).cast("B")
        for at, page, begin, end in self._spans(len(view)):
            held = self._pages.get(page)
            view[at : at + end - begin] = held[begin:end] if held else bytes(end - begin)
        self._position += len(view)
        return len(view)

    def write(self, data) -> int:  # type: ignore[no-untyped-def]  # Buffer is typed from 3.12
        view = memoryview(data).cast("B")
        for at, page, begin, end in self._spans(len(view)):
            held = self._pages.setdefault(page, bytearray(_PAGE))
            held[begin:end] = view[at : at + end - begin]
        self._position += len(view)
        self.size = max(self.size, self._position)
        return len(view)

    def extents(self) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) of what was written, in file order."""
        for page in sorted(self._pages):
            offset = page * _PAGE
            yield offset, bytes(self._pages[page][: self.size - offset])

    def _spans(self, count: int) -> Iterator[tuple[int, int, int, int]]:
        """Split [position, position + count) at page ends: (offset in buffer, page, from, to)."""
        done = 0
        while done < count:
            page, begin = divmod(self._position + done, _PAGE)
            end = min(_PAGE, begin + count - done)
            yield done, page, begin, end
            done += end - begin


@dataclass(frozen=True)
class Skeleton:
    """The HDF5 structure (`image`) and the file offset of each dataset that holds bytes."""

    image: SparseImage
    offsets: dict[str, int]


def build_skeleton(
    datasets: Mapping[str, tuple[str, tuple[int, ...]]],
    attributes: Mapping[str, Mapping[str, str | int]],
) -> Skeleton:
    """Lay out a file of contiguous datasets.

    Parameters
    ----------
    datasets
        Path in the file -> (dtype string, shape).
    attributes
        Path of an object ("/" or a dataset) -> its attributes, as text of fixed length or int64.
        Variable-length text would live in a heap, which the strict reader does not admit.
    """
    image = SparseImage()
    with h5py.File(
        image, "w", libver="latest", alignment_threshold=_PAGE, alignment_interval=_PAGE
    ) as file:
        ids = {path: _create(file, path, *spec) for path, spec in datasets.items()}
        for path, values in attributes.items():
            for name, value in values.items():
                fixed = np.bytes_(value) if isinstance(value, str) else np.int64(value)
                file[path].attrs[name] = fixed
        file.flush()
        placed = {path: dataset.get_offset() for path, dataset in ids.items()}
        # A Dataset id that outlived the file would keep it open.
        ids.clear()
    return Skeleton(image, {path: offset for path, offset in placed.items() if offset is not None})


def _create(file: h5py.File, path: str, dtype: str, shape: tuple[int, ...]) -> h5py.h5d.DatasetID:
    parent, _, name = path.rpartition("/")
    group = file.require_group(parent or "/")
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape) if shape else h5py.h5s.create(h5py.h5s.SCALAR)
    kind = h5py.h5t.py_create(np.dtype(dtype))
    return h5py.h5d.create(group.id, name.encode(), kind, space, layout)
