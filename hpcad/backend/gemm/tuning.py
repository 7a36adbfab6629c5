"""The choice between libraries and ways, measured once per product and remembered."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from hpcad.backend.gemm.binding import bound
from hpcad.backend.gemm.library import Library
from hpcad.backend.gemm.record import record
from hpcad.backend.gemm.routine import AXES, Way, compiled
from hpcad.backend.gemm.search import libraries
from hpcad.backend.gemm.spec import Gemm
from hpcad.backend.gemm.ways import flipped_ways, plain_ways, usual_way
from hpcad.backend.native.threads import threads

log = logging.getLogger(__name__)

WORTHWHILE = 50_000  # operations; below, the call costs more than a library could save
MARGIN = 0.97  # another way is taken when it needs less than this share of the usual one's time
HOPELESS = 1.2  # ways slower than the best so far by this factor get no further try
FLIPPED = 2  # the fastest ways, which are tried with a transposed copy as well
BUDGET = 0.03  # seconds for a product whose calls are short
ROUNDS = 20
SHORTEST = 50e-6  # seconds that one sample takes at least
STIRRED = 1 << 17  # numbers that are touched between samples: 1 MiB

_lock = threading.Lock()


def best_way(spec: Gemm) -> Way | None:
    """The fastest way to compute a product on this machine with the threads that there are now.

    Measured on memory of its own when the product is first seen, within :data:`BUDGET` seconds (or
    three calls of each way, where they are long), then kept on disk
    (:mod:`hpcad.backend.gemm.record`). A way must be 3 % faster than the usual one
    (:func:`~hpcad.backend.gemm.ways.usual_way`) to replace it.

    Returns
    -------
    Way or None
        ``None``: ``np.matmul``.

    Notes
    -----
    Libraries round differently. A choice that is measured anew (on another machine, after a lost
    cache), or by another rank, may differ where two ways are close, and then so do the last bits
    of results. ``HPCAD_BLAS=numpy`` leaves only NumPy's library; binding without ``tune`` always
    takes the usual way.
    """
    chosen = _chosen(spec)
    return usual_way(spec) if chosen is None else chosen[0]


def seconds(spec: Gemm) -> float | None:
    """What the best way took when it was measured; ``None`` where nothing is measured.

    Compared with that of ``spec.flipped("b")`` it says whether a weight that is used many times
    is better kept in the other layout.
    """
    chosen = _chosen(spec)
    return None if chosen is None else chosen[1]


def _chosen(spec: Gemm) -> tuple[Way, float] | None:
    """``None`` where there is no choice, or it is not worth measuring."""
    usual = usual_way(spec)
    if usual is None or spec.flops < WORTHWHILE or compiled() is None or len(spec.batch) > AXES:
        return None
    # The time does not depend on the factors, but on whether c is read.
    shape = dataclasses.replace(spec, alpha=1.0, beta=1.0 if spec.beta != 0 else 0.0)
    return _best(shape, threads(), libraries(), usual)


@functools.lru_cache(maxsize=4096)
def _best(spec: Gemm, count: int, candidates: tuple[Library, ...], usual: Way) -> tuple[Way, float]:
    plain = list(plain_ways(spec, count, usual))
    every = [*plain, *(flipped for way in plain for flipped in flipped_ways(spec, way))]
    ways = {way.label: way for way in every}
    kept = record(candidates, count)
    with _lock:  # threads that measure beside each other measure nonsense
        found = kept.get(spec, ways)
        if found is None:
            found = _measured(spec, plain, count)
            kept.put(spec, *found)
    label, took = found
    return ways[label], took


# -- the race -----------------------------------------------------------------------------------


def _measured(spec: Gemm, plain: list[Way], count: int) -> tuple[str, float]:
    """Label and seconds of the winner; ``plain[0]`` is the usual way."""
    scratch = [_scratch(*need) for need in _needs(spec)]
    race = _Race(spec, [x.ctypes.data for x in scratch], count)
    race.run(plain)
    flipped = [flip for way in race.leaders()[:FLIPPED] for flip in flipped_ways(spec, way)]
    race.run([*flipped, plain[0]] if flipped else [])
    winner = race.leaders()[0]
    if race.best[winner] > MARGIN * race.best[plain[0]]:
        winner = plain[0]
    log.debug("%s: %s of %s", spec, winner.label, race)
    return winner.label, race.best[winner]


class _Race:
    """Ways that take turns, and the best time of each."""

    def __init__(self, spec: Gemm, pointers: list[int], count: int) -> None:
        self.best: dict[Way, float] = {}
        self._spec, self._pointers = spec, pointers
        self._calls: dict[Way, Callable[[], object]] = {}
        self._stirred = np.zeros(STIRRED)
        # Alone, the time of the thread itself is immune to what else runs on the machine.
        self._clock = time.thread_time if count == 1 else time.perf_counter

    def leaders(self) -> list[Way]:
        """The fastest first."""
        return sorted(self.best, key=self.best.__getitem__)

    def run(self, running: list[Way]) -> None:
        deadline = self._clock() + BUDGET
        repeats = 1
        for turn in range(ROUNDS):
            for way in running:
                took = self._sample(way, repeats)
                self.best[way] = min(took, self.best.get(way, took))
            fastest = min(self.best.values())
            repeats = max(1, int(SHORTEST / fastest))
            running = [w for w in running if self.best[w] < HOPELESS * fastest]
            if len(running) <= 1 or (self._clock() > deadline and turn >= 1):
                return

    def _sample(self, way: Way, repeats: int) -> float:
        if way not in self._calls:
            self._calls[way] = bound(self._spec, way, *self._pointers)
            self._calls[way]()  # libraries prepare themselves, memory is touched
        call, library = self._calls[way], compiled()
        if library is not None:
            library.hp_stir(self._stirred.ctypes.data, STIRRED)
        started = self._clock()
        for _ in range(repeats):
            call()
        return (self._clock() - started) / repeats

    def __str__(self) -> str:
        return ", ".join(f"{way.label} {1e6 * took:.0f} us" for way, took in self.best.items())


def _needs(spec: Gemm) -> Iterator[tuple[int, str]]:
    """Elements that each operand reaches."""
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
