"""Generated kernels as training steps have them, in the sizes of GPT-2, and in tiny ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gpu_kernel_sizes import HALF, Case, Sizes

from hpcad import nn, optim
from hpcad.backend.half import named
from hpcad.optim.rule import write_rule
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store


class Nodes:
    """Nodes of one type under construction."""

    def __init__(self, dtype: str = "float32") -> None:
        self.dtype = dtype
        self.made: list[Node] = []

    def __call__(self, op: str, *args: int, detail: Any = None, dtype: str | None = None) -> int:
        self.made.append(Node(op, args, dtype or self.dtype, detail))
        return len(self.made) - 1

    def load(self, operand: int, dtype: str | None = None) -> int:
        """An element of an operand."""
        return self("load", detail=operand, dtype=dtype)

    def number(self, value: float) -> int:
        """A constant."""
        return self("literal", detail=value)

    def kernel(
        self,
        extents: tuple[int, ...],
        strides: Sequence[tuple[int, ...]],
        stores: Sequence[Store],
        types: dict[int, str] | None = None,
    ) -> Kernel:
        """The kernel; ``types`` of operands that are not of the nodes' type."""
        kinds = [(types or {}).get(i, self.dtype) for i in range(len(strides))]
        operands = tuple(Operand(t, s) for t, s in zip(kinds, strides, strict=True))
        return Kernel(extents, operands, (), tuple(self.made), tuple(stores))


def residual_add(s: Sizes) -> Kernel:
    """``z = x + y``."""
    n = Nodes()
    total = n("add", n.load(0), n.load(1))
    return n.kernel((s.rows * s.width,), [(1,)] * 3, [Store(total, 2)])


def bias_gelu(s: Sizes) -> Kernel:
    """``u = x + b`` in place, and ``y = gelu(u)`` by the tanh formula."""
    n = Nodes()
    u = n("add", n.load(0), n.load(1))
    scale, cubic = math.sqrt(2 / math.pi), 0.044715 * math.sqrt(2 / math.pi)
    slope = n("add", n("multiply", n("multiply", u, u), n.number(cubic)), n.number(scale))
    h = n("tanh", n("multiply", slope, u))
    y = n("multiply", n("multiply", n("add", h, n.number(1)), u), n.number(0.5))
    full = (s.hidden, 1)
    return n.kernel((s.rows, s.hidden), [full, (0, 1), full], [Store(u, 0), Store(y, 2)])


def gelu_backward(s: Sizes) -> Kernel:
    """``dx = g gelu'(u)``, and the gradient of the bias, which is added to."""
    n = Nodes()
    dx = n("multiply", n.load(0), n("gelu_slope", n.load(1)))
    full = (s.hidden, 1)
    stores = [Store(dx, 2), Store(dx, 3, "sum", accumulate=True)]
    return n.kernel((s.rows, s.hidden), [full, full, full, (0, 1)], stores)


def layer_norm(s: Sizes) -> Kernel:
    """Also the normalised values and ``1 / sigma``, which backward needs."""
    n = Nodes()
    x, weight = n.load(0), n.number(1 / s.width)
    centred = n("subtract", x, n("multiply", n("row_sum", x), weight))
    variance = n("multiply", n("row_sum", n("multiply", centred, centred)), weight)
    inverse = n("divide", n.number(1), n("sqrt", n("add", variance, n.number(1e-5))))
    hat = n("multiply", centred, inverse)
    y = n("add", n("multiply", hat, n.load(1)), n.load(2))
    full = (s.width, 1)
    stores = [Store(y, 3), Store(hat, 4), Store(inverse, 5)]
    return n.kernel((s.rows, s.width), [full, (0, 1), (0, 1), full, full, (1, 0)], stores)


def layer_norm_backward(s: Sizes) -> Kernel:
    """Gradients of the input, of scale and shift (added to)."""
    n = Nodes()
    g, hat, inverse, weight = n.load(0), n.load(1), n.load(2), n.number(1 / s.width)
    h = n("multiply", g, n.load(3))
    mean = n("multiply", n("row_sum", h), weight)
    along = n("multiply", n("row_sum", n("multiply", h, hat)), weight)
    inner = n("subtract", n("subtract", h, mean), n("multiply", hat, along))
    full, columns = (s.width, 1), (0, 1)
    strides = [full, full, (1, 0), columns, full, columns, columns]
    stores = [
        Store(n("multiply", inner, inverse), 4),
        Store(n("multiply", g, hat), 5, "sum", accumulate=True),
        Store(g, 6, "sum", accumulate=True),
    ]
    return n.kernel((s.rows, s.width), strides, stores)


def softmax(s: Sizes) -> Kernel:
    """Of rows of scores."""
    n = Nodes()
    x = n.load(0)
    e = n("exp", n("subtract", x, n("row_max", x)))
    store = Store(n("divide", e, n("row_sum", e)), 1)
    return n.kernel((4 * s.rows, s.length), [(s.length, 1)] * 2, [store])


def cross_entropy(s: Sizes) -> Kernel:
    """The loss of each row, and ``softmax - one_hot`` in the place of the scores."""
    n = Nodes()
    x, label = n.load(0), n.load(1, "int64")
    shifted = n("subtract", x, n("row_max", x))
    e = n("exp", shifted)
    total = n("row_sum", e)
    chosen = n("equal", n("index", detail=1, dtype="int64"), label, dtype="bool")
    picked = n("row_sum", n("where", chosen, shifted, n.number(0)))
    loss = n("subtract", n("log", total), picked)
    error = n("subtract", n("divide", e, total), n("cast", chosen))
    full, column = (s.vocabulary, 1), (1, 0)
    stores = [Store(loss, 2), Store(error, 0)]
    extents = (max(4, s.rows // 8), s.vocabulary)
    return n.kernel(extents, [full, column, column], stores, {1: "int64"})


def column_sums(s: Sizes) -> Kernel:
    """The gradient of a bias, added to."""
    n = Nodes()
    store = Store(n.load(0), 1, "sum", accumulate=True)
    return n.kernel((s.rows, s.hidden), [(s.hidden, 1), (0, 1)], [store])


def sum_of_squares(s: Sizes) -> Kernel:
    """In double precision: what clipping by the global norm needs."""
    n = Nodes("float64")
    x = n("cast", n.load(0, "float32"))
    store = Store(n("multiply", x, x), 1, "sum")
    return n.kernel((s.parameters,), [(1,), (0,)], [store], {0: "float32"})


def adamw(s: Sizes) -> tuple[Kernel, list[float]]:
    """A whole step of AdamW over a flat arena, and its numbers; the last is of clipping."""
    model = nn.Module()
    model.weight = nn.Parameter(np.zeros((2, 2), np.float32))
    optimizer = optim.AdamW(model, 1e-4, weight_decay=0.1, clip_norm=1.0)
    optimizer.step_count = 1
    rule = write_rule(optimizer, "float32", True)
    operands = (Operand("float32", (1,)),) * (2 + len(optimizer.slots))
    stores = tuple(Store(node, operand) for node, operand in rule.results)
    scalars = ("float64",) * len(rule.scalars)
    kernel = Kernel((s.parameters,), operands, scalars, rule.nodes, stores)
    return kernel, [*optimizer.numbers(1e-4).values(), 1.0]


# name -> kernel, and the operands that stay as they are in mixed precision.
_KERNELS: dict[str, tuple[Callable[[Sizes], Kernel], tuple[int, ...]]] = {
    "x + y": (residual_add, ()),
    "bias, GELU": (bias_gelu, (1,)),
    "gradient of bias, GELU": (gelu_backward, (3,)),
    "layer norm": (layer_norm, (1, 2, 5)),
    "gradient of layer norm": (layer_norm_backward, (2, 3, 5, 6)),
    "softmax": (softmax, ()),
    "cross-entropy, both ways": (cross_entropy, (2,)),
    "sums of columns": (column_sums, (1,)),
}


def kernel_cases(sizes: Sizes) -> list[Case]:
    """Return all kernels, in float32 and, where they have activations, in bfloat16."""
    found = []
    for name, (make, kept) in _KERNELS.items():
        kernel = make(sizes)
        limits = {i: sizes.vocabulary for i, o in enumerate(kernel.operands) if o.dtype == "int64"}
        for dtype in ("float32", HALF):
            typed = kernel if dtype == "float32" else _in_half(kernel, kept)
            found.append(Case(name, dtype, typed, traffic(typed), limits))
    norm, (update, numbers) = sum_of_squares(sizes), adamw(sizes)
    found.append(Case("sum of squares", "float32", norm, traffic(norm)))
    found.append(Case("AdamW", "float32", update, traffic(update), {}, numbers))
    return found


def _in_half(kernel: Kernel, kept: tuple[int, ...]) -> Kernel:
    operands = [
        replace(operand, dtype=HALF) if operand.dtype == "float32" and i not in kept else operand
        for i, operand in enumerate(kernel.operands)
    ]
    return replace(kernel, operands=tuple(operands))


def traffic(kernel: Kernel) -> int:
    """Return the bytes that a kernel reads and writes, each element once for either."""
    loads = {node.detail for node in kernel.nodes if node.op == "load"}
    loads |= {store.operand for store in kernel.stores if store.accumulate}
    stores = {store.operand for store in kernel.stores}
    total = 0
    for i, operand in enumerate(kernel.operands):
        count = math.prod(
            n for n, step in zip(kernel.extents, operand.strides, strict=True) if step
        )
        total += count * named(operand.dtype).itemsize * ((i in loads) + (i in stores))
    return total
