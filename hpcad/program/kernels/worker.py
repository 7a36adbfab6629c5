"""The loops of one worker, as a C function."""

from __future__ import annotations

from hpcad.program.kernels.frame import BLOCK, Frame
from hpcad.program.kernels.ir import Store
from hpcad.program.kernels.reductions import total_type
from hpcad.program.kernels.scalars import C_TYPES, from_memory, to_memory
from hpcad.program.kernels.walk import point, unflatten, walk


class WorkerWriter:
    """Writes ``void <name>_part(void *context, long begin, long end, int worker)``.

    ``begin`` and ``end`` count groups or, of a partial frame, summed indices of one group.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame, self.nest, self.writer = frame, frame.nest, frame.writer

    def write(self, name: str) -> None:
        """Write the function."""
        frame, writer = self.frame, self.writer
        head = f"static void {name}_part(void *context, long begin, long end, int worker)"
        with writer.block(head):
            self._write_arguments()
            frame.rows.write_once()
            if frame.partial:
                unflatten(writer, self.nest.groups, "call->group")
                point(writer, frame.types, "a", "g", self.nest.groups)
                self._write_group("begin", "end")
            else:
                walk(writer, self.nest.groups, ("begin", "end"), ("a", "g"), frame.types,
                     lambda: self._write_group("0", str(frame.summed)))  # fmt: skip
        writer.add("")

    def _write_arguments(self) -> None:
        frame, add = self.frame, self.writer.add
        add("const hp_call *const call = context;")
        add("char *const *const p = call->p;")
        if frame.kernel.scalars:
            add(f"const double *const s = (const double *){frame.argument(2)};")
        frame.write_pointers(frame.types)
        if frame.scratch:
            add(f"char *const scratch = {frame.argument(0)} + worker * {frame.scratch}L;")
        else:
            add("(void)worker;")
        for name, start in frame.offsets.items():
            kind = frame.held[name]
            add(f"{kind} *restrict const {name} = ({kind} *)(scratch + {start});")

    def _write_group(self, begin: str, end: str) -> None:
        """All rows of one group, and its sums."""
        frame = self.frame
        blocked = [store for store in frame.sums if frame.is_blocked(store)]
        for store in frame.sums:
            if frame.is_wide(store):
                self._write_wide(f"{frame.total(store)}[j] = 0;")
            else:
                self.writer.add(f"{total_type(frame.dtype(store))} t{store.operand} = 0;")
        if blocked:
            with self.writer.block(f"for (long from = {begin}; from < {end}; from += {BLOCK})"):
                self.writer.add(f"const long to = {end} - from < {BLOCK} ? {end} : from + {BLOCK};")
                for store in blocked:
                    self._write_wide(f"q{store.operand}[j] = 0;")
                self._write_rows("from", "to")
                for store in blocked:
                    self._write_wide(f"u{store.operand}[j] += q{store.operand}[j];")
        else:
            self._write_rows(begin, end)
        for store in frame.sums:
            self._write_result(store)

    def _write_wide(self, statement: str) -> None:
        with self.writer.block(f"for (long j = 0; j < {self.nest.tile}; j++)"):
            self.writer.add(statement)

    def _write_rows(self, begin: str, end: str) -> None:
        walk(self.writer, self.nest.summed, (begin, end), ("g", "r"), self.frame.types,
             self.frame.rows.write_row, first=len(self.nest.groups))  # fmt: skip

    def _write_result(self, store: Store) -> None:
        """Keep the sum of this worker, or write that of the group."""
        frame = self.frame
        if frame.partial:
            if not frame.is_wide(store):
                self.writer.add(f"*q{store.operand} = t{store.operand};")
        elif frame.is_wide(store):
            with self.writer.block():
                frame.rows.write_length()
                with self.writer.block("for (long j = 0; j < length; j++)"):
                    write_sum(frame, store, f"{frame.total(store)}[j]")
        else:
            write_sum(frame, store, f"t{store.operand}")


def write_sum(frame: Frame, store: Store, value: str) -> None:
    """Write a complete sum to its operand, or add it to what that held."""
    target, dtype = frame.place(store), frame.kernel.operands[store.operand].dtype
    before = f"{from_memory(target, dtype)} + " if store.accumulate else ""
    total = f"({C_TYPES[frame.dtype(store)]})({before}{value})"
    frame.writer.add(f"{target} = {to_memory(total, frame.dtype(store), dtype)};")
