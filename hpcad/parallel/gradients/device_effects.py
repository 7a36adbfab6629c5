"""What the effects of a data-parallel engine are for a program on a device.

========================== ============ ==========================================================
reductions                 graphs       effects
========================== ============ ==========================================================
none: one rank             one          keep books
inside of the graph        one          those that complete a bucket have two parts: books, and
                                        its reduction; the last one joins what was forked
between graphs             one a bucket the parameter that completes a bucket ends a graph
========================== ============ ==========================================================

Which parameter completes what is found out beforehand, by counting as the engine will.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hpcad.parallel.gradients.buckets import Bucket
from hpcad.program.device.effect_kinds import Staged, nothing

if TYPE_CHECKING:
    from hpcad.parallel.gradients.data_parallel import DataParallel

Kinds = Callable[[str, tuple[Any, ...]], str | Staged]


def device_effects(engine: DataParallel) -> Kinds:
    """A function from the effects of one program, in their order, to what they are."""
    if engine.world.size == 1:
        return lambda _name, _args: "host"
    if engine._graph is not None and engine._graph.allowed:
        return _InGraph(engine)
    return _BetweenGraphs(engine)


def _counts(engine: DataParallel) -> dict[int, int]:
    """How many gradients each bucket waits for."""
    return {id(b): sum(not p.frozen for p in b.parameters) for b in engine.buckets}


class _BetweenGraphs:
    """Counts down buckets, in backward passes that reduce and not in those of ``no_sync``."""

    def __init__(self, engine: DataParallel) -> None:
        self._engine: Any = engine
        self._local: int = engine._local
        self._pending = _counts(engine)

    def __call__(self, name: str, args: tuple[Any, ...]) -> str:
        if name == "_go_local":
            self._local += args[0]
            return "host"
        if name == "seed_scale":
            self._pending = _counts(self._engine)
        if name not in ("ready", "finish"):
            return "boundary"
        if self._local:
            return "host"  # nothing is reduced
        if name == "finish":
            return "boundary"
        bucket = id(self._engine._bucket_of[id(args[0])])
        self._pending[bucket] -= 1
        return "host" if self._pending[bucket] else "boundary"


class _InGraph:
    """Counts as :class:`~hpcad.parallel.gradients.in_flight.InFlight` does, without doing it."""

    def __init__(self, engine: DataParallel) -> None:
        self._engine: Any = engine
        self._local: int = engine._local
        self._averaged = False  # whether gradients of this program are averages already
        self._begin()

    def __call__(self, name: str, args: tuple[Any, ...]) -> str | Staged:
        if name == "_go_local":
            self._local += args[0]
            return "host"
        if name == "seed_scale":
            self._begin()
            # It may undo an average, which must be there: what is done on the host comes first.
            return "boundary" if self._averaged else "host"
        if name == "ready":
            return Staged(nothing) if self._local else self._ready(args[0])
        if name == "finish":
            return "host" if self._local else self._finish()
        return "boundary"

    def _begin(self) -> None:
        buckets = self._engine.buckets
        self._pending = _counts(self._engine)
        self._left: list[Bucket] = list(buckets)

    def _ready(self, parameter: Any) -> str | Staged:
        self._pending[id(self._engine._bucket_of[id(parameter)])] -= 1
        found: list[Bucket] = []
        while self._engine.overlap and self._left and not self._pending[id(self._left[0])]:
            found.append(self._left.pop(0))
        if not found:
            return Staged(nothing)  # counted already
        return Staged(lambda: self._note(found), lambda: self._reduce(found), self._engine._graph)

    def _finish(self) -> Staged:
        self._averaged = True
        rest, self._left = self._left, []

        def before() -> None:
            started = time.perf_counter()
            self._note(rest)
            self._engine._finished(started)

        def enqueue() -> None:
            self._reduce(rest)
            self._engine._graph.join()

        return Staged(before, enqueue, self._engine._graph)

    def _note(self, buckets: list[Bucket]) -> None:
        """Nobody has written what is zeroed here, so that it may come before the graph."""
        for bucket in buckets:
            bucket.zero_unused()

    def _reduce(self, buckets: list[Bucket]) -> None:
        for bucket in buckets:
            self._engine._graph.reduce(bucket.gradients)
