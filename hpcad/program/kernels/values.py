"""The C text of the values of nodes.

Names in the generated code: ``a``, ``g``, ``r`` pointers to an operand (its beginning, this group,
this row), ``v`` the value of a node, ``b`` a buffer of values along the row, ``w`` masks spread out
(``o``: not yet packed), ``q`` sums per element of the row, ``t`` totals of sums over rows, ``y``
results of reductions along the row, ``z`` partial sums, ``m`` partial extremes, ``i`` indices of
outer axes, ``j`` that along the row, ``l`` a lane.
"""

from __future__ import annotations

from hpcad.program.kernels.ir import ROW_REDUCTIONS, Kernel, Store
from hpcad.program.kernels.nest import Nest
from hpcad.program.kernels.scalars import (
    C_TYPES,
    ENDINGS,
    computed_in,
    convert,
    expression,
    from_memory,
    literal,
    to_memory,
)
from hpcad.program.kernels.stages import PER_ELEMENT, Stages
from hpcad.program.kernels.walk import along_row
from hpcad.program.kernels.widths import COMPARISONS, LARGEST, narrow_integers, spread_masks
from hpcad.program.kernels.writer import Writer


class Values:
    """Texts of the values of a nest.

    Attributes
    ----------
    narrow : set of int
        int64 nodes that are int32 in C.
    spread : list of int
        Loads of masks that are read from ``w``.
    bounded : set of int
        int64 numbers per row of which ``x`` is a stand-in for comparisons in 32 bits.
    tile : str
        The index of the tile, where the row is tiled.
    """

    def __init__(self, kernel: Kernel, nest: Nest, stages: Stages) -> None:
        self.kernel, self.nest, self.stages = kernel, nest, stages
        self.narrow = narrow_integers(kernel)
        self.spread = spread_masks(kernel, nest, stages)
        self.bounded = self._find_bounded()
        self._chosen = self._find_chosen()
        axes = [*nest.groups, *nest.summed]
        self._index = {axis.indexed: f"i{k}" for k, axis in enumerate(axes)}
        self.tile = next((f"i{k}" for k, axis in enumerate(axes) if axis.tile), "")

    def type(self, i: int) -> str:
        """The C type of a node."""
        return "int32_t" if i in self.narrow else C_TYPES[self.kernel.nodes[i].dtype]

    def stated(self, i: int) -> str:
        """A value in the type that its node has."""
        return f"(int64_t)v{i}" if i in self.narrow else f"v{i}"

    def converted(self, i: int, dtype: str) -> str:
        """A value in another type."""
        return convert(self.stated(i), self.kernel.nodes[i].dtype, dtype)

    def as_stored(self, store: Store, old: str = "") -> str:
        """What a store writes: its node, added to the element ``old`` of its operand."""
        dtype, node = self.kernel.operands[store.operand].dtype, self.kernel.nodes[store.node]
        if not store.accumulate:
            return to_memory(self.stated(store.node), node.dtype, dtype)
        kind = computed_in(dtype)
        terms = [from_memory(old, dtype), self.converted(store.node, kind)]
        return to_memory(f"({expression('add', terms, [kind, kind], kind)})", kind, dtype)

    def write(self, writer: Writer, i: int) -> None:
        """Write the constant that is the value of a node."""
        writer.add(f"const {self.type(i)} v{i} = {self._text(i)};")
        if i in self.bounded:
            writer.add(f"const int32_t x{i} = {self._bounded_text(i)};")

    def element(self, operand: int, along: bool = True) -> str:
        """The element of an operand at ``j``, or the one of the row."""
        stride = self.nest.row.strides[operand] if along else 0
        return f"r{operand}[{along_row(stride)}]"

    def _text(self, i: int) -> str:
        """The expression that computes a node from those before it."""
        node = self.kernel.nodes[i]
        if node.op == "literal":
            return self._literal(i)
        if node.op == "scalar":
            return convert(f"s[{node.detail}]", "float64", node.dtype)
        if node.op == "load":
            if i in self.spread:
                return f"w{i}[j] != 0"
            text = self.element(node.detail, along=self.stages.level[i] == PER_ELEMENT)
            return from_memory(text, self.kernel.operands[node.detail].dtype)
        if node.op == "index":
            return f"(int32_t)({self._index_text(node.detail)})"
        if node.op in ROW_REDUCTIONS:
            return f"({C_TYPES[node.dtype]})y{i}"
        return self._elementwise(i)

    def _literal(self, i: int) -> str:
        node = self.kernel.nodes[i]
        text = literal(node.detail, "int32" if i in self.narrow else node.dtype)
        return f"hp_unknown{ENDINGS[node.dtype]}({text})" if i in self._chosen else text

    def _find_chosen(self) -> set[int]:
        """Literals among which ``where`` chooses: gcc, knowing them, takes masked loops apart."""
        args = {arg for node in self.kernel.nodes if node.op == "where" for arg in node.args[1:]}
        nodes = self.kernel.nodes
        return {i for i in args if nodes[i].op == "literal" and nodes[i].dtype[0] == "f"}

    def _index_text(self, axis: int) -> str:
        if axis == self.nest.row.indexed:
            return f"{self.tile} * {self.nest.tile}L + j" if self.nest.tiled else "j"
        return self._index.get(axis, "0")

    def _elementwise(self, i: int) -> str:
        node = self.kernel.nodes[i]
        if i in self.narrow:
            args = [f"v{arg}" for arg in node.args]
            return expression(node.op, args, ["int32"] * len(args), "int32")
        if self._compares_narrow(i):
            args = [self._bounded(arg) for arg in node.args]
            return expression(node.op, args, ["int32", "int32"], "bool")
        if node.op == "power" and self._is_two(node.args[1]):  # as NumPy does it
            base = self.converted(node.args[0], node.dtype)
            return expression("square", [f"({base})"], [node.dtype], node.dtype)
        dtypes = [self.kernel.nodes[arg].dtype for arg in node.args]
        text = expression(node.op, [self.stated(arg) for arg in node.args], dtypes, node.dtype)
        if i in self.stages.guarded:
            return text.replace(f"hp_{node.op}_", f"hp_{node.op}_near_")
        return text

    # -- guarded functions ----------------------------------------------------------------------

    def far(self, i: int) -> str:
        """Whether the argument of a guarded function is one that its near form is not for."""
        node = self.kernel.nodes[i]
        return f"hp_far{ENDINGS[node.dtype]}({self.converted(node.args[0], node.dtype)})"

    def everywhere(self, i: int) -> str:
        """The value of a guarded function for any argument."""
        node = self.kernel.nodes[i]
        return f"hp_{node.op}{ENDINGS[node.dtype]}({self.converted(node.args[0], node.dtype)})"

    def _is_two(self, i: int) -> bool:
        node = self.kernel.nodes[i]
        return node.op == "literal" and node.dtype[0] == "f" and node.detail == 2

    # -- comparisons in 32 bits -----------------------------------------------------------------

    def _compares_narrow(self, i: int) -> bool:
        node = self.kernel.nodes[i]
        if node.op not in COMPARISONS or not any(arg in self.narrow for arg in node.args):
            return False
        return all(arg in self.narrow or self._is_row_integer(arg) for arg in node.args)

    def _is_row_integer(self, i: int) -> bool:
        whole = self.kernel.nodes[i].dtype in ("int32", "int64")
        return whole and self.stages.level[i] != PER_ELEMENT

    def _find_bounded(self) -> set[int]:
        found: set[int] = set()
        for i, node in enumerate(self.kernel.nodes):
            if self._compares_narrow(i):
                found.update(arg for arg in node.args if arg not in self.narrow)
        return {i for i in found if self.kernel.nodes[i].dtype == "int64"}

    def _bounded(self, i: int) -> str:
        whole = i in self.narrow or self.kernel.nodes[i].dtype == "int32"
        return f"v{i}" if whole else f"x{i}"

    def _bounded_text(self, i: int) -> str:
        """What is beyond the range of narrow integers stays beyond."""
        most = LARGEST + 1
        return f"(int32_t)(v{i} < -{most} ? -{most} : v{i} > {most} ? {most} : v{i})"
