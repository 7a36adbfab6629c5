"""The C text of one row: its values, its passes, its reductions and stores.

Names in the generated code: ``a``, ``g``, ``r`` pointers to an operand (its beginning, this group,
this row), ``v`` the value of a node, ``b`` a buffer of values along the row, ``q`` sums per element
of the row, ``t`` totals of sums over rows, ``y`` results of reductions along the row (``f``: a NaN
was seen), ``z`` partial sums, ``w`` masks spread out (``o``: not yet packed), ``i`` indices of
outer axes, ``j`` that along the row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from hpcad.program.kernels.ir import ROW_REDUCTIONS, Kernel, Store
from hpcad.program.kernels.lanes import (
    COMPARISONS,
    LARGEST,
    mask_stores,
    mask_type,
    narrow_integers,
    spread_masks,
)
from hpcad.program.kernels.nest import TILE, Nest
from hpcad.program.kernels.scalars import C_TYPES, convert, expression, literal
from hpcad.program.kernels.stages import PER_ELEMENT, Pass, Stages
from hpcad.program.kernels.writer import Writer

_EXTREMES = {
    "bool": ("false", "true"),
    "int32": ("INT32_MIN", "INT32_MAX"),
    "int64": ("INT64_MIN", "INT64_MAX"),
    "float32": ("-INFINITY", "INFINITY"),
    "float64": ("-INFINITY", "INFINITY"),
}


def total_type(dtype: str) -> str:
    """The C type of a sum of many partial sums: double for all floating point."""
    return "double" if dtype == "float32" else C_TYPES[dtype]


class RowWriter:
    """Writes the values of a nest; ``offsets`` names what is in the scratch memory."""

    def __init__(
        self, kernel: Kernel, nest: Nest, stages: Stages, writer: Writer, offsets: Mapping[str, int]
    ) -> None:
        self.kernel, self.nest, self.stages, self.writer = kernel, nest, stages, writer
        self.offsets = offsets
        self.narrow = narrow_integers(kernel)
        self.spread = spread_masks(kernel, nest, stages)
        self.packed = mask_stores(kernel, nest, stages)
        self.mask = mask_type(kernel, stages)
        axes = [*nest.groups, *nest.summed]
        self.index = {axis.indexed: f"i{k}" for k, axis in enumerate(axes)}
        in_groups = nest.tiled and nest.groups and nest.groups[-1].tile
        self.tile = f"i{len(nest.groups) - 1 if in_groups else len(axes) - 1}"

    def write_once(self) -> None:
        """What is the same for all elements."""
        for i in self.stages.once:
            self._write_value(i)

    def write_length(self) -> None:
        """``length``: how many elements of the row (of a tiled one: of this tile) there are."""
        row, tile = self.nest.row.extent, self.nest.tile
        if row % tile == 0 or not self.nest.tiled:
            self.writer.add(f"const long length = {tile};")
            return
        self.writer.add(f"const long left = {row}L - {self.tile} * {tile}L;")
        self.writer.add(f"const long length = left < {tile} ? left : {tile};")

    def write_row(self) -> None:
        """One row, or one tile of it."""
        self.write_length()
        for name, kind in self.buffers().items():
            if name not in self.offsets:
                self.writer.add(f"{kind} {name}[{self.nest.tile}];")
        for i in self.spread:
            place = self._element("r", self.kernel.nodes[i].detail)
            self._write_copy(f"w{i}[j] = {place};")
        for number, step in enumerate(self.stages.passes):
            for i in self.stages.per_row:
                if self.stages.stage[i] == number:
                    self._write_value(i)
            if step.reductions or step.kept or step.stores:
                self._write_pass(step)
            for store in step.stores:
                if store.operand in self.packed:
                    place = self._element("r", store.operand)
                    self._write_copy(f"{place} = (uint8_t)o{store.operand}[j];")
        for store in self.stages.row_stores:
            self._write_row_store(store)

    def buffers(self) -> dict[str, str]:
        """Name of each array as long as the row (or tile) -> the C type of its elements."""
        found = {}
        for i in self.stages.buffers:
            dtype = self.kernel.nodes[i].dtype
            found[f"b{i}"] = self.mask if dtype == "bool" else self._type(i)
        found.update({f"w{i}": self.mask for i in self.spread})
        found.update({f"o{operand}": self.mask for operand in self.packed})
        return found

    def _write_copy(self, statement: str) -> None:
        self.writer.add("#pragma omp simd")
        with self.writer.block("for (long j = 0; j < length; j++)"):
            self.writer.add(statement)

    # -- values ---------------------------------------------------------------------------------

    def _type(self, i: int) -> str:
        return "int32_t" if i in self.narrow else C_TYPES[self.kernel.nodes[i].dtype]

    def _write_value(self, i: int) -> None:
        self.writer.add(f"const {self._type(i)} v{i} = {self._value(i)};")

    def _value(self, i: int) -> str:
        node = self.kernel.nodes[i]
        if node.op == "literal":
            return self._literal(i)
        if node.op == "scalar":
            return convert(f"s[{node.detail}]", "float64", node.dtype)
        if node.op == "load":
            if i in self.spread:
                return f"w{i}[j] != 0"
            text = self._element("r", node.detail, along=self.stages.level[i] == PER_ELEMENT)
            return f"{text} != 0" if node.dtype == "bool" else text
        if node.op == "index":
            return f"(int32_t)({self._index(node.detail)})"
        if node.op in ROW_REDUCTIONS:
            return self._reduced(i)
        return self._elementwise(i)

    def _literal(self, i: int) -> str:
        """Infinities are variables: knowing them, compilers take masked loops apart (gcc 12)."""
        node = self.kernel.nodes[i]
        if node.dtype in ("float32", "float64") and math.isinf(node.detail):
            sign = "-" if node.detail < 0 else ""
            return f"({C_TYPES[node.dtype]}){sign}hp_infinity"
        return literal(node.detail, "int32" if i in self.narrow else node.dtype)

    def _elementwise(self, i: int) -> str:
        node = self.kernel.nodes[i]
        narrow = [arg in self.narrow for arg in node.args]
        compared = node.op in COMPARISONS and any(narrow)
        if compared and all(
            known or self._is_row_integer(arg) for arg, known in zip(node.args, narrow, strict=True)
        ):
            args = [self._beyond(arg) for arg in node.args]
            return expression(node.op, args, ["int32", "int32"], "bool")
        if i in self.narrow:
            args = [f"v{arg}" for arg in node.args]
            return expression(node.op, args, ["int32"] * len(args), "int32")
        args = [self._as_stated(arg) for arg in node.args]
        dtypes = [self.kernel.nodes[arg].dtype for arg in node.args]
        return expression(node.op, args, dtypes, node.dtype)

    def _as_stated(self, i: int) -> str:
        """A value in the type that its node has."""
        return f"(int64_t)v{i}" if i in self.narrow else f"v{i}"

    def _is_row_integer(self, i: int) -> bool:
        whole = self.kernel.nodes[i].dtype in ("int32", "int64")
        return whole and self.stages.level[i] != PER_ELEMENT

    def _beyond(self, i: int) -> str:
        """An integer for comparison with narrow ones: what is beyond their range stays beyond."""
        if i in self.narrow or self.kernel.nodes[i].dtype == "int32":
            return f"v{i}"
        most = LARGEST + 1
        return f"(int32_t)(v{i} < -{most} ? -{most} : v{i} > {most} ? {most} : v{i})"

    def _element(self, prefix: str, operand: int, along: bool = True) -> str:
        stride = self.nest.row.strides[operand] if along else 0
        place = {0: "0", 1: "j"}.get(stride, f"j * {stride}L")
        return f"{prefix}{operand}[{place}]"

    def _index(self, axis: int) -> str:
        if axis == self.nest.row.indexed:
            return f"{self.tile} * {self.nest.tile}L + j" if self.nest.tiled else "j"
        return self.index.get(axis, "0")

    def _reduced(self, i: int) -> str:
        node = self.kernel.nodes[i]
        if node.op != "row_sum" and node.dtype in ("float32", "float64"):
            return f"f{i} ? ({C_TYPES[node.dtype]})NAN : y{i}"
        return f"({C_TYPES[node.dtype]})y{i}"

    # -- a pass ---------------------------------------------------------------------------------

    def _write_pass(self, step: Pass) -> None:
        for i in step.reductions:
            self._declare_reduction(i)
        sums = self._sums(step)
        if not sums:
            self._write_loop(step, "0", "length")
        elif self.nest.tile <= TILE:
            self._write_summing_loop(step, sums, "0", "length")
        else:  # sums of many numbers are sums of partial ones
            with self.writer.block(f"for (long from = 0; from < length; from += {TILE})"):
                self.writer.add(f"const long to = length - from < {TILE} ? length : from + {TILE};")
                self._write_summing_loop(step, sums, "from", "to")

    def _sums(self, step: Pass) -> dict[str, tuple[str, str]]:
        """Name of the partial sum -> (its type, name of the total)."""
        sums = {}
        for i in step.reductions:
            if self.kernel.nodes[i].op == "row_sum":
                sums[f"z{i}"] = (C_TYPES[self.kernel.nodes[i].dtype], f"y{i}")
        for store in step.stores:
            if store.reduce is not None and not self.nest.row.strides[store.operand]:
                dtype = self.kernel.operands[store.operand].dtype
                sums[f"zt{store.operand}"] = (C_TYPES[dtype], f"t{store.operand}")
        return sums

    def _declare_reduction(self, i: int) -> None:
        node = self.kernel.nodes[i]
        if node.op == "row_sum":
            self.writer.add(f"{total_type(node.dtype)} y{i} = 0;")
            return
        start = _EXTREMES[node.dtype][node.op == "row_min"]
        self.writer.add(f"{C_TYPES[node.dtype]} y{i} = {start};")
        if node.dtype in ("float32", "float64"):
            self.writer.add(f"int f{i} = 0;")

    def _write_summing_loop(self, step: Pass, sums: dict, begin: str, end: str) -> None:
        for name, (kind, _) in sums.items():
            self.writer.add(f"{kind} {name} = 0;")
        self._write_loop(step, begin, end)
        for name, (_, total) in sums.items():
            self.writer.add(f"{total} += {name};")

    def _write_loop(self, step: Pass, begin: str, end: str) -> None:
        clauses = [f" reduction(+ : {name})" for name in self._sums(step)]
        for i in step.reductions:
            clauses += self._extreme_clauses(i)
        self.writer.add(f"#pragma omp simd{''.join(clauses)}")
        with self.writer.block(f"for (long j = {begin}; j < {end}; j++)"):
            for i in sorted([*step.nodes, *step.read]):
                if i in step.read:
                    kind = self.kernel.nodes[i].dtype
                    text = f"b{i}[j] != 0" if kind == "bool" else f"b{i}[j]"
                    self.writer.add(f"const {self._type(i)} v{i} = {text};")
                else:
                    self._write_value(i)
            for i in step.kept:
                self.writer.add(f"b{i}[j] = v{i};")
            for i in step.reductions:
                self._write_reduction(i)
            for store in step.stores:
                self._write_store(store)

    def _extreme_clauses(self, i: int) -> list[str]:
        node = self.kernel.nodes[i]
        if node.op == "row_sum":
            return []
        if node.dtype == "bool":
            return [f" reduction({'|' if node.op == 'row_max' else '&'} : y{i})"]
        clauses = [f" reduction({node.op[4:]} : y{i})"]
        if node.dtype in ("float32", "float64"):
            clauses.append(f" reduction(| : f{i})")
        return clauses

    def _write_reduction(self, i: int) -> None:
        node = self.kernel.nodes[i]
        arg = node.args[0]
        value = convert(self._as_stated(arg), self.kernel.nodes[arg].dtype, node.dtype)
        if node.op == "row_sum":
            self.writer.add(f"z{i} += {value};")
        elif node.dtype == "bool":
            self.writer.add(f"y{i} {'|' if node.op == 'row_max' else '&'}= {value};")
        else:
            sign = ">" if node.op == "row_max" else "<"
            self.writer.add(f"y{i} = {value} {sign} y{i} ? {value} : y{i};")
            if node.dtype in ("float32", "float64"):
                self.writer.add(f"f{i} |= {value} != {value};")

    # -- stores ---------------------------------------------------------------------------------

    def _write_store(self, store: Store) -> None:
        dtype = self.kernel.operands[store.operand].dtype
        value = convert(self._as_stated(store.node), self.kernel.nodes[store.node].dtype, dtype)
        if store.operand in self.packed:
            self.writer.add(f"o{store.operand}[j] = {value};")
        elif store.reduce is None:
            self._write_plain(store, self._element("r", store.operand), value)
        elif self.nest.row.strides[store.operand]:
            self.writer.add(f"q{store.operand}[j] += {value};")
        else:
            self.writer.add(f"zt{store.operand} += {value};")

    def _write_row_store(self, store: Store) -> None:
        dtype = self.kernel.operands[store.operand].dtype
        value = convert(self._as_stated(store.node), self.kernel.nodes[store.node].dtype, dtype)
        if self.nest.tiled:
            with self.writer.block(f"if ({self.tile} == 0)"):
                self._write_plain(store, f"r{store.operand}[0]", value)
        else:
            self._write_plain(store, f"r{store.operand}[0]", value)

    def _write_plain(self, store: Store, place: str, value: str) -> None:
        dtype = self.kernel.operands[store.operand].dtype
        if store.accumulate:
            value = expression("add", [place, value], [dtype, dtype], dtype)
        self.writer.add(f"{place} = {value};")
