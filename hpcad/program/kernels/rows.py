"""The C text of one row: its passes, their loops, reductions and stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpcad.program.kernels import reductions
from hpcad.program.kernels.ir import Kernel, Store
from hpcad.program.kernels.lanes import mask_stores, mask_type
from hpcad.program.kernels.nest import TILE, Nest
from hpcad.program.kernels.reductions import Accumulator
from hpcad.program.kernels.scalars import convert, cost, expression
from hpcad.program.kernels.stages import Pass, Stages
from hpcad.program.kernels.values import Values
from hpcad.program.kernels.writer import Writer

_LANES = 16  # a vector of AVX-512, two of AVX2
_LIGHT = 4  # additions per element
_MANY = 200  # nodes: the loop is not written twice, for lanes and for what is left over


class RowWriter:
    """Writes the values of a nest; ``offsets`` names what is in the scratch memory."""

    def __init__(
        self, kernel: Kernel, nest: Nest, stages: Stages, writer: Writer, offsets: Mapping[str, int]
    ) -> None:
        self.kernel, self.nest, self.stages, self.writer = kernel, nest, stages, writer
        self.offsets = offsets
        self.values = Values(kernel, nest, stages)
        self.packed = mask_stores(kernel, nest, stages)
        self.mask = mask_type(kernel, stages)

    def buffers(self) -> dict[str, str]:
        """Name of each array as long as the row (or tile) -> the C type of its elements."""
        found = {}
        for i in self.stages.buffers:
            boolean = self.kernel.nodes[i].dtype == "bool"
            found[f"b{i}"] = self.mask if boolean else self.values.type(i)
        found.update({f"w{i}": self.mask for i in self.values.spread})
        found.update({f"o{operand}": self.mask for operand in self.packed})
        return found

    # -- the row --------------------------------------------------------------------------------

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
        self.writer.add(f"const long left = {row}L - {self.values.tile} * {tile}L;")
        self.writer.add(f"const long length = left < {tile} ? left : {tile};")

    def write_row(self) -> None:
        """One row, or one tile of it."""
        self.write_length()
        for name, kind in self.buffers().items():
            if name not in self.offsets:
                self.writer.add(f"{kind} {name}[{self.nest.tile}];")
        for i in self.values.spread:
            place = self.values.element(self.kernel.nodes[i].detail)
            self._write_copy(f"w{i}[j] = {place};")
        for number, step in enumerate(self.stages.passes):
            for i in self.stages.per_row:
                if self.stages.stage[i] == number:
                    self._write_value(i)
            self._write_pass(step)
        for store in self.stages.row_stores:
            self._write_row_store(store)

    def _write_value(self, i: int) -> None:
        self.writer.add(f"const {self.values.type(i)} v{i} = {self.values.text(i)};")
        if i in self.values.bounded:
            self.writer.add(f"const int32_t x{i} = {self.values.bounded_text(i)};")

    def _write_copy(self, statement: str) -> None:
        self.writer.add("#pragma omp simd")
        with self.writer.block("for (long j = 0; j < length; j++)"):
            self.writer.add(statement)

    # -- a pass ---------------------------------------------------------------------------------

    def _write_pass(self, step: Pass) -> None:
        if not (step.reductions or step.kept or step.stores):
            return
        found = self._accumulators(step)
        reductions.declare_totals(self.writer, found)
        if not found:
            self.writer.add("#pragma omp simd")
            with self.writer.block("for (long j = 0; j < length; j++)"):
                self._write_body(step)
        elif self.nest.tile <= TILE:
            self._write_reducing(step, found, "0", "length")
        else:  # sums of many numbers are sums of partial ones
            with self.writer.block(f"for (long from = 0; from < length; from += {TILE})"):
                self.writer.add(f"const long to = length - from < {TILE} ? length : from + {TILE};")
                self._write_reducing(step, found, "from", "to")
        for store in step.stores:
            if store.operand in self.packed:
                place = self.values.element(store.operand)
                self._write_copy(f"{place} = (uint8_t)o{store.operand}[j];")

    def _accumulators(self, step: Pass) -> list[Accumulator]:
        found = []
        for i in step.reductions:
            node = self.kernel.nodes[i]
            found += reductions.of_node(i, node, self._converted(node.args[0], node.dtype))
        for store in step.stores:
            if self._sums_along(store):
                dtype = self.kernel.operands[store.operand].dtype
                found.append(reductions.of_store(store, dtype, self._converted(store.node, dtype)))
        return found

    def _sums_along(self, store: Store) -> bool:
        return store.reduce is not None and not self.nest.row.strides[store.operand]

    def _converted(self, i: int, dtype: str) -> str:
        return convert(self.values.stated(i), self.kernel.nodes[i].dtype, dtype)

    def _write_reducing(
        self, step: Pass, found: Sequence[Accumulator], begin: str, end: str
    ) -> None:
        lanes = 2 * _LANES if self._waits(step) else _LANES
        if self.nest.tile >= lanes and len(step.nodes) <= _MANY:
            begin = self._write_lanes(step, found, begin, end, lanes)
            if self._divides(lanes):
                return
        for each in found:
            self.writer.add(f"{each.type} {each.name} = {each.start};")
        clauses = "".join(each.clause() for each in found)
        self.writer.add(f"#pragma omp simd{clauses}")
        with self.writer.block(f"for (long j = {begin}; j < {end}; j++)"):
            self._write_body(step)
            for each in found:
                self.writer.add(each.update(each.name, each.value))
        for each in found:
            self.writer.add(each.update(each.total, each.name))

    def _waits(self, step: Pass) -> bool:
        """Whether a loop mostly waits for the last addition; a second vector of lanes helps."""
        work = sum(cost(self.kernel.nodes[i].op) for i in step.nodes)
        return work <= _LIGHT and self.nest.tile >= 16 * _LANES

    def _divides(self, count: int) -> bool:
        """Whether all rows, or tiles, are whole multiples."""
        return self.nest.row.extent % count == 0 and self.nest.tile % count == 0

    def _write_lanes(
        self, step: Pass, found: Sequence[Accumulator], begin: str, end: str, lanes: int
    ) -> str:
        """The loop over whole sets of lanes; returns where it ends."""
        reductions.declare_lanes(self.writer, found, lanes)
        whole = end if self._divides(lanes) else f"{end} - ({end} - {begin}) % {lanes}"
        with self.writer.block(f"for (long k = {begin}; k < {whole}; k += {lanes})"):
            self.writer.add("#pragma omp simd")
            with self.writer.block(f"for (int l = 0; l < {lanes}; l++)"):
                self.writer.add("const long j = k + l;")
                self._write_body(step)
                for each in found:
                    self.writer.add(each.update(f"{each.name}s[l]", each.value))
        for each in found:
            self.writer.add(f"const {each.type} {each.name}l = {each.of_lanes(lanes)};")
            self.writer.add(each.update(each.total, f"{each.name}l"))
        return whole

    def _write_body(self, step: Pass) -> None:
        """Everything that happens at one element, but for reductions."""
        for i in sorted([*step.nodes, *step.read]):
            if i in step.read:
                test = " != 0" if self.kernel.nodes[i].dtype == "bool" else ""
                self.writer.add(f"const {self.values.type(i)} v{i} = b{i}[j]{test};")
            else:
                self._write_value(i)
        for i in step.kept:
            self.writer.add(f"b{i}[j] = v{i};")
        for store in step.stores:
            self._write_store(store)

    # -- stores ---------------------------------------------------------------------------------

    def _write_store(self, store: Store) -> None:
        value = self._converted(store.node, self.kernel.operands[store.operand].dtype)
        if store.operand in self.packed:
            self.writer.add(f"o{store.operand}[j] = {value};")
        elif store.reduce is None:
            self._write_plain(store, self.values.element(store.operand), value)
        elif self.nest.row.strides[store.operand]:
            self.writer.add(f"q{store.operand}[j] += {value};")

    def _write_row_store(self, store: Store) -> None:
        value = self._converted(store.node, self.kernel.operands[store.operand].dtype)
        place = self.values.element(store.operand, along=False)
        if self.nest.tiled:
            with self.writer.block(f"if ({self.values.tile} == 0)"):
                self._write_plain(store, place, value)
        else:
            self._write_plain(store, place, value)

    def _write_plain(self, store: Store, place: str, value: str) -> None:
        dtype = self.kernel.operands[store.operand].dtype
        if store.accumulate:
            value = expression("add", [place, value], [dtype, dtype], dtype)
        self.writer.add(f"{place} = {value};")
