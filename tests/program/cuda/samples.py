"""Kernels of networks: activations, normalisation, softmax, losses, sums, optimizers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hpcad import nn, optim
from hpcad.optim.rule import write_rule
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

OPTIMIZERS = {
    "sgd": (optim.SGD, {}),
    "momentum": (optim.SGD, {"momentum": 0.9}),
    "nesterov": (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (optim.RMSProp, {}),
    "adam": (optim.Adam, {}),
    "adamw": (optim.AdamW, {}),
}


class Nodes:
    """Nodes of one type under construction."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.made: list[Node] = []

    def __call__(self, op: str, *args: int, detail: object = None, dtype: str | None = None) -> int:
        self.made.append(Node(op, args, dtype or self.dtype, detail))
        return len(self.made) - 1

    def load(self, operand: int, dtype: str | None = None) -> int:
        return self("load", detail=operand, dtype=dtype)

    def number(self, value: float) -> int:
        return self("literal", detail=value)

    def kernel(
        self, extents: tuple[int, ...], operands: list[tuple[int, ...]], stores: list[Store],
        others: dict[int, str] | None = None, scalars: tuple[str, ...] = (),
    ) -> Kernel:  # fmt: skip
        """Operands are given by strides; ``others`` are those of another type."""
        types = [(others or {}).get(i, self.dtype) for i in range(len(operands))]
        made = tuple(Operand(t, s) for t, s in zip(types, operands, strict=True))
        return Kernel(extents, made, scalars, tuple(self.made), tuple(stores))


def bias_gelu(rows: int, width: int, dtype: str) -> Kernel:
    """``y = u / 2 (1 + tanh(...))`` with ``u = x + b``; ``u`` is kept for backward."""
    n = Nodes(dtype)
    u = n("add", n.load(0), n.load(1))
    scale, cubic = math.sqrt(2 / math.pi), 0.044715 * math.sqrt(2 / math.pi)
    inner = n("add", n("multiply", n("multiply", u, u), n.number(cubic)), n.number(scale))
    h = n("tanh", n("multiply", inner, u))
    y = n("multiply", n("multiply", n("add", h, n.number(1)), u), n.number(0.5))
    full = (width, 1)
    return n.kernel((rows, width), [full, (0, 1), full, full], [Store(u, 2), Store(y, 3)])


def gelu_backward(rows: int, width: int, dtype: str) -> Kernel:
    """``dx = g gelu'(u)`` in place of ``g``, and the gradient of the bias."""
    n = Nodes(dtype)
    dx = n("multiply", n.load(0), n("gelu_slope", n.load(1)))
    full = (width, 1)
    return n.kernel((rows, width), [full, full, (0, 1)], [Store(dx, 0), Store(dx, 2, "sum")])


def layer_norm(rows: int, width: int, dtype: str) -> Kernel:
    """Also the normalised values and ``1 / sigma``, which backward needs."""
    n = Nodes(dtype)
    x, weight = n.load(0), n.number(1 / width)
    centred = n("subtract", x, n("multiply", n("row_sum", x), weight))
    variance = n("multiply", n("row_sum", n("multiply", centred, centred)), weight)
    root = n("sqrt", n("add", variance, n.number(1e-5)))
    inverse = n("divide", n.number(1), root)
    hat = n("multiply", centred, inverse)
    y = n("add", n("multiply", hat, n.load(1)), n.load(2))
    full = (width, 1)
    stores = [Store(y, 3), Store(hat, 4), Store(inverse, 5)]
    return n.kernel((rows, width), [full, (0, 1), (0, 1), full, full, (1, 0)], stores)


def layer_norm_backward(batch: int, rows: int, width: int, dtype: str) -> Kernel:
    """Gradients of input, scale (accumulated) and shift."""
    n = Nodes(dtype)
    g, hat, inverse, weight = n.load(0), n.load(1), n.load(2), n.number(1 / width)
    h = n("multiply", g, n.load(3))
    mean = n("multiply", n("row_sum", h), weight)
    along = n("multiply", n("row_sum", n("multiply", h, hat)), weight)
    inner = n("subtract", n("subtract", h, mean), n("multiply", hat, along))
    dx, dscale = n("multiply", inner, inverse), n("multiply", g, hat)
    full, columns = (rows * width, width, 1), (0, 0, 1)
    operands = [full, full, (rows, 1, 0), columns, full, columns, columns]
    stores = [Store(dx, 4), Store(dscale, 5, "sum", True), Store(g, 6, "sum")]
    return n.kernel((batch, rows, width), operands, stores)


def softmax(rows: int, width: int, dtype: str) -> Kernel:
    """In place."""
    n = Nodes(dtype)
    x = n.load(0)
    e = n("exp", n("subtract", x, n("row_max", x)))
    return n.kernel((rows, width), [(width, 1)], [Store(n("divide", e, n("row_sum", e)), 0)])


def causal_softmax(heads: int, length: int, dtype: str) -> Kernel:
    """Of scores times a run-time scale; later places get 0."""
    n = Nodes(dtype)
    later = n("less", n("index", detail=1, dtype="int64"), n("index", detail=2, dtype="int64"),
              dtype="bool")  # fmt: skip
    scores = n("multiply", n.load(0), n("cast", n("scalar", detail=0, dtype="float64")))
    x = n("where", later, n.number(-math.inf), scores)
    e = n("exp", n("subtract", x, n("row_max", x)))
    full = (length * length, length, 1)
    store = Store(n("divide", e, n("row_sum", e)), 1)
    return n.kernel((heads, length, length), [full, full], [store], scalars=("float64",))


def softmax_backward(rows: int, width: int, dtype: str) -> Kernel:
    """``y (g - <g, y>)``."""
    n = Nodes(dtype)
    y, g = n.load(0), n.load(1)
    dx = n("multiply", y, n("subtract", g, n("row_sum", n("multiply", g, y))))
    return n.kernel((rows, width), [(width, 1)] * 3, [Store(dx, 2)])


def cross_entropy(rows: int, classes: int, dtype: str) -> Kernel:
    """Losses, their mean, and ``(softmax - one_hot) / rows``, in one kernel."""
    n = Nodes(dtype)
    x, label = n.load(0), n.load(1, "int64")
    shifted = n("subtract", x, n("row_max", x))
    e = n("exp", shifted)
    total = n("row_sum", e)
    chosen = n("equal", n("index", detail=1, dtype="int64"), label, dtype="bool")
    zero = n.number(0)
    picked = n("row_sum", n("where", chosen, shifted, zero))
    loss = n("subtract", n("log", total), picked)
    weight = n.number(1 / rows)
    error = n("subtract", n("divide", e, total), n("cast", chosen))
    share = n("multiply", loss, n.number(1 / (rows * classes)))  # is summed over every element
    operands = [(classes, 1), (1, 0), (1, 0), (0, 0), (classes, 1)]
    stores = [Store(loss, 2), Store(share, 3, "sum"), Store(n("multiply", error, weight), 4)]
    return n.kernel((rows, classes), operands, stores, others={1: "int64"})


def sum_of_squares(count: int, dtype: str) -> Kernel:
    """In double precision: what clipping by the global norm needs."""
    n = Nodes("float64")
    x = n("cast", n.load(0, dtype))
    return n.kernel((count,), [(1,), (0,)], [Store(n("multiply", x, x), 1, "sum")], {0: dtype})


def column_sums(rows: int, width: int, dtype: str) -> Kernel:
    """The gradient of a bias, accumulated."""
    n = Nodes(dtype)
    store = Store(n.load(0), 1, "sum", accumulate=True)
    return n.kernel((rows, width), [(width, 1), (0, 1)], [store])


def middle_sums(extents: tuple[int, int, int], dtype: str) -> Kernel:
    """Over the middle axis, over the outer ones, and over the row, at once."""
    n = Nodes(dtype)
    x, (_, b, c) = n.load(0), extents
    operands = [(b * c, c, 1), (c, 0, 1), (0, 1, 0), (b, 1, 0)]
    return n.kernel(extents, operands, [Store(x, i, "sum") for i in (1, 2, 3)])


def transposed_add(rows: int, width: int, dtype: str) -> Kernel:
    """``y = x^T + z``."""
    n = Nodes(dtype)
    total = n("add", n.load(0), n.load(1))
    return n.kernel((rows, width), [(1, rows), (width, 1), (width, 1)], [Store(total, 2)])


def numbers_of_rows(rows: int, width: int, dtype: str) -> Kernel:
    """Per row, ``z = x y``, ``y = 2 y`` in place, ``w = w + y``."""
    n = Nodes(dtype)
    y = n.load(1)
    z, twice = n("multiply", n.load(0), y), n("multiply", y, n.number(2))
    operands = [(width, 1), (1, 0), (width, 1), (1, 0)]
    stores = [Store(z, 2), Store(twice, 1), Store(y, 3, accumulate=True)]
    return n.kernel((rows, width), operands, stores)


def number_added_to_long_rows(rows: int, width: int, dtype: str) -> Kernel:
    """``z = x y``, ``w = w + y``: rows are dealt in pieces, the number is added once."""
    n = Nodes(dtype)
    y = n.load(1)
    operands = [(width, 1), (1, 0), (width, 1), (1, 0)]
    stores = [Store(n("multiply", n.load(0), y), 2), Store(y, 3, accumulate=True)]
    return n.kernel((rows, width), operands, stores)


def variance_of_wide_rows(rows: int, width: int, dtype: str) -> Kernel:
    """Three reductions, one after the other, without anything kept: no barrier is spare."""
    n = Nodes(dtype)
    x = n.load(0)
    top = n("row_max", x)
    total = n("row_sum", n("multiply", x, top))
    rest = n("row_sum", n("subtract", n("multiply", x, x), total))
    return n.kernel((rows, width), [(width, 1), (1, 0)], [Store(rest, 1)])


def update(name: str, count: int, dtype: str, masked: bool = False) -> Kernel:
    """A whole optimizer step over a flat arena, with decay and clipping."""
    kind, settings = OPTIMIZERS[name]
    model = nn.Module()
    model.weight = nn.Parameter(np.zeros((2, 2), dtype))
    optimizer = kind(model, 0.1, weight_decay=0.01, clip_norm=1.0, **settings)
    optimizer.step_count = 1
    rule = write_rule(optimizer, dtype, None if masked else True)
    arrays = 2 + len(optimizer.slots)
    extents = (count // 16, 16) if masked else (count,)
    operands = [Operand(dtype, (16, 1) if masked else (1,))] * arrays
    operands += [Operand("bool", (1, 0))] * masked
    stores = tuple(Store(node, operand) for node, operand in rule.results)
    scalars = ("float64",) * len(rule.scalars)
    return Kernel(extents, tuple(operands), scalars, rule.nodes, stores)


def samples(dtype: str, size: int = 1) -> dict[str, Kernel]:
    """All kernels by name.

    Parameters
    ----------
    dtype : str
    size : int
        1: small enough to emulate; larger: by so much longer.
    """
    s = size
    found = {
        "bias_gelu": bias_gelu(24 * s, 64 * s, dtype),
        "bias_gelu_odd": bias_gelu(7 * s, 13, dtype),
        "gelu_backward": gelu_backward(40 * s, 48 * s, dtype),
        "layer_norm": layer_norm(12 * s, 96 * s, dtype),
        "layer_norm_odd": layer_norm(5 * s, 65, dtype),
        "layer_norm_backward": layer_norm_backward(3 * s, 10 * s, 64, dtype),
        "layer_norm_backward_wide": layer_norm_backward(2, 9, 1100 * s, dtype),
        "layer_norm_backward_very_wide": layer_norm_backward(1, 9, 8800, dtype),
        "middle_sums_of_long_rows": middle_sums((2, 3, 1500 * s), dtype),
        "softmax": softmax(9 * s, 128, dtype),
        "softmax_wide": softmax(3, 2500 * s, dtype),
        "softmax_very_wide": softmax(1, 50000, dtype),
        "causal_softmax": causal_softmax(2 * s, 33, dtype),
        "softmax_backward": softmax_backward(9, 300 * s, dtype),
        "cross_entropy": cross_entropy(21 * s, 65, dtype),
        "cross_entropy_few": cross_entropy(50 * s, 10, dtype),
        "sum_of_squares": sum_of_squares(20001 * s, dtype),
        "column_sums": column_sums(70 * s, 128, dtype),
        "column_sums_wide": column_sums(9, 2100 * s, dtype),
        "middle_sums": middle_sums((3, 7 * s, 40), dtype),
        "transposed_add": transposed_add(30 * s, 20, dtype),
        "numbers_of_rows": numbers_of_rows(5, 300 * s, dtype),
        "numbers_of_long_rows": numbers_of_rows(3, 2100 * s, dtype),
        "number_added_to_long_rows": number_added_to_long_rows(3, 2100 * s, dtype),
        "variance_of_wide_rows": variance_of_wide_rows(3, 20000, dtype),
        "adam_masked": update("adam", 64 * s, dtype, masked=True),
    }
    return found | {name: update(name, 1003 * s, dtype) for name in OPTIMIZERS}


def rounded_in_between(rows: int, width: int, half: str) -> Kernel:
    """``y = round(x) * x + b``, where a user has converted to half precision and back."""
    n = Nodes("float32")
    x = n.load(0)
    y = n("add", n("multiply", n(f"round_{half}", n("tanh", x)), x), n.load(1))
    return n.kernel((rows, width), [(width, 1), (0, 1), (width, 1)], [Store(y, 2)])


def in_half(kernel: Kernel, half: str, but: tuple[int, ...] = ()) -> Kernel:
    """The kernel with operands in half precision, ``but`` for some of them."""
    operands = [
        replace(operand, dtype=half) if operand.dtype == "float32" and i not in but else operand
        for i, operand in enumerate(kernel.operands)
    ]
    return replace(kernel, operands=tuple(operands))


def half_samples(half: str, size: int = 1) -> dict[str, Kernel]:
    """Kernels of mixed precision: weights, statistics and sums of gradients are float32.

    Parameters
    ----------
    half : {"bfloat16", "float16"}
    size : int
        As of :func:`samples`.
    """
    s, f = size, "float32"
    return {
        "bias_gelu": in_half(bias_gelu(24 * s, 64 * s, f), half),
        "gelu_backward": in_half(gelu_backward(40 * s, 48 * s, f), half, but=(2,)),
        "layer_norm": in_half(layer_norm(12 * s, 96 * s, f), half, but=(1, 2, 5)),
        "layer_norm_odd": in_half(layer_norm(5 * s, 65, f), half),
        "layer_norm_backward": in_half(layer_norm_backward(3 * s, 10 * s, 64, f), half, (2, 5)),
        "softmax": in_half(softmax(9 * s, 128, f), half),
        "softmax_wide": in_half(softmax(3, 2500 * s, f), half),
        "cross_entropy": in_half(cross_entropy(21 * s, 65, f), half, but=(2, 3)),
        "column_sums": in_half(column_sums(70 * s, 128, f), half),
        "numbers_of_rows": in_half(numbers_of_rows(5, 300 * s, f), half),
        "transposed_add": in_half(transposed_add(30 * s, 20, f), half),
        "rounded_in_between": in_half(rounded_in_between(7, 40 * s, half), half, but=(1,)),
        "adam": in_half(update("adam", 1003 * s, f), half, but=(0, 2, 3)),
    }
