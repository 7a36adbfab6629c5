"""The ``__global__`` functions of attention, by tensor cores and by plain arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import Flat
from hpcad.program.cuda.routines.writing import COMPUTED, STORED, bodies, function, itemsize

if TYPE_CHECKING:
    from hpcad.program.cuda.routines.attention import Attention

BLOCK = 128


def ways(spec: Attention) -> tuple[bool, ...]:
    """Whether by tensor cores: first so, where rows lie in pieces of 16 bytes."""
    arrays = ("q", "k", "v", "out", "dq", "dk", "dv", "g")
    steps = [spec.dim, *(step for which in arrays for step in spec.layout(which))]
    regular = itemsize(spec.dtype) == 2 and not any(step % 8 for step in steps)
    return (True, False) if regular else (False,)


def _alignment(operands: Sequence[Flat], fast: bool) -> tuple[int, ...]:
    sizes = (itemsize(operand.dtype) for operand in operands)
    return tuple(16 if fast and size == 2 else size for size in sizes)


def _templates(spec: Attention, fast: bool, columns: int) -> str:
    """The types and sizes of a function: how long rows are, and columns at a time."""
    length = -(-spec.dim // 16) * 16
    types = [STORED[spec.dtype], *([] if fast else [STORED[COMPUTED[spec.dtype]]])]
    return ", ".join([*types, str(length), str(columns)])


def _columns(spec: Attention, fast: bool, back: bool) -> int:
    """As many as shared memory has place for."""
    if not fast:
        return 16 if spec.dtype == "float64" else 32
    return (64 if spec.dim <= 64 else 32) // (2 if back else 1)


def _steps(spec: Attention, *names: str) -> str:
    return ", ".join(f"hp_steps{{{', '.join(map(str, spec.layout(name)))}}}" for name in names)


def _spec_text(spec: Attention) -> str:
    sizes = (spec.batch, spec.heads, spec.queries, spec.keys, spec.dim, int(spec.causal))
    return f"hp_attention{{{', '.join(map(str, sizes))}, {1 / math.sqrt(spec.dim)!r}}}"


def _bodies(fast: bool) -> str:
    if fast:
        return bodies("attention.cu", "tensor.cu", "attention_tensor.cu")
    return bodies("attention.cu", "attention_plain.cu")


def _launch(spec: Attention, entry: str, rows: int, fast: bool) -> Launch:
    tiles = -(-rows // (64 if fast else 32))
    return Launch(entry, (tiles * spec.batch * spec.heads, 1), BLOCK)


def forward_text(spec: Attention, name: str, operands: tuple[Flat, ...], fast: bool) -> Variant:
    launch = _launch(spec, f"{name}_{'tensor' if fast else 'plain'}", spec.queries, fast)
    called = "hp_attend" if fast else "hp_attend_plainly"
    templates = _templates(spec, fast, _columns(spec, fast, back=False))
    call = (
        f"{called}<{templates}>(p0, p1, p2, p3, p4, {_steps(spec, 'q', 'k', 'v', 'out')}, "
        f"{_spec_text(spec)});"
    )
    source = _bodies(fast) + function(launch, operands, (), False, call)
    return Variant(_alignment(operands, fast), (launch,), source)


def backward_text(spec: Attention, name: str, operands: tuple[Flat, ...], fast: bool) -> Variant:
    real, text = STORED[COMPUTED[spec.dtype]], _spec_text(spec)
    stem = f"{name}_{'tensor' if fast else 'plain'}"
    called = "hp_attend_back" if fast else "hp_attend_back_plainly"
    templates = _templates(spec, fast, _columns(spec, fast, back=True))
    dots, nothing = f"({real} *)scratch", f"({STORED[spec.dtype]} *)0"
    first = Launch(f"{stem}_dots", (-(-spec.log_sums // (BLOCK // 32)), 1), BLOCK)
    calls = [
        (first, f"hp_attention_dots(p4, p3, {dots}, {_steps(spec, 'g', 'out')}, {text});"),
        (
            _launch(spec, f"{stem}_keys", spec.keys, fast),
            f"{called}<true, {templates}>(p1, p2, p0, p4, p7, p8, p5, {dots}, "
            f"{_steps(spec, 'k', 'v', 'q', 'g', 'dk', 'dv')}, {text});",
        ),
        (
            _launch(spec, f"{stem}_queries", spec.queries, fast),
            f"{called}<false, {templates}>(p0, p4, p1, p2, p6, {nothing}, p5, {dots}, "
            f"{_steps(spec, 'q', 'g', 'k', 'v', 'dq', 'dq')}, {text});",
        ),
    ]
    sources = [function(launch, operands, (), True, call) for launch, call in calls]
    launches = tuple(launch for launch, _ in calls)
    return Variant(_alignment(operands, fast), launches, _bodies(fast) + "".join(sources))
