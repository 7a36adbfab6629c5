"""Ways to compute a product, timed in turn.

The clock is that of the thread, which stands still while other programs run. Of a product that is
spread over threads, what one of them does is timed, on this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from hpcad.backend.gemm.binding import bound
from hpcad.backend.gemm.routine import Way
from hpcad.backend.gemm.spec import Gemm
from hpcad.backend.gemm.ways import flipped_ways, one_piece

FLIPPED = 2  # the fastest ways, which are tried with a transposed copy as well
HOPELESS = 1.2  # ways slower than the best so far by this factor get no further try
BUDGET = 0.03  # seconds for a product whose calls are short
ROUNDS = 20
SHORTEST = 50e-6  # seconds that one sample takes at least
STIRRED = 1 << 17  # numbers that are touched between samples: 1 MiB


def measured(spec: Gemm, ways: list[Way], count: int) -> Race:
    """The race of all ways, and of the fastest with a copy first.

    Parameters
    ----------
    ways : list of Way
        Those that copy nothing.
    count : int
        Threads.
    """
    race = Race(spec, count)
    race.run(ways)
    flipped = [flip for way in race.leaders()[:FLIPPED] for flip in flipped_ways(spec, way)]
    race.run(flipped)
    return race


class Race:
    """Ways that take turns.

    Attributes
    ----------
    spec : Gemm
    best : dict
        Seconds that the product takes each way, by the fastest sample.
    """

    def __init__(self, spec: Gemm, count: int) -> None:
        self.spec = spec
        self.best: dict[Way, float] = {}
        self._count = count
        self._scratch = [_scratch(*need) for need in needs(spec)]
        self._calls: dict[Way, tuple[Callable[[], object], int]] = {}
        self._stirred = np.zeros(STIRRED)

    def leaders(self) -> list[Way]:
        """The fastest first."""
        return sorted(self.best, key=self.best.__getitem__)

    def run(self, running: list[Way]) -> None:
        """Give each way its turns, until time is up or only one is left."""
        began, repeats = time.thread_time(), 1
        for turn in range(ROUNDS):
            for way in running:
                took = self._sample(way, repeats)
                self.best[way] = min(took, self.best.get(way, took))
            fastest = min(self.best.values())
            repeats = max(1, int(SHORTEST / fastest))
            running = [way for way in running if self.best[way] < HOPELESS * fastest]
            late = time.thread_time() > began + BUDGET
            if len(running) <= 1 or (late and turn >= 2):
                return

    def _sample(self, way: Way, repeats: int) -> float:
        """Seconds of the whole product."""
        if way not in self._calls:
            piece, times = one_piece(self.spec, way, self._count)
            pointers = (x.ctypes.data for x in self._scratch)
            call = bound(piece, replace(way, parts=(1, 1), spread=False), *pointers)
            call()  # libraries prepare themselves, memory is touched
            self._calls[way] = call, times
        call, times = self._calls[way]
        self._stir()
        began = time.thread_time()
        for _ in range(repeats):
            call()
        return times * (time.thread_time() - began) / repeats

    def _stir(self) -> None:
        """What the instructions between two products do: data moves through the caches."""
        self._stirred += 1.0

    def __str__(self) -> str:
        return ", ".join(f"{way.label} {1e6 * took:.0f} us" for way, took in self.best.items())


def needs(spec: Gemm) -> Iterator[tuple[int, str]]:
    """Elements that each operand reaches, and their dtype."""
    for rows, row, ld, steps in (
        (spec.k if spec.trans_a else spec.m, spec.row_a, spec.lda, spec.stride_a),
        (spec.n if spec.trans_b else spec.k, spec.row_b, spec.ldb, spec.stride_b),
        (spec.m, spec.n, spec.ldc, spec.stride_c),
    ):
        reach = sum((n - 1) * abs(s) for n, s in zip(spec.batch, steps, strict=True))
        yield max(1, (rows - 1) * ld + row + reach), spec.dtype


def _scratch(count: int, dtype: str) -> np.ndarray:
    """Values that stay finite however often they are added up."""
    return np.full(count, 2.0**-10, dtype)
