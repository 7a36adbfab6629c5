"""What :meth:`LossScale.factor` decides, as a kernel: on a device the host does not even look."""

from __future__ import annotations

from hpcad.optim.loss_scale import HIGHEST, LOWEST
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store


class Numbers:
    """Nodes of a kernel of single numbers in double precision, under construction."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def write(
        self, op: str, *args: int | float, dtype: str = "float64", detail: object = None
    ) -> int:
        """A node of earlier nodes (whole numbers) and of literals (with a decimal point)."""
        places = tuple(a if isinstance(a, int) else self.write("literal", detail=a) for a in args)
        self.nodes.append(Node(op, places, dtype, detail))
        return len(self.nodes) - 1

    def load(self, operand: int, dtype: str = "float64") -> int:
        """A number in memory, in double precision."""
        place = self.write("load", dtype=dtype, detail=operand)
        return place if dtype == "float64" else self.write("cast", place)

    def test(self, op: str, *args: int | float) -> int:
        """A node that is true or false."""
        return self.write(op, *args, dtype="bool")


def decision_kernel(arenas: int, clip_norm: float | None, interval: int) -> Kernel:
    """From squares of gradients to their factor, and to the scale of the next loss.

    Operands, one number each: the squares of each arena, the factor (0 to leave the step out), the
    norm without the scale; then of :class:`LossScale` the scale (float32), ``good``, ``skipped``.
    """
    factor_at, norm_at, scale_at, good_at, skipped_at = range(arenas, arenas + 5)
    of = Numbers()
    total = of.load(0)
    for i in range(1, arenas):
        total = of.write("add", total, of.load(i))
    scale, good, skipped = of.load(scale_at, "float32"), of.load(good_at), of.load(skipped_at)
    finite = of.test("isfinite", total)
    norm = of.write("divide", of.write("sqrt", total), scale)
    factor = of.write("divide", 1.0, scale)
    if clip_norm is not None:
        clipped = of.write("divide", clip_norm, norm)
        clip = of.write("where", of.test("greater", norm, clip_norm), clipped, 1.0)
        factor = of.write("multiply", clip, factor)
    more = of.write("add", good, 1.0)
    grows = of.test("greater_equal", more, float(interval))
    grown = of.write("minimum", of.write("multiply", scale, 2.0), HIGHEST)
    halved = of.write("maximum", of.write("multiply", scale, 0.5), LOWEST)
    after = of.write("where", finite, of.write("where", grows, grown, scale), halved)
    counted = of.write("where", grows, 0.0, more)
    results = {
        factor_at: of.write("where", finite, factor, 0.0),
        norm_at: norm,
        scale_at: of.write("cast", after, dtype="float32"),
        good_at: of.write("where", finite, counted, 0.0),
        skipped_at: of.write("where", finite, skipped, of.write("add", skipped, 1.0)),
    }
    dtypes = ["float64"] * (arenas + 5)
    dtypes[scale_at] = "float32"
    stores = tuple(Store(node, operand) for operand, node in results.items())
    operands = tuple(Operand(dtype, (1,)) for dtype in dtypes)
    return Kernel((1,), operands, (), tuple(of.nodes), stores)


def left_out_by(kernel: Kernel, factor: int) -> Kernel:
    """The same update, which keeps everything as it is where its factor is 0.

    Parameters
    ----------
    kernel : Kernel
        That updates operands in place.
    factor : int
        Operand, of one float64.
    """
    nodes = list(kernel.nodes)

    def load(operand: int) -> int:
        node = Node("load", (), kernel.operands[operand].dtype, operand)
        if node not in nodes:
            nodes.append(node)
        return nodes.index(node)

    number = load(factor)
    nodes.append(Node("literal", (), "float64", 0.0))
    nodes.append(Node("not_equal", (number, len(nodes) - 1), "bool"))
    taken, stores = len(nodes) - 1, []
    for store in kernel.stores:
        old = load(store.operand)
        nodes.append(Node("where", (taken, store.node, old), nodes[store.node].dtype))
        stores.append(Store(len(nodes) - 1, store.operand, store.reduce, store.accumulate))
    return Kernel(kernel.extents, kernel.operands, kernel.scalars, tuple(nodes), tuple(stores))
