"""The choice between libraries and ways, measured once per product and remembered."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading

from hpcad.backend.gemm.library import Library
from hpcad.backend.gemm.race import Race, measured
from hpcad.backend.gemm.record import record
from hpcad.backend.gemm.routine import AXES, Way, compiled
from hpcad.backend.gemm.search import NUMPY, libraries
from hpcad.backend.gemm.spec import Gemm
from hpcad.backend.gemm.ways import flipped_ways, plain_ways, usual_way
from hpcad.backend.native.threads import threads

log = logging.getLogger(__name__)

WORTHWHILE = 50_000  # operations; below, the call costs more than a library could save
MARGIN = 0.97  # another library is taken when it needs less than this share of NumPy's time

_lock = threading.Lock()


def best_way(spec: Gemm) -> Way | None:
    """The fastest way to compute a product on this machine with the threads that there are now.

    Measured on memory of its own when the product is first seen (:mod:`hpcad.backend.gemm.race`),
    then kept on disk (:mod:`hpcad.backend.gemm.record`). Another library, or a copy of an operand,
    must be 3 % faster than NumPy's library without a copy. Libraries run with one thread; what is
    spread over several is spread by the pool of compiled code.

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
    chosen = _chosen(spec.folded())
    return None if chosen is None else chosen[1]


def _chosen(spec: Gemm) -> tuple[Way, float] | None:
    """``None`` where there is no choice, or it is not worth measuring."""
    if spec.flops < WORTHWHILE or compiled() is None or len(spec.batch) > AXES:
        return None
    if usual_way(spec) is None:
        return None
    # The time does not depend on the factors, but on whether c is read.
    shape = dataclasses.replace(spec, alpha=1.0, beta=1.0 if spec.beta != 0 else 0.0)
    return _best(shape, threads(), libraries())


@functools.lru_cache(maxsize=4096)
def _best(spec: Gemm, count: int, candidates: tuple[Library, ...]) -> tuple[Way, float]:
    plain = list(plain_ways(spec, count, candidates))
    every = [*plain, *(flipped for way in plain for flipped in flipped_ways(spec, way))]
    ways = {way.label: way for way in every}
    kept = record(candidates, count)
    with _lock:  # threads that measure beside each other measure nonsense
        found = kept.get(spec, ways)
        if found is None:
            found = winner(measured(spec, plain, count))
            kept.put(spec, *found)
    label, took = found
    return ways[label], took


def winner(race: Race) -> tuple[str, float]:
    """Label and seconds of the way to take."""
    first, *others = race.leaders()
    plain = [way for way in others if way.library.name == NUMPY and not way.flip]
    if plain and race.best[first] > MARGIN * race.best[plain[0]]:
        first = plain[0]
    log.debug("%s: %s of %s", race.spec, first.label, race)
    return first.label, race.best[first]
