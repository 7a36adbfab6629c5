"""The choice between libraries and ways, measured once per product and remembered."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from hpcad.backend.gemm.binding import bound, usual_way
from hpcad.backend.gemm.record import record
from hpcad.backend.gemm.routine import AXES, Way, routine
from hpcad.backend.gemm.search import libraries
from hpcad.backend.gemm.spec import Gemm
from hpcad.backend.native.threads import threads

log = logging.getLogger(__name__)

WORTHWHILE = 50_000  # operations; below, the call costs more than a library could save
MARGIN = 0.97  # another way is taken when it needs less than this share of the usual one's time
HOPELESS = 1.3  # ways slower than the best so far by this factor get no second try
BUDGET = 0.03  # seconds for a product whose calls are short
ROUNDS = 20
SHORTEST = 50e-6  # seconds that one sample takes at least
LEAST = 32  # rows or columns of a piece for one thread

_lock = threading.Lock()


def best_way(spec: Gemm) -> Way | None:
    """The fastest way to compute a product on this machine with the threads that there are now.

    Measured on memory of its own when the product is first seen, within :data:`BUDGET` seconds (or
    three rounds, where calls are long), then kept on disk (:mod:`hpcad.backend.gemm.record`). A
    way must be 3 % faster than the usual one (:func:`~hpcad.backend.gemm.binding.usual_way`) to
    replace it.

    Returns
    -------
    Way or None
        ``None``: ``np.matmul``.

    Notes
    -----
    Libraries round differently. A choice that was measured anew (another machine, a lost cache),
    or by another rank, may differ where two ways are close, and so may the last bits of results.
    ``HPCAD_BLAS=numpy`` with one thread, or binding without ``tune``, always takes the same way.
    """
    usual = usual_way(spec)
    if usual is None or spec.flops < WORTHWHILE or routine() is None or len(spec.batch) > AXES:
        return usual
    return _best(_shape(spec), threads(), libraries(), usual)[0]


def seconds(spec: Gemm) -> float | None:
    """What the best way took when it was measured; ``None`` where nothing is measured.

    With :meth:`Gemm.flipped` it answers whether an operand that is used many times should be kept
    in the other layout.
    """
    usual = usual_way(spec)
    if usual is None or spec.flops < WORTHWHILE or routine() is None or len(spec.batch) > AXES:
        return None
    return _best(_shape(spec), threads(), libraries(), usual)[1]


def _shape(spec: Gemm) -> Gemm:
    """What the time depends on: not on the factors, but on whether ``c`` is read."""
    return dataclasses.replace(spec, alpha=1.0, beta=1.0 if spec.beta != 0 else 0.0)


@functools.lru_cache(maxsize=4096)
def _best(spec: Gemm, count: int, candidates: tuple, usual: Way) -> tuple[Way, float]:
    ways = {way.label: way for way in _ways(spec, count, usual)}
    kept = record(candidates, count)
    with _lock:  # threads that measure beside each other measure nonsense
        found = kept.get(spec, ways)
        if found is None:
            found = _measured(spec, list(ways.values()))
            kept.put(spec, *found)
    label, took = found
    return ways[label], took


# -- ways ---------------------------------------------------------------------------------------


def _ways(spec: Gemm, count: int, usual: Way) -> Iterator[Way]:
    """The usual way first."""
    yield usual
    for library in libraries():
        if spec.dtype not in library.gemm:
            continue
        flips = ["", *(x for x in "ab" if _flippable(spec, x))]
        vector = bool(library.gemv) and 1 in (spec.m, spec.n)
        for vectors in {False, vector}:
            for flip in flips:
                for parts, spread in _spreads(spec, count, library.concurrent):
                    way = Way(library, 0 if spread else count, parts, spread, flip, vectors)
                    if way.label != usual.label:
                        yield way


def _flippable(spec: Gemm, operand: str) -> bool:
    """Libraries like rows; an operand that lies the other way may be worth a copy."""
    stride, trans = getattr(spec, f"stride_{operand}"), getattr(spec, f"trans_{operand}")
    return trans and not any(stride) and min(spec.m, spec.n) >= 8


def _spreads(spec: Gemm, count: int, concurrent: bool) -> Iterator[tuple[tuple[int, int], bool]]:
    """Within calls by the library's own threads, or between calls by the pool's."""
    yield (1, 1), False
    if count == 1 or not concurrent:
        return
    if spec.items >= count:
        yield (1, 1), True
        return
    pieces = -(-count // spec.items)
    for rows in range(1, pieces + 1):
        columns = pieces // rows
        fits = spec.m >= LEAST * rows or rows == 1
        if rows * columns == pieces and fits and (spec.n >= LEAST * columns or columns == 1):
            yield (rows, columns), True


# -- the race -----------------------------------------------------------------------------------


def _measured(spec: Gemm, ways: list[Way]) -> tuple[str, float]:
    """Label and seconds of the winner; ``ways[0]`` is the usual one."""
    a, b, c = (_scratch(*need) for need in _needs(spec))
    calls = [bound(spec, way, *(x.ctypes.data for x in (a, b, c))) for way in ways]
    disturb = np.zeros(1 << 18)  # what other instructions of a step leave in the caches
    best = [float("inf")] * len(ways)
    running = list(range(len(ways)))
    deadline = time.perf_counter() + BUDGET
    repeats = 1
    for turn in range(ROUNDS):
        for i in running:
            if turn == 0:
                calls[i]()  # libraries prepare themselves, memory is touched
            disturb += 1.0
            best[i] = min(best[i], _timed(calls[i], repeats))
        fastest = min(best)
        repeats = max(1, int(SHORTEST / fastest))
        running = [i for i in running if i == 0 or best[i] < HOPELESS * fastest]
        if len(running) == 1 or (time.perf_counter() > deadline and turn >= 2):
            break
    winner = min(running, key=best.__getitem__)
    if best[winner] > MARGIN * best[0]:
        winner = 0
    log.debug(
        "%s: %s; %s",
        spec,
        ways[winner].label,
        ", ".join(f"{way.label} {1e6 * t:.0f} us" for way, t in zip(ways, best, strict=True)),
    )
    return ways[winner].label, best[winner]


def _timed(call: Callable[[], object], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


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
