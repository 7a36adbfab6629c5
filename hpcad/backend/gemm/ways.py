"""Ways to compute a product: which library, how it is spread over threads, what is copied first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from hpcad.backend.gemm.library import Library
from hpcad.backend.gemm.routine import Way
from hpcad.backend.gemm.search import numpy_library
from hpcad.backend.gemm.spec import Gemm
from hpcad.backend.native.threads import threads

SMALL = 4_000_000  # operations, 40 us or so; below, waking a thread costs more than it saves
LEAST = 32  # rows or columns of a piece for one thread
GRIDS = 3  # ways to cut one matrix that are tried


def usual_way(spec: Gemm) -> Way | None:
    """As ``np.matmul`` does it, the loop over a batch excepted; ``None``: by ``np.matmul`` itself.

    The items of a batch run beside each other where there are as many of them as threads.
    """
    library = numpy_library()
    if library is None or (spec.m == 1 and spec.n == 1):  # there NumPy takes neither gemm nor gemv
        return None
    beside = spec.items > 1 and library.concurrent and spec.items >= threads() > 1
    return Way(library, spread=beside, vector=_as_vector(spec, library))


def plain_ways(spec: Gemm, count: int, libraries: tuple[Library, ...]) -> Iterator[Way]:
    """All ways that copy no operand.

    Libraries are called with one thread each, for pieces that are spread over the pool of compiled
    code: threads of their own that wait spinning for the next product would take the cores of the
    instructions in between, and of each other.
    """
    for library in libraries:
        if spec.dtype not in library.gemm:
            continue
        grids = _parts(spec, count) if library.concurrent and spec.flops >= SMALL else []
        cuts = [(*parts, True) for parts in grids] or [(1, 1, False)]
        vectors = {False, _as_vector(spec, library)}
        for vector, (rows, columns, spread) in product(sorted(vectors), cuts):
            yield Way(library, 1, (rows, columns), spread, vector=vector)


def flipped_ways(spec: Gemm, way: Way) -> Iterator[Way]:
    """The same with an operand copied first that does not lie in rows, as libraries like it."""
    for operand in "ab":
        lies_across = getattr(spec, f"trans_{operand}")
        repeated = not any(getattr(spec, f"stride_{operand}"))
        if lies_across and repeated and not way.vector:
            yield replace(way, flip=operand)


def one_piece(spec: Gemm, way: Way, count: int) -> tuple[Gemm, int]:
    """What one thread computes at a time, and how many times."""
    if not way.spread:
        return spec, 1
    (rows, columns), items = way.parts, spec.items
    share = -(-items * rows * columns // count)
    if way.parts != (1, 1) or not spec.batch:
        m, n = -(-spec.m // rows), -(-spec.n // columns)
        return replace(spec, m=m, n=n, batch=(), stride_a=(), stride_b=(), stride_c=()), share
    last = spec.batch[-1]
    batch = (share,) if share <= last or len(spec.batch) == 1 else (-(-share // last), last)
    a, b, c = (steps[-len(batch) :] for steps in (spec.stride_a, spec.stride_b, spec.stride_c))
    return replace(spec, batch=batch, stride_a=a, stride_b=b, stride_c=c), 1


def _as_vector(spec: Gemm, library: Library) -> bool:
    # A vector of sums of nothing is left as it is by gemv, and made zero by gemm.
    return spec.dtype in library.gemv and 1 in (spec.m, spec.n) and spec.k > 0


def _parts(spec: Gemm, count: int) -> list[tuple[int, int]]:
    """Into how many rows and columns of pieces ``c`` can be cut to occupy the threads."""
    if count == 1 or spec.items >= count:
        return [(1, 1)] if count > 1 else []
    pieces = -(-count // spec.items)
    grids = [(rows, pieces // rows) for rows in range(1, pieces + 1) if pieces % rows == 0]
    fitting = [grid for grid in grids if _fits(spec.m, grid[0]) and _fits(spec.n, grid[1])]
    # Every thread reads its rows of a and its columns of b: the less, the better.
    fitting.sort(key=lambda grid: spec.m / grid[0] + spec.n / grid[1])
    return fitting[:GRIDS]


def _fits(extent: int, parts: int) -> bool:
    return parts == 1 or extent >= LEAST * parts
