"""Ways to read the same samples in the same order, for ``data_loading.py``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcad.data import Dataset, Loader, open_dataset

FIELD = "x"
SEED = 5

Batches = Iterator[Any]


class Files:
    """A packed dataset as other programs see it: HDF5 files and offsets.

    Parameters
    ----------
    directory : Path
    batch : int
        Samples per batch.
    """

    def __init__(self, directory: Path, batch: int) -> None:
        self.directory, self.batch = directory, batch
        self.dataset: Dataset = open_dataset(directory, verify=False)
        shards = self.dataset.manifest.shards
        self.paths = [str(directory / shard.file) for shard in shards]
        self.offsets = [shard.arrays[FIELD].offset for shard in shards]
        self.per_shard = shards[0].count
        self.shape = self.dataset.fields[FIELD].shape
        self.sample_bytes = self.dataset.fields[FIELD].nbytes
        with Loader(self.dataset, batch, seed=SEED, prefetch=0, epochs=1) as loader:
            self.ids = [each.ids for each in loader]

    def target(self) -> np.ndarray:
        """An array for a batch."""
        return np.empty((self.batch, *self.shape), np.float32)

    def forget(self) -> None:
        """Drop the files from the page cache, as far as the system follows the advice."""
        for path in self.paths:
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def raw(files: Files) -> Batches:
    """``os.preadv`` in a loop: nothing but the system call."""
    opened = [os.open(path, os.O_RDONLY) for path in files.paths]
    target = files.target()
    places = [[memoryview(row).cast("B")] for row in target]
    per_shard, nbytes, offsets = files.per_shard, files.sample_bytes, files.offsets
    try:
        for ids in files.ids:
            for k, i in enumerate(ids.tolist()):
                shard, row = divmod(i, per_shard)
                os.preadv(opened[shard], places[k], offsets[shard] + row * nbytes)
            yield target[: len(ids)]
    finally:
        for file in opened:
            os.close(file)


def gathered(files: Files) -> Batches:
    """``Dataset.read`` into the same memory: one call into C for a batch."""
    target = files.target()
    for ids in files.ids:
        yield files.dataset.read(ids, {FIELD: target[: len(ids)]})[FIELD]


def loaded(files: Files, **options: Any) -> Batches:
    """The loader, reading ahead."""
    with Loader(files.dataset, files.batch, seed=SEED, epochs=1, **options) as loader:
        for batch in loader:
            yield batch[FIELD]


def one_by_one(files: Files) -> Batches:
    """``d[i]`` with h5py, the pattern of most examples."""
    opened = [h5py.File(path, "r") for path in files.paths]
    arrays = [file[FIELD] for file in opened]
    try:
        for ids in files.ids:
            yield np.stack(
                [arrays[i // files.per_shard][i % files.per_shard] for i in ids.tolist()]
            )
    finally:
        for file in opened:
            file.close()


class Samples:
    """What PyTorch's DataLoader takes: one sample by its number, from files opened per process."""

    def __init__(self, files: Files) -> None:
        self.paths, self.per_shard = files.paths, files.per_shard
        self.count = len(files.dataset)
        self.arrays: dict[int, Any] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Any:
        import torch

        shard, row = divmod(i, self.per_shard)
        if shard not in self.arrays:
            self.arrays[shard] = h5py.File(self.paths[shard], "r")[FIELD]
        return torch.from_numpy(self.arrays[shard][row])


def torch_loaded(files: Files, workers: int) -> Batches:
    """PyTorch's DataLoader over h5py, in the same order."""
    from torch.utils.data import DataLoader

    order = np.concatenate(files.ids).tolist()
    yield from DataLoader(
        Samples(files), batch_size=files.batch, sampler=order, num_workers=workers
    )


def ways(with_torch: bool) -> dict[str, Callable[[Files], Batches]]:
    """All ways by name; the first is the limit that the others are measured by."""
    found: dict[str, Callable[[Files], Batches]] = {
        "raw os.preadv loop": raw,
        "hpcad Dataset.read": gathered,
        "hpcad Loader": loaded,
        "hpcad Loader, 1 reader": lambda files: loaded(files, readers=1),
        "hpcad Loader, 8 readers": lambda files: loaded(files, readers=8, prefetch=16),
        "h5py d[i] loop": one_by_one,
    }
    if with_torch:
        found["DataLoader over h5py, 0 workers"] = lambda files: torch_loaded(files, 0)
        found["DataLoader over h5py, 2 workers"] = lambda files: torch_loaded(files, 2)
    return found
