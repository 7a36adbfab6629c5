"""The matrix products of a training step of GPT-2, as hpcad and others have them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Bases = dict[str, Any]
Views = Callable[[Bases], tuple[Any, Any, Any]]


@dataclass(frozen=True)
class Sizes:
    """Of a batch and of the network."""

    batch: int
    length: int
    width: int = 768
    heads: int = 12
    layers: int = 12
    vocabulary: int = 50304


TINY = Sizes(batch=2, length=8, width=16, heads=2, layers=1, vocabulary=32)


@dataclass(frozen=True)
class Case:
    """``c = epilogue(a @ b + beta * c)``.

    Attributes
    ----------
    name : str
    count : int
        How many times in a step; 0 where another case stands for it.
    shapes : dict
        Arrays that are laid out, by name.
    views : callable
        ``a``, ``b`` and ``c`` as views of them; for arrays of NumPy, CuPy and PyTorch alike.
    result : str or None
        The type of ``c`` where it is not that of the operands.
    epilogue : str
    beta : float
    """

    name: str
    count: int
    shapes: dict[str, tuple[int, ...]]
    views: Views
    result: str | None = None
    epilogue: str = ""
    beta: float = 0.0

    def flops(self) -> int:
        """Multiplications and additions."""
        a, b, _ = self.views({name: _hollow(shape) for name, shape in self.shapes.items()})
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return 2 * math.prod(batch) * a.shape[-2] * a.shape[-1] * b.shape[-1]

    def beside(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the vector and matrix beside the product."""
        _, b, c = self.views({name: _hollow(shape) for name, shape in self.shapes.items()})
        found = {}
        if "bias" in self.epilogue or "bgrad" in self.epilogue:
            found["bias"] = (b.shape[-1],)
        if "aux" in self.epilogue or "dgelu" in self.epilogue:
            found["aux"] = c.shape
        return found


def _hollow(shape: tuple[int, ...]) -> Any:
    """An array of that shape that takes no memory."""
    return np.broadcast_to(np.zeros((), np.int8), shape)


def gemm_cases(sizes: Sizes) -> list[Case]:
    """All products of a step, in the order of the forward pass."""
    rows, width = sizes.batch * sizes.length, sizes.width
    return [
        *_layer("qkv", rows, width, 3 * width, sizes.layers),
        *_attention(sizes),
        *_layer("proj", rows, width, width, sizes.layers),
        *_layer("fc", rows, width, 4 * width, sizes.layers),
        *_layer("fc back", rows, 4 * width, width, sizes.layers),
        *_logits(rows, width, sizes.vocabulary),
        *_fused(rows, width),
    ]


def _layer(name: str, rows: int, inputs: int, outputs: int, count: int) -> Iterator[Case]:
    """``x @ w``, and its two gradients."""
    x, w, y = (rows, inputs), (inputs, outputs), (rows, outputs)
    yield Case(f"{name}: x w", count, {"x": x, "w": w, "y": y}, lambda v: (v["x"], v["w"], v["y"]))
    yield Case(
        f"{name}: g w^T", count, {"g": y, "w": w, "dx": x}, lambda v: (v["g"], v["w"].T, v["dx"])
    )
    weight = {"x": x, "g": y, "dw": w}
    yield Case(f"{name}: x^T g", 0, weight, _of_weight)
    yield Case(f"{name}: x^T g, += float32", count, weight, _of_weight, "float32", beta=1.0)


def _of_weight(v: Bases) -> tuple[Any, Any, Any]:
    return v["x"].T, v["g"], v["dw"]


def _logits(rows: int, width: int, vocabulary: int) -> Iterator[Case]:
    """The head that shares its weight with the embedding."""
    x, w, y = (rows, width), (vocabulary, width), (rows, vocabulary)
    yield Case("logits: x w^T", 1, {"x": x, "w": w, "y": y}, lambda v: (v["x"], v["w"].T, v["y"]))
    yield Case("logits: g w", 1, {"g": y, "w": w, "dx": x}, lambda v: (v["g"], v["w"], v["dx"]))
    weight = {"g": y, "x": x, "dw": w}
    yield Case(
        "logits: g^T x, += float32", 1, weight, lambda v: (v["g"].T, v["x"], v["dw"]),
        "float32", beta=1.0,
    )  # fmt: skip


def _attention(sizes: Sizes) -> Iterator[Case]:
    """On heads that are slices of one packed array."""
    wide = sizes.width // sizes.heads
    packed = (sizes.batch, sizes.length, 3, sizes.heads, wide)
    mixed = (sizes.batch, sizes.length, sizes.heads, wide)
    scores = (sizes.batch, sizes.heads, sizes.length, sizes.length)

    def heads(array: Any, which: int | None = None) -> Any:
        return (array if which is None else array[:, :, which]).swapaxes(1, 2)

    def one(name: str, shapes: dict[str, tuple[int, ...]], views: Views) -> Case:
        return Case(f"attention: {name}", sizes.layers, shapes, views)

    forward, back = {"qkv": packed, "s": scores}, {"s": scores, "qkv": packed, "dqkv": packed}
    yield one(
        "q k^T", forward,
        lambda v: (heads(v["qkv"], 0), heads(v["qkv"], 1).swapaxes(-1, -2), v["s"]),
    )  # fmt: skip
    yield one(
        "p v", {"s": scores, "qkv": packed, "o": mixed},
        lambda v: (v["s"], heads(v["qkv"], 2), heads(v["o"])),
    )  # fmt: skip
    yield one(
        "g v^T", {"g": mixed, "qkv": packed, "s": scores},
        lambda v: (heads(v["g"]), heads(v["qkv"], 2).swapaxes(-1, -2), v["s"]),
    )  # fmt: skip
    yield one(
        "p^T g", {"s": scores, "g": mixed, "dqkv": packed},
        lambda v: (v["s"].swapaxes(-1, -2), heads(v["g"]), heads(v["dqkv"], 2)),
    )  # fmt: skip
    yield one("ds k", back, lambda v: (v["s"], heads(v["qkv"], 1), heads(v["dqkv"], 0)))
    yield one(
        "ds^T q", back,
        lambda v: (v["s"].swapaxes(-1, -2), heads(v["qkv"], 0), heads(v["dqkv"], 1)),
    )  # fmt: skip


def _fused(rows: int, width: int) -> Iterator[Case]:
    """With what follows them in the same kernel, if that wins; they stand for no further time."""
    x, w, y = (rows, width), (width, 4 * width), (rows, 4 * width)

    def forward(v: Bases) -> tuple[Any, Any, Any]:
        return v["x"], v["w"], v["y"]

    yield Case("fc + bias", 0, {"x": x, "w": w, "y": y}, forward, epilogue="bias")
    yield Case(
        "fc + bias, GELU, aux", 0, {"x": x, "w": w, "y": y}, forward, epilogue="gelu_aux_bias"
    )
    yield Case(
        "fc back: g w^T * GELU'", 0, {"g": x, "w": (4 * width, width), "dx": y},
        lambda v: (v["g"], v["w"].T, v["dx"]), epilogue="dgelu",
    )  # fmt: skip
    yield Case("fc: x^T g, sum of g", 0, {"x": x, "g": y, "dw": w}, _of_weight, epilogue="bgrad_b")
