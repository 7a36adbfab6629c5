"""The C text of one row: its buffers, its numbers per row, its passes."""

from __future__ import annotations

from collections.abc import Mapping

from hpcad.program.kernels.ir import Kernel, Store
from hpcad.program.kernels.nest import Nest
from hpcad.program.kernels.passes import PassWriter
from hpcad.program.kernels.stages import Pass, Stages
from hpcad.program.kernels.values import Values
from hpcad.program.kernels.widths import mask_stores, mask_type
from hpcad.program.kernels.writer import Writer


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
        self.passes = PassWriter(self.values, writer, self.packed)

    def buffers(self) -> dict[str, str]:
        """Name of each array as long as the row (or tile) -> the C type of its elements."""
        found = {}
        for i in self.stages.buffers:
            boolean = self.kernel.nodes[i].dtype == "bool"
            found[f"b{i}"] = self.mask if boolean else self.values.type(i)
        found.update({f"w{i}": self.mask for i in self.values.spread})
        found.update({f"o{operand}": self.mask for operand in self.packed})
        return found

    def write_once(self) -> None:
        """What is the same for all elements."""
        for i in self.stages.once:
            self.values.write(self.writer, i)

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
                    self.values.write(self.writer, i)
            if step.reductions or step.kept or step.stores:
                self.passes.write(step)
                self._write_packing(step)
        for store in self.stages.row_stores:
            self._write_row_store(store)

    def _write_packing(self, step: Pass) -> None:
        for store in step.stores:
            if store.operand in self.packed:
                place = self.values.element(store.operand)
                self._write_copy(f"{place} = (uint8_t)o{store.operand}[j];")

    def _write_copy(self, statement: str) -> None:
        self.writer.add("#pragma omp simd")
        with self.writer.block("for (long j = 0; j < length; j++)"):
            self.writer.add(statement)

    def _write_row_store(self, store: Store) -> None:
        place = self.values.element(store.operand, along=False)
        value = self.values.as_stored(store, place)
        condition = f"if ({self.values.tile} == 0) " if self.nest.tiled else ""
        self.writer.add(f"{condition}{place} = {value};")
