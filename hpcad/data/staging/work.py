"""The course of a stage: what is there, what is missing, copying it, naming it. Collective.

Every step that may fail on one rank ends with an agreement, so that an error there is one of all
and nobody waits for the others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.data.inspect import format_bytes
from hpcad.data.staging.node import NodeStage
from hpcad.data.staging.plan import Nodes, batches, from_text, owners, pieces, to_text, turns
from hpcad.data.staging.room import check_room, chosen_place, no_place, room_for
from hpcad.data.staging.source import Source
from hpcad.data.staging.transfer import Transfer
from hpcad.errors import DataError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator


class StageWork:
    """One call of :func:`~hpcad.data.staging.stage.stage`, seen from one rank.

    Parameters
    ----------
    source : Source
    communicator : Communicator
    node : int
        Number of this rank's node.
    everything : bool
        Whether each node gets all shards; a part of them otherwise.
    keep, sync : bool
        As :func:`~hpcad.data.staging.stage.stage` takes them.

    Attributes
    ----------
    mine : NodeStage
        The copy on this node.
    leads : bool
        Whether this is the first rank of its node.
    """

    def __init__(
        self,
        source: Source,
        communicator: Communicator,
        node: int,
        everything: bool,
        keep: bool,
        sync: bool,
    ) -> None:
        self._source, self._communicator, self._all = source, communicator, everything
        self._sizes = source.sizes
        self._bytes = np.array(source.sizes, np.int64)
        self._nodes = Nodes.of(communicator.gather_json(node, name="stage"))
        self._me, count = self._nodes.index(communicator.rank), len(self._nodes.ranks)
        self._local = self._nodes.ranks[self._me]
        self.leads = self._local[0] == communicator.rank
        shape = (count, len(self._sizes))
        self._needed = np.ones(shape, bool)  # by node and shard
        if not everything:
            self._needed = owners(self._sizes, count) == np.arange(count)[:, None]
        part = "" if everything else f".part-{self._me}-of-{count}"
        self.mine = NodeStage(source, _numbers(self._needed[self._me]), part, keep, sync)
        self._missing = self._needed

    # -- what is there -----------------------------------------------------------------------------

    def find(self, to: str | os.PathLike[str]) -> None:
        """Choose the place, see what is there already, and begin what is missing."""
        mine = self.mine
        mine.place = self._place(to)
        self._lead(mine.look)
        told = self._tell()
        good = [file for file in self._dealt(mine.candidates()) if mine.is_good(file)]
        count = len(self._sizes)
        every = self._communicator.gather_json(to_text(good, count), name="stage")
        have = np.zeros_like(self._needed)
        for number, ranks in enumerate(self._nodes.ranks):
            for rank in ranks:
                have[number] |= from_text(every[rank], count)
        self._missing = self._needed & ~have
        needs = [room_for(self._bytes[missing]) for missing in self._missing]
        check_room(needs, [each["free"] for each in told], [each["folder"] for each in told])
        self._lead(lambda: mine.begin(_numbers(have[self._me])))
        self._tell()

    def _place(self, to: str | os.PathLike[str]) -> Path:
        """What the first rank of this node chooses; NoRoomError if one finds nothing."""
        chosen: list[str | None] = [None]

        def choose() -> None:
            needed = room_for(self._bytes[self._needed[self._me]])
            place = chosen_place(to, self.mine.name, needed)
            chosen[0] = None if place is None else os.fspath(place)

        self._lead(choose)
        every = self._communicator.gather_json(chosen[0], name="stage")
        for number, ranks in enumerate(self._nodes.ranks):
            if every[ranks[0]] is None:
                no_place(number, int(self._bytes[self._needed[number]].sum()))
        return Path(every[self._local[0]])

    # -- copying -----------------------------------------------------------------------------------

    def copy(self, progress: Callable[[str], None] | None = None) -> tuple[int, int]:
        """Copy what is missing, compare it, and name the copy.

        Returns
        -------
        tuple of int
            Bytes that all ranks have read from the source, and bytes copied to a node (average).
        """
        ring, group, groups = self._ring()
        folder, nodes = self.mine.found.folder, len(self._missing)
        copies = self._bytes * self._missing.sum(axis=0)  # bytes of each shard on all nodes
        began, done, total = time.perf_counter(), 0, int(copies.sum())
        with Transfer(
            self._communicator, ring, self._source.directory, folder, self.mine.names
        ) as transfer:
            error: DataError | None = None
            for files in self._plan():
                dealt = turns(pieces(self._sizes, files[self._me]), group, groups, len(ring))
                here = [file for file in files[self._me] if self._missing[self._me, file]]
                # A record that could not be written is told with the next batch's errors.
                error = transfer.copy(dealt, here) or error
                self._communicator.agree(error, name="stage")
                error = self._accept(here)
                done += int(copies[sorted({file for of_node in files for file in of_node})].sum())
                if progress is not None and self._communicator.rank == 0:
                    progress(_line(done, total, nodes, time.perf_counter() - began))
            read = np.array([transfer.read_bytes], np.int64)
        self._communicator.agree(error, name="stage")
        self._lead(self.mine.finish)
        self._tell()
        self._communicator.allreduce(read, name="stage")
        return int(read[0]), total // nodes

    def _accept(self, files: Sequence[int]) -> DataError | None:
        """Compare what was copied; each rank of the node a part of it. Record it."""

        def compare() -> None:
            for file in self._dealt(files):
                self.mine.accept(file)

        self._communicator.agree(self._problem(compare, True), name="stage")
        return self._problem(lambda: self.mine.note(files), self.leads)

    def _ring(self) -> tuple[list[int], int, int]:
        """The ranks with which this one exchanges pieces, its ring's number, and how many share."""
        rank = self._communicator.rank
        if not self._all:
            return [rank], self._local.index(rank), len(self._local)
        rings = self._nodes.rings()
        number = self._local.index(rank)
        # A node with more ranks than the smallest one: those beyond read nothing, but compare.
        return list(rings[number]) if number < len(rings) else [], number, len(rings)

    def _plan(self) -> list[list[list[int]]]:
        """For each batch the files of each node; a copy of everything is the same for all."""
        if self._all:
            missing = _numbers(np.any(self._missing, axis=0))
            return [[batch] * len(self._missing) for batch in batches(self._sizes, missing)]
        # Nodes that have less to do take part in the agreements about the others' last batches.
        each = [batches(self._sizes, _numbers(missing)) for missing in self._missing]
        longest = max(map(len, each))
        return [[b[i] if i < len(b) else [] for b in each] for i in range(longest)]

    def _dealt(self, files: Sequence[int]) -> list[int]:
        """This rank's share of what the ranks of a node do together."""
        return list(files[self._local.index(self._communicator.rank) :: len(self._local)])

    # -- all together ------------------------------------------------------------------------------

    def _lead(self, action: Callable[[], Any]) -> None:
        """Let the first rank of each node do something."""
        self._communicator.agree(self._problem(action, self.leads), name="stage")

    def _problem(self, action: Callable[[], Any], mine: bool) -> DataError | None:
        """What went wrong with something that is this rank's to do, or is not."""
        try:
            if mine:
                action()
        except DataError as error:
            return error
        except OSError as error:
            where = error.filename or self.mine.place
            return DataError(
                f"{where}: cannot be used for a stage ({error.strerror}); check its rights and "
                "room, or stage to another place"
            )
        return None

    def _tell(self) -> list[dict[str, Any]]:
        """Let all ranks of a node know what its first one knows. Return what those know."""
        every = self._communicator.gather_json(self.mine.told() if self.leads else None, "stage")
        self.mine.adopt(every[self._local[0]])
        return [every[ranks[0]] for ranks in self._nodes.ranks]


def _numbers(chosen: np.ndarray) -> list[int]:
    """Numbers of the shards that are chosen."""
    return [int(number) for number in np.flatnonzero(chosen)]


def _line(done: int, total: int, nodes: int, seconds: float) -> str:
    speed = format_bytes(done / nodes / max(seconds, 1e-9))
    return (
        f"staged {format_bytes(done / nodes)} of {format_bytes(total / nodes)} a node ({speed}/s)"
    )
