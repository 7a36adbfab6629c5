"""A sum over ranks of which only halves travel, and how many bytes those are.

An array of n elements is cut into W blocks, one for each rank:

1. every rank rounds its blocks to half precision and sends block r to rank r (``Ialltoall``);
2. rank r adds up the W blocks that it got, in rank order, in float32;
3. it rounds the sum and sends it to all (``Iallgather``); everyone widens what comes, the own block
   too, so that all ranks have equal bits.

So each element is rounded twice, no matter how many ranks there are. With u the unit roundoff of
the format (2^-8 or 2^-11) the error of an element is, to first order, at most

    u * (\\|g_0\\| + ... + \\|g_W-1\\|) + u * \\|g_0 + ... + g_W-1\\| .

float16 has few exponents, so each block carries one of its own, as one more half: its largest
number becomes 2^14 to 2^15. That needs no agreement between the ranks, the sum in float32 cannot
overflow where the exact one does not, and numbers down to 2^-28 of the block's largest keep all
bits; of smaller ones not more than 2^-39 of the largest is lost.

Each rank sends ``2 (W - 1) ceil(n / W)`` halves. An allreduce of least traffic (ring, or halving
and doubling) sends ``2 (W - 1) / W n`` whole numbers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from hpcad.backend.native.half import Half

SENT, ADDED, SHARED, DONE = range(4)
"""Stages: until the blocks of others are here; until the sums before have been shared; until the
sums of others are here."""


@dataclass(frozen=True)
class Buffers:
    """What one exchange needs.

    Attributes
    ----------
    out, into : ndarray of uint16, shape (ranks, width)
        A block in each row, followed by its exponent where the format needs one.
    total : ndarray of float32, shape (block,)
    """

    out: np.ndarray
    into: np.ndarray
    total: np.ndarray


class HalfLine:
    """Exchanges that follow one another on a communicator.

    Parameters
    ----------
    comm : MPI.Intracomm
        Blocks travel here, in the order of :meth:`start`. Collective over it: the line makes a
        duplicate for sums, because ranks share one sum before or after they send the blocks of the
        next, as it happens, and messages of another order could not meet.
    half : Half

    Attributes
    ----------
    bytes_sent, bytes_exact : int
        What this rank has sent to others, and what an exact allreduce sends at least.
    """

    def __init__(self, comm: MPI.Intracomm, half: Half) -> None:
        self.comm, self.half = comm, half
        self.sums = comm.Dup()
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.bytes_sent = self.bytes_exact = 0
        self._under_way: deque[HalfExchange] = deque()
        self._free: dict[int, list[Buffers]] = {}

    def start(self, flat: np.ndarray) -> HalfExchange:
        """Send the blocks of an array, which is the line's until the exchange is done.

        Parameters
        ----------
        flat : ndarray, shape (n,), float32 or float64
            Contiguous; receives the sum.
        """
        exchange = HalfExchange(self, flat)
        if flat.size:
            exchange.post(self._take(flat.size))
            self._under_way.append(exchange)
            others = self.size - 1
            self.bytes_sent += 2 * others * exchange.width * 2
            self.bytes_exact += 2 * others * flat.nbytes // self.size
        return exchange

    def advance(self) -> None:
        """Bring every exchange as far as it can go; sums are shared in the order of the start."""
        before = SHARED
        for exchange in self._under_way:
            before = exchange.advance(may_share=before >= SHARED)
        while self._under_way and self._under_way[0].stage == DONE:
            self._under_way.popleft()

    def wait(self, exchange: HalfExchange) -> None:
        """Return when an exchange is done."""
        self.advance()
        while exchange.stage != DONE:
            MPI.Request.Waitany([e.request for e in self._under_way])
            self.advance()

    def block(self, size: int) -> int:
        """Elements of a block."""
        return -(-size // self.size)

    def _take(self, size: int) -> Buffers:
        """Buffers that are free, so that a training step allocates none after the first."""
        kept = self._free.setdefault(size, [])
        if kept:
            return kept.pop()
        block = self.block(size)
        rows = np.zeros((2, self.size, block + self.half.scaled), np.uint16)
        return Buffers(rows[0], rows[1], np.empty(block, np.float32))

    def give_back(self, size: int, buffers: Buffers) -> None:
        """Let the next exchange of this size have the buffers."""
        self._free[size].append(buffers)


class HalfExchange:
    """One sum under way; made by :meth:`HalfLine.start`.

    Attributes
    ----------
    stage : int
    width : int
        Halves of a block, with its exponent.
    request : MPI.Request
        What the stage waits for; null where that is no message.
    """

    def __init__(self, line: HalfLine, flat: np.ndarray) -> None:
        self._line, self._flat = line, flat
        self.width = line.block(flat.size) + line.half.scaled
        self.request: MPI.Request = MPI.REQUEST_NULL
        self.stage = SENT if flat.size else DONE

    def test(self) -> bool:
        """Go on with whatever is on the line; return whether this exchange is done."""
        if self.stage != DONE:
            self._line.advance()
        return self.stage == DONE

    def post(self, buffers: Buffers) -> None:
        """Round this rank's numbers, and send them."""
        self._buffers = buffers
        for rank in range(self._line.size):
            self._round(self._of(rank), buffers.out[rank])
        self.request = self._line.comm.Ialltoall(buffers.out, buffers.into)

    def advance(self, may_share: bool) -> int:
        """Go on as far as possible; return the stage."""
        if self.stage == SENT and self.request.Test():
            self._add()
            self.stage = ADDED
        if self.stage == ADDED and may_share:
            self.request = self._line.sums.Iallgather(MPI.IN_PLACE, self._buffers.out)
            self.stage = SHARED
        if self.stage == SHARED and self.request.Test():
            self._widen()
            self._line.give_back(self._flat.size, self._buffers)
            self.stage = DONE
        return self.stage

    def _of(self, rank: int) -> np.ndarray:
        """The block of a rank; the last ones may be shorter, or empty."""
        length = self._line.block(self._flat.size)
        return self._flat[rank * length : (rank + 1) * length]

    def _add(self) -> None:
        """Sum up the own block into the row that is shared."""
        line, size = self._line, self._of(self._line.rank).size
        total = self._buffers.total[:size]
        total.fill(-0.0)  # -0 + x is x, also where x is -0
        for row in self._buffers.into:
            line.half.add(row[:size], total, self._exponent(row))
        self._round(total, self._buffers.out[line.rank])

    def _round(self, numbers: np.ndarray, row: np.ndarray) -> None:
        half = self._line.half
        exponent = half.exponent(numbers)
        half.round(numbers, row[: numbers.size], exponent)
        if half.scaled:
            row[-1:].view(np.int16)[0] = exponent

    def _widen(self) -> None:
        for rank, row in enumerate(self._buffers.out):
            block = self._of(rank)
            self._line.half.widen(row[: block.size], block, self._exponent(row))

    def _exponent(self, row: np.ndarray) -> int:
        return int(row[-1:].view(np.int16)[0]) if self._line.half.scaled else 0
