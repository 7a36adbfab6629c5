"""From kernels to C.

Every kernel becomes a function ``void <name>(char *const *p)``. ``p`` has the address of each
operand, then that of the scratch memory, for how many workers that is (a number), and the address
of the scalars, which are doubles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpcad.program.kernels.ir import Kernel, Store
from hpcad.program.kernels.nest import Nest, nests
from hpcad.program.kernels.reductions import total_type
from hpcad.program.kernels.rows import RowWriter
from hpcad.program.kernels.scalars import C_TYPES, ITEMSIZE, STORED, cost
from hpcad.program.kernels.stages import schedule
from hpcad.program.kernels.walk import point, unflatten, walk
from hpcad.program.kernels.writer import Writer

SHARED = 65536  # additions: below this a second thread is not worth waking
MANY_GROUPS = 16  # enough for threads to share evenly
ON_STACK = 65536  # bytes of buffers; more are kept in scratch memory
_SIZES = {C_TYPES[dtype]: size for dtype, size in ITEMSIZE.items()}
LINE = 128  # bytes between the scratch memories of two workers

PRELUDE = """\
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include "threads.h"
#include "vectormath.h"
#include "scalars.h"
#include "lanes.h"

typedef struct {
    char *const *p; /* operands, scratch memory, workers, scalars */
    long group;
} hp_call;

static const volatile double hp_infinity = INFINITY;
"""


@dataclass(frozen=True)
class Generated:
    """C text, and what its caller has to bring.

    Attributes
    ----------
    name, text : str
    scratch : int
        Bytes per worker.
    work : int
        Of one call, in additions.
    """

    name: str
    text: str
    scratch: int
    work: int


def generate(kernel: Kernel, name: str) -> Generated:
    """The C function of a kernel.

    Raises
    ------
    ValueError
        See :func:`hpcad.program.kernels.nest.nests`.
    """
    writer = Writer()
    parts = nests(kernel)
    scratch = work = 0
    calls = []
    for number, nest in enumerate(parts):
        part = name if len(parts) == 1 else f"{name}_{number}"
        function = _Function(kernel, nest, part, writer)
        function.write()
        scratch = max(scratch, function.scratch)
        work += function.work
        calls.append(f"{part}_all(p);")
    with writer.block(f"void {name}(char *const *p)"):
        for call in calls:
            writer.add(call)
    return Generated(name, writer.text(), scratch, work)


def source(kernels: Sequence[Kernel]) -> tuple[str, list[Generated]]:
    """One C file with the functions ``hp_kernel_0``, ``hp_kernel_1``, ... of these kernels."""
    generated = [generate(kernel, f"hp_kernel_{i}") for i, kernel in enumerate(kernels)]
    return "\n".join([PRELUDE, *(each.text for each in generated)]), generated


class _Function:
    """Writes the functions of one nest: the loops for a worker, and the sharing among workers."""

    def __init__(self, kernel: Kernel, nest: Nest, name: str, writer: Writer) -> None:
        self.kernel, self.nest, self.name, self.writer = kernel, nest, name, writer
        self.stages = schedule(kernel, nest)
        self.sums = [store for store in nest.stores if store.reduce is not None]
        self.groups = _product(axis.extent for axis in nest.groups)
        self.summed = _product(axis.extent for axis in nest.summed)
        # With few groups the workers share the summed axes, and their sums are added up after.
        self.partial = bool(self.sums) and self.summed > 1 and self.groups < MANY_GROUPS
        self.offsets: dict[str, int] = {}
        self.rows = RowWriter(kernel, nest, self.stages, writer, self.offsets)
        self._plan_scratch()
        self._per_row = self._work() * nest.tile
        self.work = self._per_row * self.groups * self.summed

    def _plan_scratch(self) -> None:
        """Where in the scratch memory of a worker its sums and long buffers are."""
        self.scratch = 0
        for store in self.sums:
            wide = self.nest.row.strides[store.operand] != 0
            if wide or self.partial:
                size = self.nest.tile * ITEMSIZE[self.dtype(store.operand)] if wide else 8
                self._reserve(f"q{store.operand}", size)
        buffers = {name: _SIZES[kind] for name, kind in self.rows.buffers().items()}
        if sum(buffers.values()) * self.nest.tile > ON_STACK:
            for name, size in buffers.items():
                self._reserve(name, size * self.nest.tile)
        self.scratch = -(-self.scratch // LINE) * LINE

    def _reserve(self, what: str, size: int) -> None:
        self.offsets[what] = self.scratch
        self.scratch += -(-size // 64) * 64

    def dtype(self, operand: int) -> str:
        return self.kernel.operands[operand].dtype

    # -- the loops of one worker ----------------------------------------------------------------

    def write(self) -> None:
        head = f"static void {self.name}_part(void *context, long begin, long end, int worker)"
        with self.writer.block(head):
            self._write_pointers()
            self.rows.write_once()
            if self.partial:
                unflatten(self.writer, self.nest.groups, "call->group")
                point(self.writer, self._used(), "a", "g", self.nest.groups)
                self._write_group("begin", "end")
            else:
                walk(
                    self.writer,
                    self.nest.groups,
                    "begin",
                    "end",
                    "a",
                    "g",
                    self._used(),
                    lambda: self._write_group("0", str(self.summed)),
                )
        self.writer.add("")
        self._write_all()
        self.writer.add("")

    def _used(self) -> dict[int, str]:
        """The operands that are touched, and the C types of pointers to them."""
        written = {store.operand for store in self.nest.stores}
        live = {*self.stages.once, *self.stages.per_row}
        for step in self.stages.passes:
            live.update(step.nodes)
        loaded = {self.kernel.nodes[i].detail for i in live if self.kernel.nodes[i].op == "load"}
        types = {}
        for operand in sorted(written | loaded):
            const = "" if operand in written else "const "
            types[operand] = f"{const}{STORED[self.dtype(operand)]} *restrict "
        return types

    def _write_pointers(self) -> None:
        add = self.writer.add
        add("const hp_call *const call = context;")
        add("char *const *const p = call->p;")
        if self.kernel.scalars:
            add(f"const double *const s = (const double *)p[{len(self.kernel.operands) + 2}];")
        for operand, kind in self._used().items():
            self._write_pointer(operand, kind)
        if self.scratch:
            add(f"char *const scratch = p[{len(self.kernel.operands)}] + worker * {self.scratch}L;")
        for what, start in self.offsets.items():
            kind = self._scratch_type(what)
            add(f"{kind} *restrict const {what} = ({kind} *)(scratch + {start});")
        if not self.scratch:
            add("(void)worker;")

    def _write_pointer(self, operand: int, kind: str) -> None:
        cast = kind.removesuffix("restrict ")
        self.writer.add(f"{kind}const a{operand} = ({cast})p[{operand}];")

    def _scratch_type(self, what: str) -> str:
        if what[0] != "q":
            return self.rows.buffers()[what]
        number = int(what[1:])
        wide = self.nest.row.strides[number] != 0
        return C_TYPES[self.dtype(number)] if wide else total_type(self.dtype(number))

    def _write_group(self, begin: str, end: str) -> None:
        """The sums of one group of rows."""
        for store in self.sums:
            if self.nest.row.strides[store.operand]:
                with self.writer.block(f"for (long j = 0; j < {self.nest.tile}; j++)"):
                    self.writer.add(f"q{store.operand}[j] = 0;")
            else:
                self.writer.add(f"{total_type(self.dtype(store.operand))} t{store.operand} = 0;")
        walk(
            self.writer,
            self.nest.summed,
            begin,
            end,
            "g",
            "r",
            self._used(),
            self.rows.write_row,
            first=len(self.nest.groups),
        )
        for store in self.sums:
            wide = self.nest.row.strides[store.operand] != 0
            if self.partial:
                if not wide:
                    self.writer.add(f"*q{store.operand} = t{store.operand};")
            elif wide:
                self._write_wide_sum(store, f"q{store.operand}[j]")
            else:
                self._write_sum(store, "[0]", f"t{store.operand}")

    def _write_wide_sum(self, store: Store, value: str) -> None:
        stride = self.nest.row.strides[store.operand]
        with self.writer.block():
            self.rows.write_length()
            with self.writer.block("for (long j = 0; j < length; j++)"):
                self._write_sum(store, f"[j * {stride}L]" if stride != 1 else "[j]", value)

    def _write_sum(self, store: Store, place: str, value: str) -> None:
        target = f"g{store.operand}{place}"
        before = f"{target} + " if store.accumulate else ""
        self.writer.add(f"{target} = ({C_TYPES[self.dtype(store.operand)]})({before}{value});")

    # -- all workers ----------------------------------------------------------------------------

    def _write_all(self) -> None:
        add = self.writer.add
        with self.writer.block(f"static void {self.name}_all(char *const *p)"):
            add("hp_call call = {p, 0};")
            work = max(1, self._per_row)
            if self.partial:
                self._write_partial(max(1, SHARED // work))
                return
            grain = max(1, SHARED // (work * max(1, self.summed)))
            if grain >= self.groups and not self.scratch:
                add(f"{self.name}_part(&call, 0, {self.groups}, 0);")
                return
            if self.scratch:  # there is scratch memory for so many workers only
                add(f"const long workers = (long)p[{len(self.kernel.operands) + 1}];")
                add(f"long grain = ({self.groups} + workers - 1) / workers;")
                add(f"grain = grain < {grain} ? {grain} : grain;")
            add(
                f"hp_parallel_for({self.name}_part, &call, {self.groups}, "
                f"{'grain' if self.scratch else grain});"
            )

    def _work(self) -> int:
        """Additions per element."""
        total = len(self._used())
        for step in self.stages.passes:
            total += sum(cost(self.kernel.nodes[i].op) for i in step.nodes)
        return total

    def _write_partial(self, grain: int) -> None:
        add, block = self.writer.add, self.writer.block
        count = len(self.kernel.operands)
        add(f"long workers = (long)p[{count + 1}];")
        add("workers = workers < hp_threads() ? workers : hp_threads();")
        add(f"long grain = ({self.summed} + workers - 1) / workers;")
        add(f"grain = grain < {grain} ? {grain} : grain;")
        add(f"workers = ({self.summed} + grain - 1) / grain;")
        with block(f"for (call.group = 0; call.group < {self.groups}; call.group++)"):
            add(f"hp_parallel_for({self.name}_part, &call, {self.summed}, grain);")
            unflatten(self.writer, self.nest.groups, "call.group")
            summed = {store.operand for store in self.sums}
            types = {o: kind for o, kind in self._used().items() if o in summed}
            for operand, kind in types.items():
                self._write_pointer(operand, kind)
            point(self.writer, types, "a", "g", self.nest.groups)
            for store in self.sums:
                with block():
                    self._write_combination(store)

    def _write_combination(self, store: Store) -> None:
        """The sums of the workers are added in their order."""
        held = self._scratch_type(f"q{store.operand}")
        start = self.offsets[f"q{store.operand}"]
        base = f"p[{len(self.kernel.operands)}] + {start} + w * {self.scratch}L"
        stride = self.nest.row.strides[store.operand]
        if not stride:
            self._write_workers_sum(store, "[0]", f"((const {held} *)({base}))[0]")
            return
        self.rows.write_length()
        place = f"[j * {stride}L]" if stride != 1 else "[j]"
        with self.writer.block("for (long j = 0; j < length; j++)"):
            self._write_workers_sum(store, place, f"((const {held} *)({base}))[j]")

    def _write_workers_sum(self, store: Store, place: str, value: str) -> None:
        self.writer.add(f"{total_type(self.dtype(store.operand))} sum = 0;")
        with self.writer.block("for (long w = 0; w < workers; w++)"):
            self.writer.add(f"sum += {value};")
        self._write_sum(store, place, "sum")


def _product(extents: Iterable[int]) -> int:
    result = 1
    for extent in extents:
        result *= extent
    return result
