"""Adam and AdamW in one visit of flat arenas, with float32 moments and master weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend.random import Key, philox4x32
from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import DeviceRoutine, Flat
from hpcad.program.cuda.routines.writing import (
    COMPUTED,
    STORED,
    blocks_for,
    bodies,
    function,
    identifier,
    index_type,
    itemsize,
    require,
    truth,
)

BLOCK = 256
LANES = 4
# Of the optimizer's numbers() the names, in order, and the clipping behind them.
NUMBERS = (
    "rate", "weight_decay", "b1", "rest1", "b2", "rest2",
    "corrected_eps", "corrected_rate", "shrink", "clip",
)  # fmt: skip


@dataclass(frozen=True)
class AdamW:
    """What an update is to do.

    Its operands, in this order: parameters p, gradients g, moments m and v (count,); numbers
    (10,), float64, as :data:`NUMBERS`; then, as they are asked for, factor (1,), float32; skip
    (1,), int32; mask (lines,), bool; copy (count,); step (1,), int64.

    Attributes
    ----------
    count : int
        Elements.
    gradient : str
        Dtype of the gradients.
    factor : bool
        Whether gradients are scaled by a number in the memory of the device, too.
    skip : bool
        Whether a number in the memory of the device says, if it is not 0, that nothing happens.
    line : int
        Elements that one entry of the mask speaks of, a multiple of 4; 0: there is no mask.
    decays : bool
        Whether all parameters decay, where there is no mask.
    copy : str or None
        Dtype of a copy of the parameters that is made.
    chance : key or None
        To round the copy, in bfloat16, up or down by chance: the key of a stream of
        random numbers, of which the step and the element's number are the counter.
    first : int
        Number of the first element, where the operands are parts of arenas.
    """

    count: int
    gradient: str = "float32"
    factor: bool = False
    skip: bool = False
    line: int = 0
    decays: bool = True
    copy: str | None = None
    chance: Key | None = None
    first: int = 0

    @property
    def operands(self) -> tuple[Flat, ...]:
        """All of them."""
        n = self.count
        found = [Flat("float32", n, "update"), Flat(self.gradient, n, "read")]
        found += [Flat("float32", n, "update")] * 2 + [Flat("float64", len(NUMBERS), "read")]
        found += [Flat("float32", 1, "read")] * self.factor + [Flat("int32", 1, "read")] * self.skip
        if self.line:
            found.append(Flat("bool", -(-n // self.line), "read"))
        if self.copy is not None:
            found.append(Flat(self.copy, n, "update" if self.skip else "write"))
        found += [Flat("int64", 1, "read")] * (self.chance is not None)
        return tuple(found)

    def routine(self) -> DeviceRoutine:
        """The routine.

        Raises
        ------
        DeviceError
            There is none for these types or sizes.
        """
        _check(self)
        widths = (1,) if self.count % LANES else (LANES, 1)
        variants = tuple(_variant(self, lanes) for lanes in widths)
        name = identifier("adamw", self)
        flops = 12 * self.count
        return DeviceRoutine(name, variants, 0, (), self.operands, _reference(self), flops)


def _check(spec: AdamW) -> None:
    known = {spec.gradient, spec.copy or "float32"} <= set(COMPUTED)
    require(known, f"AdamW: gradients of {spec.gradient} and copies of {spec.copy}: no routine")
    require(spec.line % LANES == 0, f"AdamW: lines of {spec.line} elements are no multiple of 4")
    require(
        spec.chance is None or spec.copy == "bfloat16",
        "AdamW: only a copy in bfloat16 is rounded by chance",
    )


def _variant(spec: AdamW, lanes: int) -> Variant:
    name = identifier("adamw", spec)
    places = iter(range(5, len(spec.operands)))

    def pointer(there: bool, kind: str) -> str:
        return f"(const {kind} *)p{next(places)}" if there else f"(const {kind} *)0"

    factor, skip = pointer(spec.factor, "float"), pointer(spec.skip, "int32_t")
    mask, copied = pointer(bool(spec.line), "uint8_t"), STORED[spec.copy or "float32"]
    copy = f"({copied} *){pointer(spec.copy is not None, copied)}"
    step, (k0, k1) = pointer(spec.chance is not None, "int64_t"), spec.chance or (0, 0)
    kind = index_type(spec.count * lanes)
    launch = Launch(f"{name}_v{lanes}", (blocks_for(spec.count // lanes, BLOCK), 1), BLOCK)
    numbers = f"{spec.first}LL, {k0}u, {k1}u, ({kind}){spec.count}"
    call = (
        f"hp_adamw<{lanes}>(p0, p1, p2, p3, p4, {factor}, {skip}, {mask}, ({kind}){spec.line or 1},"
        f" {truth(spec.decays)}, {copy}, {step}, {numbers});"
    )
    source = bodies("philox.cu", "adamw.cu") + function(launch, spec.operands, (), False, call)
    alignment = tuple(
        itemsize(flat.dtype) * (lanes if flat.count == spec.count else 1) for flat in spec.operands
    )
    return Variant(alignment, (launch,) if spec.count else (), source)


def _reference(spec: AdamW) -> Callable[[list[np.ndarray], list[Any]], None]:
    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        p, g, m, v, given, *others = arrays
        now = dict(zip(NUMBERS, given.astype(np.float32), strict=True))
        clip = now["clip"] * others.pop(0)[0] if spec.factor else now["clip"]
        if spec.skip and others.pop(0)[0]:
            return
        decays: Any = spec.decays
        if spec.line:
            decays = np.repeat(others.pop(0) != 0, spec.line)[: spec.count]
        d = g.astype(np.float32) * clip
        m[...] = m * now["b1"] + d * now["rest1"]
        v[...] = v * now["b2"] + d * d * now["rest2"]
        kept = np.where(decays, p * now["shrink"], p)
        p[...] = kept - m / (np.sqrt(v) + now["corrected_eps"]) * now["corrected_rate"]
        if spec.copy is not None:
            copy = others.pop(0)
            copy[...] = p.astype(copy.dtype)
            if spec.chance is not None:
                _round_by_chance(p, copy, spec.first, spec.chance, int(others.pop(0)[0]))

    return reference


def _round_by_chance(p: np.ndarray, copy: np.ndarray, first: int, key: Key, step: int) -> None:
    elements = np.arange(first, first + p.size, dtype=np.uint64)
    block, mask = elements // np.uint64(4), np.uint64(0xFFFFFFFF)
    high = np.full_like(block, step)
    shift = np.uint64(32)
    words = philox4x32((block & mask, block >> shift, high & mask, high >> shift), key)
    word = np.choose((elements % np.uint64(4)).astype(np.intp), words)
    bits = (p.view(np.uint32).astype(np.uint64) + (word >> np.uint64(16))) >> np.uint64(16)
    finite = np.isfinite(p)
    copy.view(np.uint16)[finite] = bits[finite].astype(np.uint16)
