"""Who reads what, and how the others get it: every run of bytes is read by one rank."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpcad.checkpoint.manifest import ArraySpec, SliceSpec
from hpcad.parallel.communicator import Communicator

_PACKED = 1 << 20  # shorter runs travel together
_MESSAGE = 1 << 28


@dataclass(frozen=True)
class Run:
    """Bytes of an array that one rank reads and all ranks get.

    Attributes
    ----------
    array : str
        Its name.
    begin, end : int
        Byte range in the flat array.
    reader : int
        The rank.
    spec, piece : ArraySpec and SliceSpec, or None
        Where it lies in a checkpoint directory.
    """

    array: str
    begin: int
    end: int
    reader: int
    spec: ArraySpec | None = None
    piece: SliceSpec | None = None


def assign(specs: Iterable[ArraySpec], size: int) -> list[Run]:
    """Spread all slices of arrays evenly over `size` ranks.

    The longest slice first, always to the rank that has the least so far: no rank reads more than
    4/3 of the best division (R. L. Graham, Bounds on multiprocessing timing anomalies, 1969).
    """
    pieces = [(spec, piece) for spec in specs for piece in spec.slices]
    pieces.sort(key=lambda item: -item[1].count * item[0].itemsize)  # stable: alike on all ranks
    loads = [(0, rank) for rank in range(size)]
    runs = []
    for spec, piece in pieces:
        load, rank = heapq.heappop(loads)
        begin, length = piece.start * spec.itemsize, piece.count * spec.itemsize
        heapq.heappush(loads, (load + length, rank))
        runs.append(Run(spec.name, begin, begin + length, rank, spec, piece))
    return runs


def share(runs: Sequence[Run], data: Mapping[str, np.ndarray], communicator: Communicator) -> None:
    """Give every rank what the readers of the runs have; collective.

    Parameters
    ----------
    data
        Name -> the array as flat bytes (uint8), of the same size on all ranks.
    """
    if communicator.size == 1:
        return
    for rank in range(communicator.size):
        own = [run for run in runs if run.reader == rank]
        _share_packed([r for r in own if r.end - r.begin < _PACKED], data, communicator, rank)
        for run in own:
            if run.end - run.begin >= _PACKED:
                _share_bytes(data[run.array][run.begin : run.end], communicator, rank, run.array)


def _share_packed(
    runs: Sequence[Run], data: Mapping[str, np.ndarray], communicator: Communicator, rank: int
) -> None:
    if not runs:
        return
    packed = np.empty(sum(run.end - run.begin for run in runs), np.uint8)
    if communicator.rank == rank:
        np.concatenate([data[run.array][run.begin : run.end] for run in runs], out=packed)
    _share_bytes(packed, communicator, rank, "small arrays")
    at = 0
    for run in runs:
        length = run.end - run.begin
        if communicator.rank != rank:
            data[run.array][run.begin : run.end] = packed[at : at + length]
        at += length


def _share_bytes(data: np.ndarray, communicator: Communicator, rank: int, name: str) -> None:
    for begin in range(0, data.size, _MESSAGE):
        communicator.broadcast(data[begin : begin + _MESSAGE], rank, name)
