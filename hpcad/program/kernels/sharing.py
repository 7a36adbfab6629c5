"""How the work of a kernel is shared among threads, as a C function."""

from __future__ import annotations

from hpcad.program.kernels.frame import Frame
from hpcad.program.kernels.ir import Store
from hpcad.program.kernels.reductions import total_type
from hpcad.program.kernels.walk import point, unflatten
from hpcad.program.kernels.worker import write_sum

SHARED = 250_000  # additions, about 5 us: with less to do a thread is not worth waking


class SharingWriter:
    """Writes ``void <name>_all(char *const *p)``, which calls ``<name>_part``."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.writer = frame, frame.writer

    def write(self, name: str) -> None:
        """Write the function."""
        with self.writer.block(f"static void {name}_all(char *const *p)"):
            self.writer.add("hp_call call = {p, 0};")
            if self.frame.partial:
                self._write_partial(name)
            else:
                self._write_groups(name)
        self.writer.add("")

    def _least(self, rows: int) -> int:
        """Units of that many rows that are worth a thread."""
        return max(1, SHARED // max(1, self.frame.work_of_row() * rows))

    def _write_groups(self, name: str) -> None:
        frame, add = self.frame, self.writer.add
        least = self._least(frame.summed)
        if frame.scratch:
            self._write_grain(frame.groups, least)
        elif least >= frame.groups:
            add(f"{name}_part(&call, 0, {frame.groups}, 0);")
            return
        else:
            add(f"const long grain = {least};")
        add(f"hp_parallel_for({name}_part, &call, {frame.groups}, grain);")

    def _write_grain(self, count: int, least: int) -> None:
        """``grain``, such that the workers are no more than there is scratch memory for."""
        add = self.writer.add
        add(f"const long memories = (long){self.frame.argument(1)};")
        add("const long most = memories < hp_threads() ? memories : hp_threads();")
        add(f"const long fair = ({count} + most - 1) / most;")
        add(f"const long grain = fair < {least} ? {least} : fair;")

    # -- sums of which every worker has a part ----------------------------------------------------

    def _write_partial(self, name: str) -> None:
        frame, writer = self.frame, self.writer
        self._write_grain(frame.summed, self._least(1))
        writer.add(f"const long workers = ({frame.summed} + grain - 1) / grain;")
        with writer.block(f"for (call.group = 0; call.group < {frame.groups}; call.group++)"):
            writer.add(f"hp_parallel_for({name}_part, &call, {frame.summed}, grain);")
            types = {store.operand: frame.types[store.operand] for store in frame.sums}
            frame.write_pointers(types)
            unflatten(writer, frame.nest.groups, "call.group")
            point(writer, types, "a", "g", frame.nest.groups)
            for store in frame.sums:
                with writer.block():
                    self._write_combination(store)

    def _write_combination(self, store: Store) -> None:
        if not self.frame.is_wide(store):
            self._write_total(store, "0")
            return
        self.frame.rows.write_length()
        with self.writer.block("for (long j = 0; j < length; j++)"):
            self._write_total(store, "j")

    def _write_total(self, store: Store, index: str) -> None:
        """The sums of the workers are added in their order."""
        frame, add = self.frame, self.writer.add
        name = frame.total(store)
        first = f"{frame.argument(0)} + {frame.offsets[name]}"
        part = f"((const {frame.held[name]} *)({first} + w * {frame.scratch}L))[{index}]"
        add(f"{total_type(frame.dtype(store))} sum = 0;")
        with self.writer.block("for (long w = 0; w < workers; w++)"):
            add(f"sum += {part};")
        write_sum(frame, store, "sum")
