"""The messages of one batch of a distributed store: samples for other ranks against samples for us.

Who wants which samples of whom is known to both sides by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcad.data.ragged import Ragged
from hpcad.data.store.held import expanded

if TYPE_CHECKING:
    from hpcad.parallel import Communicator


class Asked:
    """One exchange: what this rank wants of each rank, and what each wants of it.

    Parameters
    ----------
    space : Space
    order : ndarray of int64, shape (n,)
        Place, in this rank's batch, of each sample in the order in which they arrive.
    counts : ndarray of int64, shape (ranks,)
        Samples that come from each rank.
    rows : ndarray of int64, shape (m,)
        Which of the samples held here go out, rank after rank.
    wanted : ndarray of int64, shape (ranks,)
        How many of them go to each rank.
    """

    def __init__(
        self,
        communicator: Communicator,
        space: Space,
        order: np.ndarray,
        counts: np.ndarray,
        rows: np.ndarray,
        wanted: np.ndarray,
    ) -> None:
        self._communicator, self._space = communicator, space
        self.order, self._counts, self._rows, self._wanted = order, counts, rows, wanted

    def fetch(self, held: np.ndarray) -> np.ndarray:
        """The samples, in the order in which they arrive; valid until the next fetch."""
        if held.flags.c_contiguous:
            sent = self._space.array("sent", (len(self._rows), *held.shape[1:]), held.dtype)
            # The rows are known to exist; with mode="raise" NumPy would write into a copy first.
            np.take(held, self._rows, axis=0, out=sent, mode="clip")
        else:
            sent = held[self._rows]  # windows, which overlap: `take` would copy all of them
        shape = (len(self.order), *held.shape[1:])
        received = self._space.array("received", shape, held.dtype)
        return self._exchange(sent, self._wanted, received, self._counts)

    def fetch_ragged(self, held: Ragged) -> Ragged:
        """The samples, in the order of the batch."""
        going = held.lengths[self._rows]
        coming = np.empty(len(self.order), np.int64)
        self._exchange(going, self._wanted, coming, self._counts)
        sent = held.values[expanded(held.offsets[self._rows], going)]
        values = np.empty((int(coming.sum()), *sent.shape[1:]), sent.dtype)
        out, into = _sums(going, self._wanted), _sums(coming, self._counts)
        self._exchange(sent, out, values, into)
        places = np.empty_like(self.order)
        places[self.order] = np.arange(len(places))
        starts = np.cumsum(coming) - coming
        lengths = coming[places]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        return Ragged(values[expanded(starts[places], lengths)], offsets)

    def _exchange(
        self, sent: np.ndarray, out: np.ndarray, received: np.ndarray, into: np.ndarray
    ) -> np.ndarray:
        """Rows for other ranks against rows for this one, which is returned."""
        size = int(np.prod(sent.shape[1:], dtype=np.int64))
        self._communicator.alltoallv(sent, out * size, received, into * size, name="store fields")
        return received


class Space:
    """Memory for messages that is used again: fresh pages cost about as much as filling them."""

    def __init__(self) -> None:
        self._memory: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array in the memory of that name, whatever it held before."""
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        memory = self._memory.get(name)
        if memory is None or memory.nbytes < nbytes:
            memory = self._memory[name] = np.empty(nbytes, np.uint8)
        return memory[:nbytes].view(dtype).reshape(shape)


def _sums(lengths: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The sum of the first ``counts[0]`` lengths, of the next ``counts[1]``, and so on."""
    before = np.concatenate(([0], np.cumsum(lengths)))
    stops = np.cumsum(counts)
    return before[stops] - before[stops - counts]
