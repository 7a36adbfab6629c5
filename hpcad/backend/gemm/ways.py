"""Ways to compute a product: which library, how it is spread over threads, what is copied first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from hpcad.backend.gemm.routine import Way
from hpcad.backend.gemm.search import NUMPY, libraries, numpy_library
from hpcad.backend.gemm.spec import Gemm
from hpcad.backend.native.threads import threads

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
    return Way(library, spread=beside, vector=bool(library.gemv) and 1 in (spec.m, spec.n))


def plain_ways(spec: Gemm, count: int, usual: Way) -> Iterator[Way]:
    """The usual way, and then all others that copy no operand.

    With several threads only NumPy's library may use threads of its own. Those of two libraries
    that wait spinning would take each other's cores; so all others are called with one thread, for
    pieces of the product that are spread over the one pool of compiled code.
    """
    yield usual
    for library in libraries():
        if spec.dtype not in library.gemm:
            continue
        vectors = {False, bool(library.gemv) and 1 in (spec.m, spec.n)}
        alone = count == 1 or library.name == NUMPY
        cuts = [(1, 1, False)] if alone else []
        if count > 1 and library.concurrent:
            cuts += [(*parts, True) for parts in _parts(spec, count)]
        for vector, (rows, columns, spread) in product(sorted(vectors), cuts):
            way = Way(library, 0 if spread else count, (rows, columns), spread, vector=vector)
            if way.label != usual.label:
                yield way


def flipped_ways(spec: Gemm, way: Way) -> Iterator[Way]:
    """The same with an operand copied first that does not lie in rows, as libraries like it."""
    for operand in "ab":
        lies_across = getattr(spec, f"trans_{operand}")
        repeated = not any(getattr(spec, f"stride_{operand}"))
        if lies_across and repeated and not way.vector:
            yield replace(way, flip=operand)


def _parts(spec: Gemm, count: int) -> list[tuple[int, int]]:
    """Into how many rows and columns of pieces ``c`` can be cut to occupy the threads."""
    if spec.items >= count:
        return [(1, 1)]
    pieces = -(-count // spec.items)
    grids = [(rows, pieces // rows) for rows in range(1, pieces + 1) if pieces % rows == 0]
    fitting = [grid for grid in grids if _fits(spec.m, grid[0]) and _fits(spec.n, grid[1])]
    # Every thread reads its rows of a and its columns of b: the less, the better.
    fitting.sort(key=lambda grid: spec.m / grid[0] + spec.n / grid[1])
    return fitting[:GRIDS]


def _fits(extent: int, parts: int) -> bool:
    return parts == 1 or extent >= LEAST * parts
