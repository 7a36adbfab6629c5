"""Kernels of networks, written by hand."""

from __future__ import annotations

import math

from hpcad.program.kernels.ir import Kernel, Node, Operand, Store
from hpcad.program.kernels.scalars import result_dtype


class Builder:
    """Collects nodes; every elementwise primitive is a method."""

    def __init__(self, *extents, dtype="float32"):
        self.extents, self.dtype = extents, dtype
        self.operands, self.nodes, self.stores = [], [], []

    def node(self, op, args, dtype, detail=None):
        self.nodes.append(Node(op, tuple(args), dtype, detail))
        return len(self.nodes) - 1

    def load(self, *strides, dtype=None):
        self.operands.append(Operand(dtype or self.dtype, strides))
        return self.node("load", (), dtype or self.dtype, len(self.operands) - 1)

    def number(self, value):
        return self.node("literal", (), self.dtype, value)

    def index(self, axis):
        return self.node("index", (), "int64", axis)

    def reduce(self, kind, node):
        return self.node(f"row_{kind}", (node,), self.nodes[node].dtype)

    def store(self, node, *strides, reduce=None, accumulate=False):
        self.operands.append(Operand(self.nodes[node].dtype, strides))
        self.stores.append(Store(node, len(self.operands) - 1, reduce, accumulate))

    def update(self, node, operand, accumulate=False):
        self.stores.append(Store(node, operand, None, accumulate))

    def kernel(self):
        return Kernel(self.extents, tuple(self.operands), (), tuple(self.nodes), tuple(self.stores))

    def __getattr__(self, op):
        def elementwise(*args):
            return self.node(op, args, result_dtype(op, [self.nodes[a].dtype for a in args]))

        return elementwise


def softmax(rows, length, causal=False):
    """Of the last axis of (rows, length); ``causal``: row i looks at elements 0 to i."""
    b = Builder(rows, length)
    x = b.load(length, 1)
    if causal:
        x = b.where(b.less_equal(b.index(1), b.index(0)), x, b.number(-math.inf))
    e = b.exp(b.subtract(x, b.reduce("max", x)))
    b.store(b.divide(e, b.reduce("sum", e)), length, 1)
    return b.kernel()


def layer_norm(rows, length):
    """(x - mean) / sqrt(variance + 1e-5) of each row."""
    b = Builder(rows, length)
    x, share = b.load(length, 1), b.number(1 / length)
    c = b.subtract(x, b.multiply(b.reduce("sum", x), share))
    variance = b.multiply(b.reduce("sum", b.square(c)), share)
    b.store(b.divide(c, b.sqrt(b.add(variance, b.number(1e-5)))), length, 1)
    return b.kernel()


def cross_entropy(rows, classes):
    """Of (rows, classes) scores and int64 labels: losses, and the derivative by the scores."""
    b = Builder(rows, classes)
    x, label = b.load(classes, 1), b.load(1, 0, dtype="int64")
    z = b.subtract(x, b.reduce("max", x))
    e = b.exp(z)
    total = b.reduce("sum", e)
    hit = b.equal(label, b.index(1))
    b.store(b.subtract(b.log(total), b.reduce("sum", b.where(hit, z, b.number(0.0)))), 1, 0)
    b.store(b.subtract(b.divide(e, total), b.where(hit, b.number(1.0), b.number(0.0))), classes, 1)
    return b.kernel()


def everything(rows, length):
    """All that ends of rows can go wrong with, exact for small whole numbers (float64)."""
    b = Builder(rows, length, dtype="float64")
    x, y, mask = b.load(length, 1), b.load(length, 1), b.load(length, 1, dtype="bool")
    top, low, total = b.reduce("max", x), b.reduce("min", y), b.reduce("sum", x)
    kept = b.where(mask, b.add(x, top), b.subtract(y, low))
    b.update(b.add(kept, total), 0)  # in place
    b.update(x, 1, accumulate=True)  # y += x, the x of before
    b.update(b.greater(kept, b.number(0.0)), 2)
    b.store(kept, 0, 1, reduce="sum")
    b.store(kept, 0, 0, reduce="sum", accumulate=True)
    b.store(b.reduce("sum", kept), 1, 0)
    return b.kernel()


def chain(operations, length):
    """``operations`` times tanh(1.01 x), and its derivative by x: one kernel of all."""
    b = Builder(length, dtype="float64")
    x = b.load(1)
    slope, one, factor = b.number(1.0), b.number(1.0), b.number(1.01)
    outputs = []
    for _ in range(operations):
        x = b.tanh(b.multiply(x, factor))
        outputs.append(x)
    for y in reversed(outputs):
        slope = b.multiply(b.multiply(slope, b.subtract(one, b.square(y))), factor)
    b.store(x, 1)
    b.store(slope, 1)
    return b.kernel()
