"""One step of one rank, event by event: computation, and collectives that run beside it.

All ranks do the same, so that one of them stands for all; the slowest one starts a collective. The
computation is a row of segments. A collective is ready when its segment is done, and collectives
start in their order, as on all ranks alike. Each of their stages keeps the channels of some levels
busy, a channel serves one stage at a time, and stages take their turns in the order in which they
come. Thus the outer network reduces one bucket while the ranks of a node scatter the next.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpcad.scaling.simulation.collectives import Stage


@dataclass(frozen=True)
class Segment:
    """A piece of computation; it begins when the collectives up to ``needs`` are done.

    Attributes
    ----------
    seconds : float
    needs : int
        Number of a collective; -1: none.
    """

    seconds: float
    needs: int = -1


@dataclass(frozen=True)
class Collective:
    """A collective that is ready when the segment ``after`` is done; -1: from the beginning."""

    after: int
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Played:
    """What came of it.

    Attributes
    ----------
    end : float
        Seconds from the beginning until all is done.
    computing : float
        Of that, what the segments take where nothing slows them down.
    communicating : float
        Seconds in which at least one collective was under way.
    """

    end: float
    computing: float
    communicating: float

    @property
    def exposed(self) -> float:
        """Seconds by which collectives make the step longer."""
        return self.end - self.computing


def play(
    segments: Sequence[Segment], collectives: Sequence[Collective], steals: float = 0.0
) -> Played:
    """Play a step.

    Parameters
    ----------
    steals
        Share of its speed that computation loses while a collective is under way.
    """
    return _Play(segments, collectives, 1.0 - steals).run()


class _Play:
    def __init__(
        self, segments: Sequence[Segment], collectives: Sequence[Collective], slowed: float
    ) -> None:
        self.segments, self.collectives, self.slowed = segments, collectives, slowed
        self.now = self.busy_seconds = 0.0
        self.at, self.left = 0, segments[0].seconds if segments else 0.0
        self.begun = 0  # collectives that were started
        self.done: list[bool] = [not c.stages for c in collectives]
        self.finished = 0  # all collectives before this one are done
        self.running: list[tuple[float, int, int]] = []  # (end, collective, stage)
        self.waiting: list[tuple[int, int]] = []  # (collective, stage), in order of arrival
        self.busy: set[int] = set()  # channels

    def run(self) -> Played:
        self._begin_ready()
        while True:
            ends = self.running[0][0] if self.running else math.inf
            speed = self.slowed if self.running else 1.0
            reaches = self._reaches(speed)
            upcoming = min(ends, reaches)
            if upcoming == math.inf:
                break
            self._advance(upcoming, speed)
            if reaches <= ends:
                self.at += 1
                self.left = self.segments[self.at].seconds if self.at < len(self.segments) else 0.0
                self._begin_ready()
            else:
                self._end_stage()
        computing = sum(segment.seconds for segment in self.segments)
        return Played(self.now, computing, self.busy_seconds)

    def _reaches(self, speed: float) -> float:
        """When the segment that is computed will be done."""
        if self.at == len(self.segments) or self.segments[self.at].needs >= self.finished:
            return math.inf
        if self.left == 0:
            return self.now
        return self.now + self.left / speed if speed > 0 else math.inf

    def _advance(self, time: float, speed: float) -> None:
        if self.at < len(self.segments) and self.segments[self.at].needs < self.finished:
            self.left = max(self.left - (time - self.now) * speed, 0.0)
        if self.running:
            self.busy_seconds += time - self.now
        self.now = time

    def _begin_ready(self) -> None:
        """Hand over the first stages of what has become ready, in order."""
        while self.begun < len(self.collectives):
            if self.collectives[self.begun].after >= self.at:
                break
            if self.collectives[self.begun].stages:
                self.waiting.append((self.begun, 0))
            self.begun += 1
        self._serve()
        self._count_finished()

    def _serve(self) -> None:
        """Start every stage whose channels are free, and that none before it waits for."""
        taken, left = set(self.busy), []
        for number, stage in self.waiting:
            wanted = self.collectives[number].stages[stage]
            if taken.isdisjoint(wanted.levels):
                self.busy.update(wanted.levels)
                heapq.heappush(self.running, (self.now + wanted.seconds, number, stage))
            else:
                left.append((number, stage))
            taken.update(wanted.levels)
        self.waiting = left

    def _end_stage(self) -> None:
        _, number, stage = heapq.heappop(self.running)
        stages = self.collectives[number].stages
        self.busy.difference_update(stages[stage].levels)
        if stage + 1 < len(stages):
            self.waiting.append((number, stage + 1))
        else:
            self.done[number] = True
            self._count_finished()
        self._serve()

    def _count_finished(self) -> None:
        while self.finished < self.begun and self.done[self.finished]:
            self.finished += 1
