"""What the C functions of one nest have in common: sums, scratch memory, pointers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from hpcad.program.kernels.ir import Kernel, Store
from hpcad.program.kernels.nest import Nest
from hpcad.program.kernels.reductions import total_type
from hpcad.program.kernels.rows import RowWriter
from hpcad.program.kernels.scalars import C_TYPES, ITEMSIZE, STORED, computed_in, cost
from hpcad.program.kernels.stages import schedule
from hpcad.program.kernels.walk import along_row
from hpcad.program.kernels.writer import Writer

MANY_GROUPS = 16  # enough for threads to share evenly
BLOCK = 256  # rows: sums per element of the row of more than that are sums of partial ones
ON_STACK = 65536  # bytes of buffers; more are kept in scratch memory
LINE = 128  # bytes between the scratch memories of two workers

_SIZES = {kind: ITEMSIZE[dtype] for dtype, kind in C_TYPES.items()}


class Frame:
    """A nest, and where its sums and buffers are.

    Attributes
    ----------
    sums : list of Store
        The reducing ones. Those that keep the row are *wide*: accumulated in an array ``q`` (of
        many rows: in ``q`` per block of rows, and the blocks in ``u``).
    groups, summed : int
        How many there are.
    partial : bool
        With few groups the workers share the summed axes, and their sums are added up after.
    scratch : int
        Bytes per worker.
    types : dict
        The operands that are touched, and the C types of pointers to them.
    """

    def __init__(self, kernel: Kernel, nest: Nest, writer: Writer) -> None:
        self.kernel, self.nest, self.writer = kernel, nest, writer
        self.stages = schedule(kernel, nest)
        self.sums = [store for store in nest.stores if store.reduce is not None]
        self.groups = math.prod(axis.extent for axis in nest.groups)
        self.summed = math.prod(axis.extent for axis in nest.summed)
        self.partial = bool(self.sums) and self.summed > 1 and self.groups < MANY_GROUPS
        self.offsets: dict[str, int] = {}
        self.held: dict[str, str] = {}
        self.rows = RowWriter(kernel, nest, self.stages, writer, self.offsets)
        self.scratch = self._plan_scratch()
        self.types = self._pointer_types()

    # -- sums -----------------------------------------------------------------------------------

    def dtype(self, store: Store) -> str:
        """That a sum is computed in."""
        return computed_in(self.kernel.operands[store.operand].dtype)

    def is_wide(self, store: Store) -> bool:
        """Whether a sum keeps the row."""
        return self.nest.row.strides[store.operand] != 0

    def is_blocked(self, store: Store) -> bool:
        """Whether a wide sum has so many rows that float32 would lose digits."""
        return self.is_wide(store) and self.summed > BLOCK and self.dtype(store) == "float32"

    def total(self, store: Store) -> str:
        """The name of what has the sum of a worker in the end."""
        return f"{'u' if self.is_blocked(store) else 'q'}{store.operand}"

    def place(self, store: Store) -> str:
        """The element of the group that a sum is written to."""
        return f"g{store.operand}[{along_row(self.nest.row.strides[store.operand])}]"

    # -- scratch memory -------------------------------------------------------------------------

    def _plan_scratch(self) -> int:
        end = 0
        for name, (kind, count) in self._scratch_arrays().items():
            self.offsets[name], self.held[name] = end, kind
            end += -(-_SIZES[kind] * count // 64) * 64
        return -(-end // LINE) * LINE

    def _scratch_arrays(self) -> dict[str, tuple[str, int]]:
        """Name -> C type of the elements, and their number."""
        found = {}
        for store in self.sums:
            if self.is_wide(store):
                found[f"q{store.operand}"] = (C_TYPES[self.dtype(store)], self.nest.tile)
            elif self.partial:
                found[f"q{store.operand}"] = (total_type(self.dtype(store)), 1)
            if self.is_blocked(store):
                found[f"u{store.operand}"] = ("double", self.nest.tile)
        buffers = self.rows.buffers()
        if sum(_SIZES[kind] for kind in buffers.values()) * self.nest.tile > ON_STACK:
            found.update({name: (kind, self.nest.tile) for name, kind in buffers.items()})
        return found

    # -- pointers -------------------------------------------------------------------------------

    def _pointer_types(self) -> dict[int, str]:
        written = {store.operand for store in self.nest.stores}
        live = {*self.stages.once, *self.stages.per_row}
        for step in self.stages.passes:
            live.update(step.nodes)
        loaded = {self.kernel.nodes[i].detail for i in live if self.kernel.nodes[i].op == "load"}
        types = {}
        for operand in sorted(written | loaded):
            const = "" if operand in written else "const "
            types[operand] = f"{const}{STORED[self.kernel.operands[operand].dtype]} *restrict "
        return types

    def write_pointers(self, types: Mapping[int, str]) -> None:
        """Write the pointers ``a`` to the beginnings of operands."""
        for operand, kind in types.items():
            cast = kind.removesuffix("restrict ")
            self.writer.add(f"{kind}const a{operand} = ({cast})p[{operand}];")

    def argument(self, number: int) -> str:
        """What follows the operands in ``p``: scratch memory, workers, scalars."""
        return f"p[{len(self.kernel.operands) + number}]"

    # -- work -----------------------------------------------------------------------------------

    def work_of_row(self) -> int:
        """Additions per row (or tile), an access to memory counted as one."""
        return self.nest.tile * (len(self.types) + sum(map(self._cost, self._computed())))

    def _computed(self) -> Iterable[int]:
        return (i for step in self.stages.passes for i in step.nodes)

    def _cost(self, i: int) -> int:
        return cost(self.kernel.nodes[i].op)
