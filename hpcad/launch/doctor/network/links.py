"""The links of a launch, measured: between nodes and inside them, without meeting all pairs.

Between nodes the first rank of each plays a tournament (:mod:`.pairing`): all nodes measure at
once, each with one other, 15 rounds at most, whatever the number of nodes. Links that look slow
are measured again, up to twelve times, and the best result counts: a link is called slow because it
always was, and not because something else ran at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcad.launch.doctor.facts import Link
from hpcad.launch.doctor.network.exchange import Exchange
from hpcad.launch.doctor.network.pairing import packed, partner, sample
from hpcad.launch.doctor.network.slow import Way, slow_ends, slow_ways
from hpcad.parallel import World
from hpcad.parallel.communicator import Communicator

_MOST_ROUNDS = 15  # all pairs of up to 16 nodes
_MOST_INSIDE = 3  # rounds inside a node
_PASSES = 2
_AGAIN_ROUNDS = 24
_AGAIN_TIMES, _AGAIN_HOSTS = 12, 2  # at most; of slow hosts
_AGAIN_BUDGET = 4.0  # seconds, after which it is not done once more
_AGAIN_PAUSE = 0.1  # seconds, for what else runs here to pass
_PATIENT = 8  # repeats of what is measured again
_BUDGET = 1.0  # seconds of a pass, after which no round begins
_SPARING = 2e-4  # seconds between two looks of a rank that waits for the others
_SPIN_LIMIT = 5.0  # seconds of that, before the watchdog is to see who waits
_NAME = "measuring the network"


@dataclass(frozen=True)
class Measured:
    """What this rank has measured.

    Attributes
    ----------
    between, inside : list of Link
        From this rank to others, on other nodes and on its own.
    cut : bool
        Whether time ran out before all rounds were played.
    """

    between: list[Link]
    inside: list[Link]
    cut: bool


def measure(world: World, *, thorough: bool = False) -> Measured:
    """Measure links. Collective.

    Parameters
    ----------
    thorough : bool
        Every pair of nodes, for each local rank in turn, and every pair inside a node, however
        long that takes.
    """
    communicator = world.communicator
    nodes, local = _places(world)
    here = [int(rank) for rank in np.flatnonzero(nodes == world.node)]
    lanes = [[int(r) for r in np.flatnonzero(local == lane)] for lane in range(_least(nodes))]
    between, inside = _Tour(communicator, thorough), _Tour(communicator, thorough)
    for _ in range(_PASSES):
        if world.nodes > 1:
            for members in lanes if thorough else lanes[:1]:
                between.play(members, None if thorough else _MOST_ROUNDS)
        inside.play(here, None if thorough else _MOST_INSIDE, int(np.bincount(nodes).max()))
    if world.nodes > 1:
        between.again()
    return Measured(between.links, inside.links, between.cut or inside.cut)


class _Tour:
    """Rounds of measurements, and the best that was found for each link of this rank."""

    def __init__(self, communicator: Communicator, thorough: bool) -> None:
        self._communicator = communicator
        self._exchange = Exchange(communicator)
        self._budget = np.inf if thorough else _BUDGET
        self._best: dict[int, Link] = {}
        self.cut = False

    @property
    def links(self) -> list[Link]:
        return [self._best[peer] for peer in sorted(self._best)]

    def play(self, members: Sequence[int], most: int | None, largest: int = 0) -> None:
        """A tournament of the given ranks; the others wait.

        Parameters
        ----------
        members : sequence of int
            The ranks among which this one may have its partners.
        most : int or None
            Rounds.
        largest : int
            Members of the largest tournament, where several are played at once.
        """
        count, rank = len(members), self._communicator.rank
        mine = sample(count, most) if rank in members else []
        began = time.perf_counter()
        for i in range(len(sample(max(count, largest), most))):
            if i < len(mine):
                place = partner(members.index(rank), mine[i], count)
                if place is not None:
                    self._measure(members[place])
            if self._meet(time.perf_counter() - began) > self._budget:
                self.cut = True
                return

    def again(self) -> None:
        """Measure what looks slow until nothing does, or it stays so.

        Hosts that are slow with nearly all others are sure after two times, single links are not.
        """
        began = time.perf_counter()
        for turn in range(_AGAIN_TIMES):
            ways = self._everyones()
            slow = slow_ways(ways)
            if turn >= _AGAIN_HOSTS:
                _, slow = slow_ends(ways, slow)
            spent = self._meet(time.perf_counter() - began)
            if not slow or spent > _AGAIN_BUDGET:
                return
            time.sleep(_AGAIN_PAUSE)
            pairs = sorted({(min(w.source, w.target), max(w.source, w.target)) for w in slow})
            for players in packed(pairs, _AGAIN_ROUNDS):
                for pair in players:
                    if self._communicator.rank in pair:
                        self._measure(sum(pair) - self._communicator.rank, repeats=_PATIENT)
                self._meet(0.0)

    def _measure(self, peer: int, **options: int) -> None:
        found = self._exchange.with_peer(peer, **options)
        known = self._best.get(peer, found)
        self._best[peer] = Link(
            peer,
            min(known.latency, found.latency),
            max(known.bandwidth, found.bandwidth),
            max(known.undisturbed, found.undisturbed),
        )

    def _meet(self, seconds: float) -> float:
        """Wait for all ranks, leaving the cores to those who measure; the largest ``seconds``."""
        largest = np.array([seconds])
        request = self._communicator.iallreduce(largest, "max", _NAME)
        began = time.perf_counter()
        while not request.test() and time.perf_counter() - began < _SPIN_LIMIT:
            time.sleep(_SPARING)
        request.wait()
        return float(largest[0])

    def _everyones(self) -> list[Way]:
        """The links of all ranks, on every rank, in the same order."""
        communicator = self._communicator
        most = np.array([len(self._best)])
        communicator.allreduce(most, "max", _NAME)
        mine = np.full((int(most[0]), 4), -1.0)
        for row, link in zip(mine, self.links, strict=False):
            row[:] = link.peer, link.latency, link.bandwidth, link.undisturbed
        everyones = np.empty((communicator.size, *mine.shape))
        communicator.allgather(mine, everyones, _NAME)
        return [
            Way(rank, int(peer), *map(float, times))
            for rank, links in enumerate(everyones)
            for peer, *times in links
            if peer >= 0
        ]


def _places(world: World) -> tuple[np.ndarray, np.ndarray]:
    """Node and local rank of every rank, int64, shape (size,)."""
    places = np.empty((world.size, 2), np.int64)
    mine = np.array([world.node, world.local_rank], np.int64)
    world.communicator.allgather(mine, places, _NAME)
    return places[:, 0], places[:, 1]


def _least(nodes: np.ndarray) -> int:
    """Ranks of the smallest node."""
    return int(np.bincount(nodes).min())
