"""The C text of one pass along the row: its loops, reductions and stores.

A reducing loop works on chunks of lanes (:mod:`hpcad.program.kernels.reductions`). What a row of
fixed length has beyond whole chunks is not left to a loop over single elements, each as dear as a
vector: one chunk more is laid over the end of the row, and comes first. Of its elements those that
other chunks will see again are not counted, and where an operand is updated in place, not written.

A pass with guarded functions first fills the buffers, and then looks once whether any argument was
far. Only if so there is a second loop, over single elements, which mends the values of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpcad.program.kernels import reductions
from hpcad.program.kernels.ir import Kernel, Store
from hpcad.program.kernels.nest import TILE, Nest
from hpcad.program.kernels.reductions import Accumulator
from hpcad.program.kernels.scalars import ENDINGS, HALVES, computed_in, cost
from hpcad.program.kernels.stages import Pass
from hpcad.program.kernels.table import DEAR, SERIAL
from hpcad.program.kernels.values import Values
from hpcad.program.kernels.writer import Writer

LANES = 16  # a vector of AVX-512, two of AVX2
_LIGHT = 4  # additions per element: such loops wait for each other's sums
_SHORT = 256  # elements: single ones at the end of a row count
_MANY = 200  # nodes: the loop is not written twice
_FLAGS = {"float32": "int32_t", "float64": "int64_t"}  # as wide as what they are about


class PassWriter:
    """Writes passes; ``packed`` are the stored masks that go through ``o``."""

    def __init__(self, values: Values, writer: Writer, packed: Sequence[int]) -> None:
        self.values, self.writer, self.packed = values, writer, packed
        self.kernel: Kernel = values.kernel
        self.nest: Nest = values.nest
        self.loaded = {node.detail for node in self.kernel.nodes if node.op == "load"}

    def write(self, step: Pass) -> None:
        """Write a pass over the whole row (or tile)."""
        guarded = sorted(self.values.stages.guarded.intersection(step.nodes))
        if guarded:
            first, rest = self._halves(step)
            self._write_guarded(first, guarded)
            if rest.stores or rest.reductions:
                self.write(rest)
            return
        found = self._accumulators(step)
        reductions.declare_totals(self.writer, found)
        if not found:
            self._write_plain_loop(step)
        elif self.nest.tile <= TILE:
            self._write_reducing(step, found, "0", "length")
        else:  # sums of many numbers are sums of partial ones
            with self.writer.block(f"for (long from = 0; from < length; from += {TILE})"):
                self.writer.add(f"const long to = length - from < {TILE} ? length : from + {TILE};")
                self._write_reducing(step, found, "from", "to")

    def _accumulators(self, step: Pass) -> list[Accumulator]:
        found = []
        for i in step.reductions:
            node = self.kernel.nodes[i]
            value = self.values.converted(node.args[0], node.dtype)
            found.append(reductions.of_node(i, node, value))
        for store in step.stores:
            if store.reduce is not None and not self._keeps_row(store):
                dtype = computed_in(self.kernel.operands[store.operand].dtype)
                value = self.values.converted(store.node, dtype)
                found.append(reductions.of_store(store, dtype, value))
        return found

    def _keeps_row(self, store: Store) -> bool:
        return self.nest.row.strides[store.operand] != 0

    # -- guarded functions ----------------------------------------------------------------------

    def _halves(self, step: Pass) -> tuple[Pass, Pass]:
        """What fills buffers, and what stores and reduces, for which no guarded value is used."""
        first = Pass(self._needed(step, step.kept), kept=step.kept)
        wanted = [arg for i in step.reductions for arg in self.kernel.nodes[i].args]
        wanted += [store.node for store in step.stores]
        rest = Pass(self._needed(step, wanted), step.reductions, stores=step.stores)
        for half in (first, rest):
            half.read = step.read
        return first, rest

    def _needed(self, step: Pass, wanted: Iterable[int]) -> list[int]:
        """The nodes of a pass that some of its values are made of."""
        needed = set(wanted)
        for i in reversed(step.nodes):
            if i in needed:
                needed.update(self.kernel.nodes[i].args)
        return [i for i in step.nodes if i in needed]

    def _write_guarded(self, step: Pass, guarded: Sequence[int]) -> None:
        kinds = sorted({self.kernel.nodes[i].dtype for i in guarded})
        flags = {dtype: f"far{ENDINGS[dtype]}" for dtype in kinds}
        with self.writer.block():
            for dtype, flag in flags.items():
                self.writer.add(f"{_FLAGS[dtype]} {flag} = 0;")
            self._write_plain_loop(step, f" reduction(| : {', '.join(flags.values())})")
            with self.writer.block(f"if ({' | '.join(flags.values())})"):
                self._write_mending(step, guarded)

    def _write_mending(self, step: Pass, guarded: Sequence[int]) -> None:
        arguments = [arg for i in guarded for arg in self.kernel.nodes[i].args]
        small = Pass(self._needed(step, arguments), read=step.read)
        with self.writer.block("for (long j = 0; j < length; j++)"):
            self._write_body(small)
            for i in guarded:
                self.writer.add(f"if ({self.values.far(i)})")
                self.writer.add(f"    b{i}[j] = {self.values.everywhere(i)};")

    # -- loops ----------------------------------------------------------------------------------

    def _write_plain_loop(self, step: Pass, clause: str = "") -> None:
        end = "length"
        if self._laps(step, LANES):
            self._write_lap(step, [], LANES, clause)
            end = str(self.nest.tile - self.nest.tile % LANES)
        self.writer.add(f"#pragma omp simd{clause}")
        with self.writer.block(f"for (long j = 0; j < {end}; j++)"):
            self._write_body(step)

    def _write_reducing(
        self, step: Pass, found: Sequence[Accumulator], begin: str, end: str
    ) -> None:
        lanes = 2 * LANES if self._waits(step) else LANES
        if self.nest.tile < lanes or len(step.nodes) > _MANY:
            self._write_singles(step, found, begin, end)
            return
        reductions.declare_lanes(self.writer, found, lanes)
        laps = self._laps(step, lanes)
        if laps:
            self._write_lap(step, found, lanes)
        count = end if begin == "0" else f"({end} - {begin})"
        whole = end if self._divides(lanes) else f"{end} - {count} % {lanes}"
        with self.writer.block(f"for (long k = {begin}; k < {whole}; k += {lanes})"):
            self._write_chunk(step, found, lanes, "k + l")
        for each in found:
            self.writer.add(f"const {each.type} {each.name}l = {each.of_lanes(lanes)};")
            self.writer.add(each.update(each.total, f"{each.name}l"))
        if not laps and not self._divides(lanes):
            self._write_singles(step, found, whole, end)

    def _write_singles(
        self, step: Pass, found: Sequence[Accumulator], begin: str, end: str
    ) -> None:
        """The loop that leaves it to the compiler how to reduce."""
        for each in found:
            self.writer.add(f"{each.type} {each.name} = {each.start};")
        self.writer.add(f"#pragma omp simd{''.join(each.clause() for each in found)}")
        with self.writer.block(f"for (long j = {begin}; j < {end}; j++)"):
            self._write_body(step)
            for each in found:
                self.writer.add(each.update(each.name, each.value))
        for each in found:
            self.writer.add(each.update(each.total, each.name))

    def _write_chunk(
        self, step: Pass, found: Sequence[Accumulator], lanes: int, position: str
    ) -> None:
        self.writer.add("#pragma omp simd")
        with self.writer.block(f"for (int l = 0; l < {lanes}; l++)"):
            self.writer.add(f"const long j = {position};")
            self._write_body(step)
            for each in found:
                self.writer.add(each.update(f"{each.name}s[l]", each.value))

    def _write_lap(
        self, step: Pass, found: Sequence[Accumulator], lanes: int, clause: str = ""
    ) -> None:
        """The chunk over the end of the row."""
        self.writer.add(f"#pragma omp simd{clause}")
        with self.writer.block(f"for (int l = 0; l < {lanes}; l++)"):
            self.writer.add(f"const long j = {self.nest.tile - lanes} + l;")
            before = lanes - self.nest.tile % lanes
            # By arithmetic: a comparison with the lane makes gcc split the loop, a table peel it.
            self.writer.add(f"const int32_t fresh = ({before - 1} - l) >> 31;")
            self._write_body(step, lap=True)
            for each in found:
                value = _chosen(each.value, "0", each.dtype) if each.kind == "sum" else each.value
                self.writer.add(each.update(f"{each.name}s[l]", value))

    # -- decisions ------------------------------------------------------------------------------

    def _work(self, step: Pass) -> list[int]:
        return [cost(self.kernel.nodes[i].op) for i in step.nodes]

    def _waits(self, step: Pass) -> bool:
        """Whether a loop mostly waits for the last addition; a second vector of lanes helps."""
        return sum(self._work(step)) <= _LIGHT and self.nest.tile >= 16 * LANES

    def _divides(self, count: int) -> bool:
        """Whether all rows, or tiles, are whole multiples."""
        return self.nest.row.extent % count == 0 and self.nest.tile % count == 0

    def _laps(self, step: Pass, lanes: int) -> bool:
        """Whether to lay one more chunk over the end of the row."""
        tile = self.nest.tile
        if self.nest.tiled or tile % lanes == 0 or not lanes <= tile <= TILE:
            return False
        if any(self.kernel.nodes[i].op in SERIAL for i in step.nodes):
            return False  # a chunk would take as long as all of its elements
        worth = tile < _SHORT or max(self._work(step), default=0) >= DEAR
        return worth and len(step.nodes) <= _MANY

    # -- one element ----------------------------------------------------------------------------

    def _write_body(self, step: Pass, lap: bool = False) -> None:
        """Everything that happens at one element, but for reductions."""
        for i in sorted([*step.nodes, *step.read]):
            if i in step.read:
                test = " != 0" if self.kernel.nodes[i].dtype == "bool" else ""
                self.writer.add(f"const {self.values.type(i)} v{i} = b{i}[j]{test};")
            else:
                self.values.write(self.writer, i)
                if i in self.values.stages.guarded:
                    flag = f"far{ENDINGS[self.kernel.nodes[i].dtype]}"
                    self.writer.add(f"{flag} |= {self.values.far(i)};")
        for i in step.kept:
            self.writer.add(f"b{i}[j] = v{i};")
        for store in step.stores:
            self._write_store(store, lap)

    def _write_store(self, store: Store, lap: bool) -> None:
        dtype = self.kernel.operands[store.operand].dtype
        place = self.values.element(store.operand)
        if store.operand in self.packed:
            self.writer.add(f"o{store.operand}[j] = {self.values.converted(store.node, dtype)};")
        elif store.reduce is None:
            value = self.values.as_stored(store, place)
            if lap and (store.accumulate or store.operand in self.loaded):
                value = _chosen(value, place, dtype)
            self.writer.add(f"{place} = {value};")
        elif self._keeps_row(store):
            value = self.values.converted(store.node, computed_in(dtype))
            value = _chosen(value, "0", computed_in(dtype)) if lap else value
            self.writer.add(f"q{store.operand}[j] += {value};")


def _chosen(value: str, otherwise: str, dtype: str) -> str:
    """``value`` in the lanes that count."""
    ending = "_half" if dtype in HALVES else ENDINGS[dtype]
    return f"hp_chosen{ending}(fresh, {value}, {otherwise})"
