"""The text of kernels that are dealt to teams of threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hpcad.program.cuda.flat import declare_offsets, declare_row_value
from hpcad.program.cuda.graph import Graph
from hpcad.program.cuda.lanes import Lanes, Pass
from hpcad.program.cuda.parts import head
from hpcad.program.cuda.passes import Walk, walks
from hpcad.program.cuda.reductions import EXCHANGING, neutral
from hpcad.program.cuda.rows import TILE, Deal, Total, complete
from hpcad.program.cuda.text import coordinates, offset, running, unrolled
from hpcad.program.kernels.ir import Store
from hpcad.program.kernels.scalars import C_TYPES, STORED
from hpcad.program.kernels.writer import Writer


class TeamText:
    """Writes one ``__global__`` function.

    Parameters
    ----------
    graph : Graph
    plan : Deal
    lanes : Lanes
    """

    def __init__(self, graph: Graph, plan: Deal, lanes: Lanes) -> None:
        self.graph, self.plan, self.lanes = graph, plan, lanes
        self.kernel, self.kind = graph.kernel, graph.index_type
        self.row = len(graph.kernel.extents) - 1
        self.walks = walks(graph, plan.held)
        self.text = Writer()

    def write(self, entry: str, scratch: bool) -> str:
        """The function."""
        plan, text, kind = self.plan, self.text, self.kind
        with text.block(head(self.graph, entry, plan.block, scratch)):
            self._find_place()
            for total in plan.totals:
                self._declare(total)
            if plan.steps == 1:
                self._row()
            else:
                first = "part" if plan.parts > 1 else "0"
                steps = f"for ({kind} step = {first}; step < {plan.steps}; step += {plan.parts})"
                with text.block(steps):
                    names, extents = self._axes(plan.summed, plan.tiles_summed)
                    coordinates(text, kind, "step", names, extents)
                    self._row()
            for total in plan.totals:
                self._leave(total)
        return text.text()

    def _axes(self, axes: tuple[int, ...], tiles: bool) -> tuple[list[str], list[int]]:
        names, extents = [f"i{axis}" for axis in axes], [self.plan.extents[axis] for axis in axes]
        return names + ["tile"] * tiles, extents + [self.plan.tiles] * tiles

    # -- before and after the rows --------------------------------------------------------------

    def _find_place(self) -> None:
        plan, text, kind = self.plan, self.text, self.kind
        teams = plan.block // plan.team
        text.add(f"const int lane = threadIdx.x % {plan.team};")
        text.add(f"const {kind} team = ({kind})blockIdx.x * {teams} + threadIdx.x / {plan.team};")
        if plan.teams % teams:
            with text.block(f"if (team >= {plan.teams})"):
                text.add("return; // a whole team, so that nobody waits for it")
        kept = plan.tiles > 1 and not plan.tiles_summed
        names, extents = self._axes(plan.kept, kept)
        if plan.parts > 1:
            names, extents = [*names, "part"], [*extents, plan.parts]
        coordinates(text, kind, "team", names, extents)

    def _declare(self, total: Total) -> None:
        """What the team adds to: registers, or its own part of scratch memory."""
        plan, text, k = self.plan, self.text, total.number
        if not plan.direct(total):
            place = self._part(total)
            text.add(
                f"{STORED[total.dtype]} *const x{k} = "
                f"({STORED[total.dtype]} *)(scratch + {plan.beginning(total)}) + {place};"
            )
        if total.along_row:
            text.add(f"{C_TYPES[total.dtype]} t{k} = 0;")
        elif plan.held:
            text.add(f"{C_TYPES[total.dtype]} t{k}[{plan.items}] = {{}};")
        else:
            with self._columns(), self._each_lane():
                text.add(f"x{k}[i{self.row} + l] = 0;")

    def _part(self, total: Total) -> str:
        """Where the part of this team begins, in elements."""
        plan = self.plan
        places = ["part"] * (plan.parts > 1) + [f"i{axis}" for axis in plan.kept]
        sizes = [plan.parts] * (plan.parts > 1) + [plan.extents[axis] for axis in plan.kept]
        if total.along_row and plan.kept_tiles > 1:
            places, sizes = [*places, "tile"], [*sizes, plan.kept_tiles]
        place = running(places, sizes)
        return place if total.along_row else f"({self.kind}){place} * {plan.length}"

    def _leave(self, total: Total) -> None:
        """Write the team's part of a sum, unless it is there already."""
        text, k = self.text, total.number
        if not total.along_row:
            if self.plan.held:
                with self._columns(), self._each_lane():
                    self._write_sum(total, f"t{k}[j + l]")
            return
        text.add(f"t{k} = hp_reduce<{self.plan.team}>(t{k}, hp_add());")
        if self.plan.direct(total) and total.store.operand in self.graph.loaded:
            self._meet()
        with text.block("if (lane == 0)"):
            self._write_sum(total, f"t{k}")

    def _write_sum(self, total: Total, value: str) -> None:
        operand = self.kernel.operands[total.store.operand]
        if not self.plan.direct(total):
            column = "" if total.along_row else f"i{self.row} + l"
            self.text.add(f"x{total.number}[{column or 0}] = {value};")
            return
        names = [f"i{axis}" for axis in total.kept]
        strides = [operand.strides[axis] for axis in total.kept]
        if not total.along_row:
            names, strides = [*names, f"(i{self.row} + l)"], [*strides, operand.strides[-1]]
        target = f"p{total.store.operand}[{offset(strides, names)}]"
        self.text.add(f"{target} = {complete(total, operand.dtype, target, value)};")

    # -- one row --------------------------------------------------------------------------------

    def _row(self) -> None:
        text, graph = self.text, self.graph
        declare_offsets(text, graph)
        for walk in self.walks:
            for number in walk.before:
                declare_row_value(text, graph, number)
            self._walk(walk, last=walk is self.walks[-1])
        self._store_numbers()

    def _walk(self, walk: Walk, last: bool) -> None:
        text, kernel = self.text, self.kernel
        for node in walk.kept:
            text.add(f"{C_TYPES[kernel.nodes[node].dtype]} k{node}[{self.plan.items}];")
        for node in walk.reductions:
            dtype = kernel.nodes[node].dtype
            text.add(f"{C_TYPES[dtype]} n{node} = {neutral(kernel.nodes[node].op, dtype)};")
        stores = [(k, s) for k, s in enumerate(kernel.stores) if self._of_elements(s)] * last
        sums = [(t.store, self._summand(t)) for t in self.plan.totals] * last
        if walk.reductions or stores or sums:
            with self._columns():
                array = "k{0}[j + l]".format
                self.lanes.write(
                    text,
                    Pass(
                        computed=walk.computed,
                        recalled={node: array(node) for node in walk.recalled},
                        kept={node: array(node) for node in walk.kept},
                        reductions=walk.reductions,
                        stores=stores,
                        sums=sums,
                    ),
                )
        for node in walk.reductions:
            combine = EXCHANGING[kernel.nodes[node].op]
            text.add(f"n{node} = hp_reduce<{self.plan.team}>(n{node}, {combine}());")

    def _summand(self, total: Total) -> str:
        if total.along_row:
            return f"t{total.number}"
        if self.plan.held:
            return f"t{total.number}[j + l]"
        return f"x{total.number}[i{self.row} + l]"

    def _of_elements(self, store: Store) -> bool:
        operand = self.kernel.operands[store.operand]
        return store.reduce is None and (operand.strides[-1] != 0 or self.plan.length == 1)

    def _store_numbers(self) -> None:
        """Write what is one number per row."""
        stores = [s for s in self.kernel.stores if s.reduce is None and not self._of_elements(s)]
        if not stores:
            return
        if any(store.operand in self.graph.loaded for store in stores):
            self._meet()
        condition = "lane == 0 && tile == 0" if self.plan.tiles > 1 else "lane == 0"
        with self.text.block(f"if ({condition})"):
            for store in stores:
                target = f"p{store.operand}[o{store.operand}]"
                self.text.add(f"{target} = {self.lanes.as_stored(store, target)};")

    def _meet(self) -> None:
        """Wait until the whole team has loaded what one thread will overwrite."""
        self.text.add(f"hp_meet<{self.plan.team}>();")

    # -- the elements of a thread ---------------------------------------------------------------

    @contextmanager
    def _columns(self) -> Iterator[None]:
        """A loop over the groups of elements of this thread; ``j`` counts in its registers."""
        plan, text, name = self.plan, self.text, f"i{self.row}"
        turn = plan.team * plan.width
        exact = plan.length > 0 and plan.length % (turn if plan.tiles == 1 else TILE) == 0
        first = f"lane * {plan.width}" if plan.width > 1 else "lane"
        tile = f"tile * {TILE} + " if plan.tiles > 1 else ""
        text.add("#pragma unroll" if plan.held else "#pragma unroll 4")
        with text.block(f"for (int j = 0; j < {plan.items}; j += {plan.width})"):
            text.add(f"const {self.kind} {name} = {tile}j * {plan.team} + {first};")
            if exact:
                yield
            else:
                with text.block(f"if ({name} < {plan.length})"):
                    yield

    @contextmanager
    def _each_lane(self) -> Iterator[None]:
        with unrolled(self.text, f"for (int l = 0; l < {self.plan.width}; ++l)"):
            yield
