"""Random kernels: shapes, strides, reductions, sums, updates in place, all mixed."""

from __future__ import annotations

import math

import numpy as np

from hpcad.program.kernels.ir import Kernel, Node, Operand, Store
from hpcad.program.kernels.scalars import fusable

ROWS = (1, 2, 3, 5, 8, 16, 33, 64, 65, 100, 128, 300, 1030, 2100)
OUTER = (1, 2, 3, 4, 7, 12)
MOST = 12000  # elements
UNARY = ("negative", "tanh", "square", "absolute", "relu", "sin")
BINARY = ("add", "subtract", "multiply", "maximum", "minimum", "greater", "less_equal")
REDUCTIONS = ("row_sum", "row_max", "row_min")


class _Builder:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[Node] = []
        self.operands: list[Operand] = []
        self.varies: list[bool] = []
        self.stores: list[Store] = []
        self.dtype = str(rng.choice(["float64", "float32"]))
        while True:
            outer = [int(rng.choice(OUTER)) for _ in range(rng.integers(0, 4))]
            self.extents = (*outer, int(rng.choice(ROWS)))
            if math.prod(self.extents) <= MOST:
                return

    def strides(self, broadcast: float) -> tuple[int, ...]:
        """Of an array in random layout, with random gaps, broadcast along random axes."""
        axes = len(self.extents)
        order = list(range(axes))
        if self.rng.random() < 0.2:
            self.rng.shuffle(order)
        found, stride = [0] * axes, 1
        if self.rng.random() < 0.1:
            stride = 2
        for axis in reversed(order):
            if self.rng.random() >= broadcast:
                found[axis] = stride
                stride *= self.extents[axis]
                stride += int(self.rng.random() < 0.1) * 4
        if self.rng.random() < 0.05:
            axis = int(self.rng.integers(axes))
            found[axis] = -found[axis]
        return tuple(found)

    def add(self, node: Node, varies: bool) -> None:
        self.nodes.append(node)
        self.varies.append(varies)

    def load(self) -> None:
        roll = self.rng.random()
        dtype = "bool" if roll < 0.1 else "int32" if roll < 0.2 else self.dtype
        operand = Operand(dtype, self.strides(float(self.rng.choice([0.0, 0.0, 0.4]))))
        self.operands.append(operand)
        node = Node("load", (), dtype, len(self.operands) - 1)
        self.add(node, operand.strides[-1] != 0)

    def compute(self) -> None:
        rng, dtypes = self.rng, [node.dtype for node in self.nodes]
        a, b = (int(rng.integers(len(self.nodes))) for _ in range(2))
        roll = rng.random()
        if roll < 0.2:
            op = str(rng.choice(REDUCTIONS))
            dtype = self.dtype if op == "row_sum" else dtypes[a]
            self.add(Node(op, (a,), dtype), False)
        elif roll < 0.4:
            op = str(rng.choice(UNARY))
            if fusable(op, [dtypes[a]]) and dtypes[a] == self.dtype:
                self.add(Node(op, (a,), dtypes[a]), self.varies[a])
        elif roll < 0.45:
            self.add(Node("index", (), "int64", int(rng.integers(len(self.extents)))), True)
            self.varies[-1] = self.nodes[-1].detail == len(self.extents) - 1
        elif roll < 0.55:
            self.add(Node("cast", (a,), self.dtype), self.varies[a])
        else:
            op = str(rng.choice(BINARY))
            if dtypes[a] == dtypes[b] == self.dtype:
                test = op in ("greater", "less_equal")
                dtype = "bool" if test else self.dtype
                self.add(Node(op, (a, b), dtype), self.varies[a] or self.varies[b])

    def store(self) -> None:
        rng = self.rng
        number = int(rng.integers(len(self.nodes)))
        node, accumulate = self.nodes[number], bool(rng.random() < 0.3)
        roll = rng.random()
        if roll < 0.4 and node.dtype != "bool":
            strides = self.dense(rng.random(len(self.extents)) < 0.5)
            self.operands.append(Operand(self.dtype, strides))
            self.stores.append(Store(number, len(self.operands) - 1, "sum", accumulate))
        elif not self.varies[number] and roll < 0.8:
            kept = np.ones(len(self.extents), bool)
            kept[-1] = False
            self.target(number, self.dense(kept), accumulate)
        else:
            self.target(number, self.dense(np.ones(len(self.extents), bool)), accumulate)

    def target(self, number: int, strides: tuple[int, ...], accumulate: bool) -> None:
        """A new operand, or one that is loaded, in place."""
        dtype = self.nodes[number].dtype
        taken = {store.operand for store in self.stores}
        for i, operand in enumerate(self.operands):
            if operand == Operand(dtype, strides) and i not in taken and self.rng.random() < 0.7:
                self.stores.append(Store(number, i, None, accumulate and dtype != "bool"))
                return
        self.operands.append(Operand(dtype, strides))
        number_of = len(self.operands) - 1
        self.stores.append(Store(number, number_of, None, accumulate and dtype != "bool"))

    def dense(self, kept: np.ndarray) -> tuple[int, ...]:
        found, stride = [0] * len(self.extents), 1
        for axis in range(len(self.extents) - 1, -1, -1):
            if kept[axis]:
                found[axis] = stride
                stride *= self.extents[axis]
        return tuple(found)


def random_kernel(seed: int) -> Kernel:
    """A kernel of up to three loads, ten computed nodes and three stores."""
    builder = _Builder(np.random.default_rng(seed))
    rng = builder.rng
    for _ in range(rng.integers(1, 4)):
        builder.load()
    if rng.random() < 0.3:  # what updates in place need: a plain array that is loaded
        strides = builder.dense(np.ones(len(builder.extents), bool))
        builder.operands.append(Operand(builder.dtype, strides))
        builder.add(Node("load", (), builder.dtype, len(builder.operands) - 1), True)
    builder.add(Node("scalar", (), builder.dtype, 0), False)
    for _ in range(rng.integers(0, 11)):
        builder.compute()
    for _ in range(rng.integers(1, 4)):
        builder.store()
    return Kernel(
        builder.extents,
        tuple(builder.operands),
        (builder.dtype,),
        tuple(builder.nodes),
        tuple(builder.stores),
    )
