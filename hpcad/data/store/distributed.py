"""A dataset in the memories of all ranks together: each sample lies once, and travels when asked.

For sets that fit into the sum of the nodes' memories and not into one: the storage is read once per
job, by all ranks at the same time, and from then on batches come over the network.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.data.batch import local_part
from hpcad.data.dataset import Dataset
from hpcad.data.memory import available_memory
from hpcad.data.store.exchange import Asked, Space
from hpcad.data.store.held import Held, sample_bytes
from hpcad.data.windows import TokenWindows
from hpcad.errors import DataError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator

# Left to others: the program itself, buffers of MPI, batches under way.
_RESERVE = 256 * 2**20


class DistributedStore(Dataset):
    """The samples of a dataset, shared out over the memories of all ranks. Collective.

    Rank r of P loads the r-th of P contiguous parts of the samples. :meth:`read` is collective:
    every rank asks for samples of its own, any of them and any number, and each gets them from the
    ranks that hold them. It gives the bits that ``dataset.read`` gives.

    Parameters
    ----------
    dataset : Dataset
        Opened by every rank.
    communicator : Communicator
    node : int, optional
        Number of this rank's node: memory is counted per node. That of
        :func:`hpcad.parallel.init` when left out.

    Attributes
    ----------
    load_seconds : float
        What loading took, on the slowest rank.
    nbytes : int
        Bytes that this rank holds.

    Raises
    ------
    DataError
        On every rank: a node has too little memory, or a rank could not read its part.

    Notes
    -----
    MPI is called by the thread that calls :meth:`read`, which must be the main one: give a
    :class:`~hpcad.data.Loader` ``prefetch=0``. All ranks must then take the same number of batches,
    which loaders of one batch size and cursor do.

    Messages per read: one count to every rank, then to those ranks whose samples are wanted the
    numbers of the samples, and back one message per field (two for a ragged one).
    """

    def __init__(
        self, dataset: Dataset, communicator: Communicator, node: int | None = None
    ) -> None:
        self.directory, self.metadata = dataset.directory, dataset.metadata
        self.fields, self.hash = dict(dataset.fields), dataset.hash
        if (manifest := getattr(dataset, "manifest", None)) is not None:
            self.manifest = manifest
        self._count, self._communicator = len(dataset), communicator
        self._windows = isinstance(dataset, TokenWindows)
        parts = [local_part(len(dataset), r, communicator.size) for r in range(communicator.size)]
        self._firsts = np.array([start for start, _ in parts], np.int64)
        self._lasts = np.array([stop for _, stop in parts], np.int64)
        self._space = Space()
        start, stop = parts[communicator.rank]
        check_memory(communicator, int((stop - start) * sample_bytes(dataset)), node)
        began = time.perf_counter()
        self._held, error = None, None
        try:
            self._held = Held(dataset, start, stop)
        except DataError as found:
            error = found
        communicator.agree(error, name="load store")
        taken = np.array([time.perf_counter() - began])
        communicator.allreduce(taken, "max", name="load store")
        self.load_seconds = float(taken[0])

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, in memory of {self._communicator.size} ranks>"

    @property
    def nbytes(self) -> int:
        """Bytes that this rank holds."""
        return self._mine.nbytes

    @property
    def requests(self) -> int:
        """None: everything is in memory."""
        return 0

    def close(self) -> None:
        """Let go of the memory."""
        self._held, self._space = None, Space()

    def read(
        self, ids: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """The samples with the numbers ``ids``, as :meth:`Dataset.read` gives them. Collective.

        Raises
        ------
        DataError
            On every rank, where one asks for samples that do not exist, or its ``out`` does not
            fit; or this is not the main thread.
        """
        mine = self._mine
        self._check_thread()
        targets: dict[str, Any] = {}
        error = None
        try:
            ids = self._checked(ids)
            targets = self._targets(len(ids), out)
        except DataError as found:
            error, ids = found, np.empty(0, np.int64)
        asked = self._asked(ids, error)
        for name, held in mine.arrays.items():
            arrived = asked.fetch(held)
            if self._windows:
                targets["x"][asked.order] = arrived[:, :-1]
                targets["y"][asked.order] = arrived[:, 1:]
            else:
                targets[name][asked.order] = arrived
        for name, samples in mine.ragged.items():
            targets[name] = asked.fetch_ragged(samples)
        return targets

    @property
    def _mine(self) -> Held:
        if self._held is None:
            raise DataError("this store is closed; make another one")
        return self._held

    def _check_thread(self) -> None:
        several = self._communicator.size > 1
        if several and threading.current_thread() is not threading.main_thread():
            raise DataError(
                "a distributed store was read by a thread, but its messages must come from the "
                "main thread; give the loader prefetch=0"
            )

    def _asked(self, ids: np.ndarray, error: DataError | None) -> Asked:
        """Tell every rank what is wanted of it; a rank that failed says so here."""
        communicator = self._communicator
        owners = np.searchsorted(self._lasts, ids, side="right")
        counts = np.bincount(owners, minlength=communicator.size).astype(np.int64)
        if error is not None:
            counts[:] = -1
        wanted = np.empty_like(counts)
        communicator.alltoall(counts, wanted, name="store counts")
        if error is not None:
            raise error
        if (wanted < 0).any():
            raise DataError(f"rank {int(wanted.argmin())} asked the store for what is not there")
        order = np.argsort(owners, kind="stable")
        numbers = (ids - self._firsts[owners])[order]
        rows = np.empty(int(wanted.sum()), np.int64)
        communicator.alltoallv(numbers, counts, rows, wanted, name="store samples")
        return Asked(communicator, self._space, order, counts, rows, wanted)


def check_memory(communicator: Communicator, needed: int, node: int | None) -> None:
    """Raise on every rank where a node has too little memory for what its ranks need together.

    Raises
    ------
    DataError
        It names the nodes with the bytes needed and available.
    """
    if node is None:
        node = 0
        if communicator.size > 1:
            from hpcad.parallel import init  # only now: a store of one process needs no MPI

            node = init().node
    told = communicator.gather_json([node, needed, available_memory()], name="memory")
    lacking = []
    for number in sorted({each[0] for each in told}):
        here = [each for each in told if each[0] == number]
        total, free = sum(each[1] for each in here), min(each[2] for each in here)
        if total + _RESERVE > free:
            lacking.append(
                f"node {number} needs {(total + _RESERVE) / 1e9:.2f} GB and has {free / 1e9:.2f} GB"
            )
    if lacking:
        raise DataError(
            f"the dataset does not fit into memory: {'; '.join(lacking)}; use more nodes, or read "
            "from the disk"
        )
