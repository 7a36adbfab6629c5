"""Attention whose scores exist tile by tile: forward, and the way back, both deterministic.

    out = softmax(scale Q K^T) V,    log_sums = log sum exp(scale Q K^T)

after Dao et al., arXiv:2205.14135 and arXiv:2307.08691. In bfloat16 and float16, the products are
made by tensor cores, with sums in float32 and probabilities rounded to the short type; in other
types, and where rows do not lie as tensor cores want them, by plain arithmetic in float32 or
float64. The way back visits all tiles twice, once for the gradients of keys and values and once
for those of queries, so that nothing is added atomically.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import DeviceRoutine, Flat
from hpcad.program.cuda.routines.writing import (
    COMPUTED,
    STORED,
    bodies,
    function,
    identifier,
    itemsize,
    require,
    rounded,
)

BLOCK = 128
LONGEST = 128  # elements of a row
Steps = tuple[int, int, int]  # elements from one batch, head and row to the next


@dataclass(frozen=True)
class Attention:
    """Sizes and layouts.

    Attributes
    ----------
    dtype : str
    batch, heads, queries, keys, dim : int
    causal : bool
        Query i sees keys up to ``i + keys - queries``.
    q, k, v, out : tuple of int
        Elements from one batch, head and row to the next; the elements of a row are neighbours.
    dq, dk, dv, g : tuple of int, optional
        The same of the gradients of q, k, v and out, where they lie otherwise than these.
    """

    dtype: str
    batch: int
    heads: int
    queries: int
    keys: int
    dim: int
    causal: bool
    q: Steps
    k: Steps
    v: Steps
    out: Steps
    dq: Steps | None = None
    dk: Steps | None = None
    dv: Steps | None = None
    g: Steps | None = None

    @classmethod
    def packed(
        cls, dtype: str, batch: int, length: int, heads: int, dim: int, causal: bool
    ) -> Attention:
        """Of queries, keys and values in one array (B, T, 3, H, D), and results (B, T, H, D).

        Keys begin ``H D`` elements behind queries, values twice as many.
        """
        width = heads * dim
        three, one = (3 * length * width, dim, 3 * width), (length * width, dim, width)
        sizes = (batch, heads, length, length, dim)
        return cls(dtype, *sizes, causal, three, three, three, one)

    @classmethod
    def plain(
        cls, dtype: str, batch: int, heads: int, queries: int, keys: int, dim: int, causal: bool
    ) -> Attention:
        """Of arrays (B, H, T, D) without gaps."""
        q, k = ((heads * n * dim, n * dim, dim) for n in (queries, keys))
        return cls(dtype, batch, heads, queries, keys, dim, causal, q, k, k, q)

    @property
    def log_sums(self) -> int:
        """Numbers (B, H, T) that the way back needs."""
        return self.batch * self.heads * self.queries

    @property
    def flops(self) -> int:
        """Of the two products of the forward direction; of hidden scores, too, unless causal."""
        scores = self.queries * self.keys
        if self.causal:
            scores -= self.queries * (self.queries - 1) // 2
        return 4 * self.batch * self.heads * scores * self.dim

    def forward(self) -> DeviceRoutine:
        """Operands: q, k, v, out; log_sums (B, H, T), float32, of float64 arrays float64.

        Raises
        ------
        DeviceError
            There is no routine for these sizes, types and layouts.
        """
        _check(self)
        operands = (
            *(_span(self, which, "read") for which in "qkv"),
            _span(self, "out", "update" if _has_gaps(self, "out") else "write"),
            Flat(COMPUTED[self.dtype], self.log_sums, "write"),
        )
        name = identifier("attention", self)
        variants = tuple(_forward(self, name, operands, fast) for fast in _ways(self))

        def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
            q, k, v, out = _views(self, arrays[:4], ("q", "k", "v", "out"))
            scores = _scores(self, q, k)
            top = scores.max(axis=-1, keepdims=True)
            p = np.exp(scores - top)
            total = p.sum(axis=-1, keepdims=True)
            out[...] = (p / total @ v.astype(p.dtype)).astype(out.dtype)
            arrays[4][...] = (np.log(total) + top).ravel()

        return DeviceRoutine(name, variants, 0, (), operands, reference, self.flops)

    def backward(self) -> DeviceRoutine:
        """Operands: q, k, v, out, gradient of out, log_sums; then the gradients of q, k and v.

        Raises
        ------
        DeviceError
            As :meth:`forward`.
        """
        _check(self)
        given, found = ("q", "k", "v", "out", "g"), ("dq", "dk", "dv")
        roles = ["update" if _has_gaps(self, which) else "write" for which in found]
        operands = (
            *(_span(self, which, "read") for which in given),
            Flat(COMPUTED[self.dtype], self.log_sums, "read"),
            *(_span(self, which, role) for which, role in zip(found, roles, strict=True)),
        )
        name = identifier("attention_back", self)
        variants = tuple(_backward(self, name, operands, fast) for fast in _ways(self))
        scratch = rounded(self.log_sums * itemsize(COMPUTED[self.dtype]))

        def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
            real = COMPUTED[self.dtype]
            q, k, v, out, g = (x.astype(real) for x in _views(self, arrays[:5], given))
            log_sums = arrays[5].reshape(self.batch, self.heads, self.queries, 1)
            p = np.exp(_scores(self, q, k) - log_sums)
            ds = p * (g @ v.swapaxes(-1, -2) - np.sum(g * out, axis=-1, keepdims=True))
            ds *= 1 / math.sqrt(self.dim)
            gradients = (ds @ k, ds.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ g)
            places = _views(self, arrays[6:], found)
            for place, gradient in zip(places, gradients, strict=True):
                place[...] = gradient.astype(place.dtype)

        flops = self.flops * 5 // 2
        return DeviceRoutine(name, variants, scratch, (), operands, reference, flops)


# -- layouts --------------------------------------------------------------------------------------


def _check(spec: Attention) -> None:
    require(spec.dtype in COMPUTED, f"attention: arrays of {spec.dtype} have no routine")
    require(
        1 <= spec.dim <= LONGEST,
        f"attention: heads of {spec.dim} elements have no routine; at most {LONGEST} have",
    )
    require(
        not spec.causal or spec.queries <= spec.keys,
        f"attention: {spec.queries} queries but {spec.keys} keys; the first queries would see none",
    )
    require(min(spec.queries, spec.keys) > 0, "attention: there are no queries or no keys")


def _sizes(spec: Attention, which: str) -> tuple[int, int, int]:
    rows = spec.keys if which[-1] in "kv" else spec.queries
    return spec.batch, spec.heads, rows


def _layout(spec: Attention, which: str) -> Steps:
    """Where rows lie; gradients, unless it is said, as what they are gradients of."""
    steps: Steps | None = getattr(spec, which)
    return steps or _layout(spec, {"g": "out"}.get(which, which[1:]))


def _span(spec: Attention, which: str, role: str) -> Flat:
    sizes, steps = _sizes(spec, which), _layout(spec, which)
    last = sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
    return Flat(spec.dtype, last + spec.dim, role)


def _has_gaps(spec: Attention, which: str) -> bool:
    return _span(spec, which, "").count != math.prod(_sizes(spec, which)) * spec.dim


def _views(spec: Attention, arrays: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
    """Arrays as (B, H, T, D)."""
    return [
        np.lib.stride_tricks.as_strided(
            flat,
            (*_sizes(spec, which), spec.dim),
            [step * flat.itemsize for step in (*_layout(spec, which), 1)],
        )
        for flat, which in zip(arrays, names, strict=True)
    ]


def _scores(spec: Attention, q: np.ndarray, k: np.ndarray) -> np.ndarray:
    real = COMPUTED[spec.dtype]
    scores = q.astype(real) @ k.astype(real).swapaxes(-1, -2) * (1 / math.sqrt(spec.dim))
    if spec.causal:
        shift = spec.keys - spec.queries
        hidden = np.arange(spec.keys) > np.arange(spec.queries)[:, None] + shift
        scores = np.where(hidden, -np.inf, scores)
    return scores.astype(real, copy=False)


# -- text -----------------------------------------------------------------------------------------


def _ways(spec: Attention) -> tuple[bool, ...]:
    """Whether by tensor cores: first so, where rows lie in pieces of 16 bytes."""
    arrays = ("q", "k", "v", "out", "dq", "dk", "dv", "g")
    steps = [spec.dim, *(step for which in arrays for step in _layout(spec, which))]
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
    return ", ".join(f"hp_steps{{{', '.join(map(str, _layout(spec, name)))}}}" for name in names)


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


def _forward(spec: Attention, name: str, operands: tuple[Flat, ...], fast: bool) -> Variant:
    launch = _launch(spec, f"{name}_{'tensor' if fast else 'plain'}", spec.queries, fast)
    called = "hp_attend" if fast else "hp_attend_plainly"
    templates = _templates(spec, fast, _columns(spec, fast, back=False))
    call = (
        f"{called}<{templates}>(p0, p1, p2, p3, p4, {_steps(spec, 'q', 'k', 'v', 'out')}, "
        f"{_spec_text(spec)});"
    )
    source = _bodies(fast) + function(launch, operands, (), False, call)
    return Variant(_alignment(operands, fast), (launch,), source)


def _backward(spec: Attention, name: str, operands: tuple[Flat, ...], fast: bool) -> Variant:
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
