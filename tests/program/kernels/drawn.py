"""Random kernels whose results are exact: small whole numbers, and nothing that rounds.

All that a kernel can be is mixed: broadcasts, permuted and reversed layouts, several reductions
along the row that depend on each other, sums along any axes, updates in place. Because sums of
such numbers are exact in float64, compiled kernels must equal NumPy bitwise.
"""

from __future__ import annotations

from hypothesis import strategies as st

from hpcad.program.kernels.ir import Kernel, Node, Operand, Store
from hpcad.program.kernels.nest import nests
from hpcad.program.kernels.scalars import fusable, result_dtype
from hpcad.program.kernels.table import DEAR, TABLE

LENGTHS = (1, 2, 3, 5, 17, 33)
ROUNDING = {"cast", "cast_to_discrete", "masked_divide", "divide", "reciprocal", "sqrt"}
GROWING = {"multiply", "square", "masked_multiply", "zero_multiply", "bitwise_left_shift"}
EXACT = [
    op
    for op, entry in sorted(TABLE.items())
    if (entry.cost < DEAR or op in ("floor_divide", "remainder", "fmod"))
    and op not in ROUNDING | GROWING | {"copysign"}  # which tells -0 from 0, as extremes do not
]


class _Drawing:
    """One kernel in the making; ``r`` draws like :class:`random.Random`."""

    def __init__(self, r):
        self.r = r
        self.extents = self._extents()
        self.operands, self.nodes, self.stores = [], [], []
        self.summed = set()  # nodes that hold sums: too large to be summed again exactly
        for _ in range(r.randint(1, 4)):
            dtype = r.choice(["float64", "float64", "float32", "int32", "int64", "bool"])
            self.nodes.append(Node("load", (), dtype, len(self.operands)))
            self.operands.append(Operand(dtype, self._layout(self.extents, r.random() < 0.5)))
        self.nodes.append(Node("literal", (), "float64", r.choice([1.0, -2.0, 0.0, 3.0])))
        self.nodes.append(Node("literal", (), "int64", r.choice([1, -2, 0, 3])))
        self.nodes.append(Node("scalar", (), r.choice(["float32", "float64", "int64"]), 0))
        if r.random() < 0.5:
            self.nodes.append(Node("index", (), "int64", r.randrange(len(self.extents))))
        for _ in range(r.randint(3, 16)):
            self._node()
        for _ in range(r.randint(1, 4)):
            self._store()

    def kernel(self):
        return Kernel(
            self.extents, tuple(self.operands), ("float64",), tuple(self.nodes), tuple(self.stores)
        )

    def _extents(self):
        r = self.r
        axes = r.choice([1, 2, 2, 3, 4])
        extents = [r.choice(LENGTHS) for _ in range(axes)]
        roll = r.random()
        if roll < 0.3:
            extents[-1] = r.choice([64, 100, 1000])
        elif roll < 0.45:
            extents = [r.choice([1, 3, 20]), r.choice([4097, 5000, 9000])][-axes:]
        elif roll < 0.65:
            extents = [40, *extents[:2]]
        return tuple(extents)

    def _layout(self, extents, full):
        """Strides of an array in some order, with gaps, reversed or broadcast along some axes."""
        r = self.r
        order = list(range(len(extents)))
        if r.random() < 0.3:
            r.shuffle(order)
        strides, step = [0] * len(extents), r.choice([1, 1, 1, 2])
        for axis in reversed(order):
            if full or r.random() < 0.75:
                strides[axis] = step * r.choice([1, 1, 1, -1])
                step = step * extents[axis] + r.choice([0, 0, 0, 3])
        return tuple(strides)

    def _node(self):
        r = self.r
        if r.random() < 0.2:
            self._reduction(r.randrange(len(self.nodes)), r.choice(["sum", "max", "min"]))
            return
        if r.random() < 0.1:
            arg = r.randrange(len(self.nodes))
            if self.nodes[arg].dtype[0] != "f":
                target = r.choice(["int64", "float64", "bool"])
                self.nodes.append(Node("cast", (arg,), target))
            return
        op = r.choice([*EXACT, "multiply"])
        args = tuple(r.randrange(len(self.nodes)) for _ in range(TABLE[op].arity))
        dtypes = [self.nodes[arg].dtype for arg in args]
        leaves = all(self.nodes[arg].op in ("load", "literal", "scalar") for arg in args)
        if fusable(op, dtypes) and (leaves or op != "multiply"):
            if self.summed.intersection(args):
                self.summed.add(len(self.nodes))
            self.nodes.append(Node(op, args, result_dtype(op, dtypes)))

    def _reduction(self, arg, kind):
        dtype = self.nodes[arg].dtype
        if kind == "sum":
            if arg in self.summed:
                return
            dtype = {"bool": "int64", "float32": "float64"}.get(dtype, dtype)
            self.summed.add(len(self.nodes))
        self.nodes.append(Node(f"row_{kind}", (arg,), dtype))

    def _store(self):
        r = self.r
        node = r.randrange(len(self.nodes) // 2, len(self.nodes))
        dtype = self.nodes[node].dtype
        accumulate = dtype != "bool" and r.random() < 0.3
        roll = r.random()
        if roll < 0.4:
            operand = self._in_place(dtype) if r.random() < 0.6 else None
            if operand is None:
                operand = self._new(dtype, self._layout(self.extents, True))
            self.stores.append(Store(node, operand, None, accumulate))
        elif roll < 0.55 and not self._varies(node):
            strides = (*self._layout(self.extents[:-1], True), 0)
            self.stores.append(Store(node, self._new(dtype, strides), None, accumulate))
        elif node not in self.summed:
            dtype = {"bool": "int64", "float32": "float64"}.get(dtype, dtype)
            keep = [r.random() < 0.5 for _ in self.extents]
            kept = [n if k else 1 for n, k in zip(self.extents, keep, strict=True)]
            strides = zip(self._layout(kept, True), keep, strict=True)
            operand = self._new(dtype, tuple(s if k else 0 for s, k in strides))
            self.stores.append(Store(node, operand, "sum", r.random() < 0.3))

    def _new(self, dtype, strides):
        self.operands.append(Operand(dtype, strides))
        return len(self.operands) - 1

    def _in_place(self, dtype):
        """An operand that is loaded, every element once, and not yet stored."""
        taken = {store.operand for store in self.stores}
        for i, operand in enumerate(self.operands):
            whole = all(s or n == 1 for s, n in zip(operand.strides, self.extents, strict=True))
            if i not in taken and operand.dtype == dtype and whole:
                return i
        return None

    def _varies(self, node):
        """Whether a node is one number per element (and the row has several)."""
        spec = self.nodes[node]
        if self.extents[-1] == 1 or spec.op.startswith("row_"):
            return False
        if spec.op == "load":
            return self.operands[spec.detail].strides[-1] != 0
        if spec.op == "index":
            return spec.detail == len(self.extents) - 1
        return any(self._varies(arg) for arg in spec.args)


def _compilable(kernel):
    try:
        nests(kernel)
    except ValueError:
        return False
    return bool(kernel.stores)


@st.composite
def exact_kernels(draw, count):
    """Several kernels at once: the compiler takes half as long for them."""
    r = draw(st.randoms(use_true_random=False, note_method_calls=False))
    kernels = [_Drawing(r).kernel() for _ in range(count)]
    return [kernel for kernel in kernels if _compilable(kernel)]
