"""The matrix products of the five training steps of step_cases.py, in float32."""

from __future__ import annotations

from typing import Any, NamedTuple

from hpcad.backend.gemm import Gemm


class Line(NamedTuple):
    """A product of a step.

    Attributes
    ----------
    note : str
        What it computes.
    count : int
        How many times in one step.
    spec : Gemm
    """

    note: str
    count: int
    spec: Gemm


def product(m: int, k: int, n: int, **options: Any) -> Gemm:
    """(m, k) times (k, n)."""
    return Gemm("float32", m, n, k, **options)


def layer(name: str, rows: int, inputs: int, outputs: int, count: int = 1) -> list[Line]:
    """Forward, input gradient and weight gradient of ``x @ w``."""
    return [
        Line(f"{name} x W", count, product(rows, inputs, outputs)),
        Line(f"{name} g W^T", count, product(rows, outputs, inputs, trans_b=True)),
        Line(f"{name} x^T g", count, product(inputs, rows, outputs, trans_a=True)),
    ]


def heads(name: str, count: int, batch: int, heads: int, time: int, size: int) -> list[Line]:
    """The products of attention, queries, keys and values being slices of one array."""
    width = heads * size
    sliced = (time * 3 * width, size)  # one head of the joint projection
    mixed = (time * width, size)
    scores = (heads * time * time, time * time)

    def one(note: str, m: int, k: int, n: int, a: Any, b: Any, c: Any, **flags: Any) -> Line:
        (lda, stride_a), (ldb, stride_b), (ldc, stride_c) = a, b, c
        spec = product(
            m, k, n, lda=lda, ldb=ldb, ldc=ldc, batch=(batch, heads),
            stride_a=stride_a, stride_b=stride_b, stride_c=stride_c, **flags,
        )  # fmt: skip
        return Line(f"{name} {note}", count, spec)

    qkv, out, score = (3 * width, sliced), (width, mixed), (time, scores)
    return [
        one("q k^T", time, size, time, qkv, qkv, score, trans_b=True),
        one("p v", time, time, size, score, qkv, out),
        one("g v^T", time, size, time, out, qkv, score, trans_b=True),
        one("p^T g", time, time, size, score, out, qkv, trans_a=True),
        one("s k", time, time, size, score, qkv, qkv),
        one("s^T q", time, time, size, score, qkv, qkv, trans_a=True),
    ]


STEPS: dict[str, list[Line]] = {
    "mlp": [
        *layer("first", 128, 784, 512)[::2],  # nobody wants the gradient of the data
        *layer("second", 128, 512, 512),
        *layer("last", 128, 512, 10),
    ],
    "mlp-large": [
        *layer("first", 256, 1024, 1024)[::2],
        *layer("others", 256, 1024, 1024, 3),
    ],
    "cnn": [
        *layer("first stage", 50176, 9, 32)[::2],
        *layer("second stage", 12544, 288, 64),
        *layer("hidden", 64, 3136, 128),
        *layer("last", 64, 128, 10),
    ],
    "lstm": [
        *layer("inputs", 2048, 256, 1024)[::2],
        *layer("state", 64, 256, 1024, 32)[:2],
        Line("state, all times, x^T g", 1, product(256, 2048, 1024, trans_a=True)),
        *layer("last", 64, 256, 10),
    ],
    "gpt": [
        *layer("qkv", 1024, 256, 768, 4),
        *layer("projection", 1024, 256, 256, 4),
        *layer("expand", 1024, 256, 1024, 4),
        *layer("contract", 1024, 1024, 256, 4),
        Line("head x W^T", 1, product(1024, 256, 65, trans_b=True)),
        Line("head g W", 1, product(1024, 65, 256)),
        Line("head g^T x", 1, product(65, 1024, 256, trans_a=True)),
        *heads("attention", 4, 8, 4, 128, 64),
    ],
}

# What is not in these steps as hpcad writes them, but in others' and in the reference.
OTHERS: list[Line] = [
    Line("state, one time, x^T g", 1, product(256, 64, 1024, trans_a=True)),
    Line("square", 1, product(512, 512, 512)),
    Line("square", 1, product(1024, 1024, 1024)),
]
