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

from hpcad.program.cuda.routines.attention_text import backward_text, forward_text, ways
from hpcad.program.cuda.routines.routine import DeviceRoutine, Flat
from hpcad.program.cuda.routines.writing import COMPUTED, identifier, itemsize, require, rounded

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

    def sizes(self, which: str) -> tuple[int, int, int]:
        """Batches, heads and rows of an array: ``"q"``, ``"dq"``..."""
        rows = self.keys if which[-1] in "kv" else self.queries
        return self.batch, self.heads, rows

    def layout(self, which: str) -> Steps:
        """Where rows lie; gradients, unless it is said, as what they are gradients of."""
        steps: Steps | None = getattr(self, which)
        return steps or self.layout({"g": "out"}.get(which, which[1:]))

    def operand(self, which: str, writes: bool = False) -> Flat:
        """The span of an array; what lies in its gaps stays."""
        pairs = zip(self.sizes(which), self.layout(which), strict=True)
        count = sum((n - 1) * step for n, step in pairs) + self.dim
        whole = count == math.prod(self.sizes(which)) * self.dim
        return Flat(self.dtype, count, "read" if not writes else "write" if whole else "update")

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
            *(self.operand(which) for which in "qkv"),
            self.operand("out", writes=True),
            Flat(COMPUTED[self.dtype], self.log_sums, "write"),
        )
        name = identifier("attention", self)
        variants = tuple(forward_text(self, name, operands, fast) for fast in ways(self))

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
        operands = (
            *(self.operand(which) for which in given),
            Flat(COMPUTED[self.dtype], self.log_sums, "read"),
            *(self.operand(which, writes=True) for which in found),
        )
        name = identifier("attention_back", self)
        variants = tuple(backward_text(self, name, operands, fast) for fast in ways(self))
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


# -- what the routines compute, in NumPy ----------------------------------------------------------


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


def _views(spec: Attention, arrays: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
    """Arrays as (B, H, T, D)."""
    return [
        np.lib.stride_tricks.as_strided(
            flat,
            (*spec.sizes(which), spec.dim),
            [step * flat.itemsize for step in (*spec.layout(which), 1)],
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
