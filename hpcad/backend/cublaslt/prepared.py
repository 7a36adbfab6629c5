"""Products whose shapes, strides and alignments were met before: only addresses are new."""

from __future__ import annotations

import functools
from typing import Any

from hpcad.backend.cublaslt.checks import check_shapes
from hpcad.backend.cublaslt.context import context_of
from hpcad.backend.cublaslt.descriptors import Descriptor
from hpcad.backend.cublaslt.layout import ALIGNMENT, Arrangement, Meta, arrange, meta
from hpcad.backend.cublaslt.plan import Plan, plan_for
from hpcad.backend.cublaslt.product import Factors, addresses, enqueue_all
from hpcad.backend.cublaslt.settings import SETTINGS

MOST = 4096  # products that are remembered
DESCRIPTIONS = 256  # of one product with different biases

_known: dict[tuple, Prepared | None] = {}
_factors = functools.lru_cache(maxsize=256)(Factors)


class Prepared:
    """A product but for addresses and factors."""

    def __init__(self, plan: Plan, arrangement: Arrangement, operands: tuple[Meta, ...]) -> None:
        self._plan, self._arrangement = plan, arrangement
        self._first, self._second, self._result = map(_extent, operands)
        self._described: dict[int, Descriptor] = {}

    def run(self, a: Any, b: Any, c: Any, alpha: float, beta: float, bias: Any) -> bool:
        """Enqueue it on the current stream; not where ``c`` lies in the memory of an operand."""
        pointers = addresses(self._arrangement, a, b, c, bias)
        place = pointers[2]
        for x, extent in ((a, self._first), (b, self._second)):
            pointer = x.data.ptr
            if pointer + extent[0] < place + self._result[1] and (
                place + self._result[0] < pointer + extent[1]
            ):
                return False
        what = self._description(pointers[3])  # held until the product lies in the stream
        first, second, result, *_ = pointers
        calls = [
            (what.value, first + offset.a, second + offset.b, result + offset.d)
            for offset in self._arrangement.offsets
        ]
        enqueue_all(self._plan, calls, _factors(self._plan.problem.scale, alpha, beta))
        return True

    def _description(self, bias: int) -> Descriptor:
        found = self._described.get(bias)
        if found is None:
            if len(self._described) >= DESCRIPTIONS:
                self._described.clear()
            found = self._described[bias] = self._plan.with_addresses(bias)
        return found


def prepared(xp: Any, a: Any, b: Any, c: Any, adds: bool, bias: Any) -> Prepared | None:
    """What is known of ``c = a @ b (+ bias)``; ``None`` where it cannot be done in place."""
    low = ALIGNMENT - 1
    key = (
        xp, xp.cuda.Device().id, adds, SETTINGS.tf32,
        a.shape, a.strides, a.dtype, a.data.ptr & low,
        b.shape, b.strides, b.dtype, b.data.ptr & low,
        c.shape, c.strides, c.dtype, c.data.ptr & low,
        *(() if bias is None else (bias.shape, bias.strides, bias.dtype, bias.data.ptr & low)),
    )  # fmt: skip
    if key not in _known:
        if len(_known) >= MOST:
            _known.clear()
        _known[key] = _prepare(xp, a, b, c, adds, bias)
    return _known[key]


def _prepare(xp: Any, a: Any, b: Any, c: Any, adds: bool, bias: Any) -> Prepared | None:
    check_shapes(a, b, c, "a product")
    if bias is not None and bias.shape != c.shape[-1:]:
        return None
    operands = meta(a), meta(b), meta(c)
    found = arrange(
        *operands, adds=adds, epilogue="" if bias is None else "bias",
        bias=None if bias is None else meta(bias), tf32=SETTINGS.tf32,
    )  # fmt: skip
    if found is None:
        return None
    problem = found.aligned(addresses(found, a, b, c, bias))
    plan = plan_for(context_of(xp), problem)
    return None if plan is None else Prepared(plan, found, operands)


def _extent(x: Meta) -> tuple[int, int]:
    """Bytes from the address to the first element in memory, and behind the last."""
    steps = [stride * (extent - 1) for extent, stride in zip(x.shape, x.strides, strict=True)]
    return sum(step for step in steps if step < 0), sum(s for s in steps if s > 0) + x.itemsize
