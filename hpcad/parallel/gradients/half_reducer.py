"""Sums of gradients in half precision between ranks: an engine's choice, never made by itself.

=====================  ============================================================================
communicator           what travels in half precision
=====================  ============================================================================
``mpi``, ``naive``     everything (:mod:`hpcad.parallel.gradients.half_exchange`)
``node``, many nodes   what goes from node to node; within one, the sum is exact
``node``, one node     nothing: ranks that share memory send nothing, so that the sum is exact
``serial``             nothing
=====================  ============================================================================

Only sums of float32 and float64; every other reduction goes the exact way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from hpcad.backend.native.half import FORMATS, Half
from hpcad.errors import ConfigError
from hpcad.parallel.buffer import reducible
from hpcad.parallel.communicator import Communicator, Request
from hpcad.parallel.gradients.communication_thread import thread_of
from hpcad.parallel.gradients.progress import Progress

if TYPE_CHECKING:  # they load MPI
    from hpcad.parallel.gradients.half_exchange import HalfExchange, HalfLine
    from hpcad.parallel.mpi_request import Started
    from hpcad.parallel.record import Record

REDUCTIONS = ("exact", *FORMATS)


class HalfReducer:
    """Starts reductions on a communicator of several ranks; sums travel in half precision.

    Collective.

    Parameters
    ----------
    communicator : MpiCommunicator
    half : Half
    """

    def __init__(self, communicator: Any, half: Half) -> None:
        from hpcad.parallel.gradients.half_exchange import HalfLine

        self.half = half
        self._communicator = communicator
        self._whole = HalfLine(communicator.comm, half)
        self._lines, self._across = [self._whole], None
        if communicator.kind == "node" and communicator.across:  # false for a null communicator
            self._across = HalfLine(communicator.across, half)
            self._lines.append(self._across)

    @property
    def bytes_sent(self) -> int:
        """What this rank has sent to other ranks (other nodes) for sums so far."""
        return sum(line.bytes_sent for line in self._lines)

    @property
    def bytes_exact(self) -> int:
        """What exact sums would have sent at least: ``2 (W - 1) / W`` times the arrays."""
        return sum(line.bytes_exact for line in self._lines)

    def iallreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> Request:
        """Start a reduction in place; see :class:`Communicator`."""
        group = self._communicator
        flat = reducible(array, op, "iallreduce")
        if op != "sum" or flat.dtype.char not in "fd":
            return group.iallreduce(array, op, name)
        detail = f"sum in {self.half.name}"
        way = group._way(flat, op, self._between) if group.kind == "node" else None
        if way is not None:
            start, where = way
            detail = f"{where}, in {self.half.name} between nodes"
        record = group._door.enter("iallreduce", flat.dtype.str, flat.size, name, detail, False)
        if way is not None:
            return group._begin(start, record)
        return HalfRequest(group._started, record, self._whole, list(group.parts(flat)))

    def _between(self, part: np.ndarray) -> Callable[[], bool]:
        """Start the sum of a node's slice over the nodes; return what asks for its end."""
        line = self._across
        if line is None:  # only ranks without a slice
            raise ConfigError("this rank takes no part in exchanges between nodes")
        exchanges = [line.start(piece) for piece in self._communicator.parts(part)]
        return lambda: all(exchange.test() for exchange in exchanges)


class HalfRequest:
    """A sum under way: one exchange per piece that MPI can count, once the ranks have agreed."""

    def __init__(
        self, started: Started, record: Record, line: HalfLine, pieces: list[np.ndarray]
    ) -> None:
        self._started, self._record, self._line, self._pieces = started, record, line, pieces
        self._exchanges: list[HalfExchange] | None = None
        self._done = False
        started.add(self, record)

    def post(self) -> None:
        """Send the blocks."""
        self._exchanges = [self._line.start(piece) for piece in self._pieces]

    def test(self) -> bool:
        """Let messages progress; return whether the sum is complete."""
        if not self._done:
            self._started.advance()
            if self._exchanges is not None and all(e.test() for e in self._exchanges):
                self._complete()
        return self._done

    def wait(self) -> None:
        """Return when the sum is complete."""
        if self._done:
            return
        self._record.wait()
        if self._exchanges is None:
            self._started.advance(wait=True)
        for exchange in self._exchanges or []:
            self._line.wait(exchange)
        self._complete()

    def _complete(self) -> None:
        self._done = True
        self._record.finish()


_made: WeakKeyDictionary[Communicator, dict[str, HalfReducer]] = WeakKeyDictionary()


def half_reducer_of(communicator: Any, half: Half) -> HalfReducer:
    """The reducer of a communicator and format; one for all engines. Collective."""
    made = _made.setdefault(communicator, {})
    if half.name not in made:
        made[half.name] = HalfReducer(communicator, half)
    return made[half.name]


def in_precision(
    progress: Progress, communicator: Any, reduction: str
) -> tuple[Progress, HalfReducer | None, str]:
    """Let sums travel in half precision, where that was asked for and something travels.

    Collective.

    Parameters
    ----------
    progress : Progress
        Who makes progress, with a reducer that is exact.
    reduction : {"exact", "bfloat16", "float16"}

    Returns
    -------
    progress : Progress
    half : HalfReducer or None
        What counts the bytes; None where sums stay exact.
    says : str
        A clause.

    Raises
    ------
    ConfigError
        Another reduction.
    """
    if reduction not in REDUCTIONS:
        raise ConfigError(f"reduction is one of {', '.join(REDUCTIONS)}, not {reduction!r}")
    if reduction == "exact" or communicator.size == 1:
        return progress, None, "summed exactly"
    if communicator.kind == "node" and communicator.across is None:
        return progress, None, f"summed exactly: in shared memory nothing travels in {reduction}"
    half = FORMATS[reduction]
    communicator.barrier(f"sums of gradients in {reduction}")  # does every rank want that?
    says = f"summed in float32 and sent in {reduction}"
    if communicator.kind == "node":
        says = f"summed exactly within nodes and sent in {reduction} between them"
    if progress.way == "thread":
        thread = thread_of(communicator, reduction, lambda twin: HalfReducer(twin, half))
        return replace(progress, reducer=thread), thread.reducer, says
    reducer = half_reducer_of(communicator, half)
    return replace(progress, reducer=reducer), reducer, says
