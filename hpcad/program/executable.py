"""An executable program: memory, steps, and the generated source that runs them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from hpcad.autodiff.pytree import Structure
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import get_backend
from hpcad.program import steps as make
from hpcad.program.fuse import Schedule, Task, fuse
from hpcad.program.groups import Group
from hpcad.program.instruction import Accumulate, Call, Program, Value
from hpcad.program.kernels.build import compile_kernels
from hpcad.program.lower import Lowered, lower, through
from hpcad.program.options import Options
from hpcad.program.plan import bound, plan
from hpcad.program.signature import is_array
from hpcad.program.simplify import simplify
from hpcad.program.steps import Step
from hpcad.program.storage import Storage, outputs, reads, writes
from hpcad.program.unfused import unfused


class Executable:
    """A program that can be run again and again.

    Attributes
    ----------
    program : Program
        As captured and simplified.
    steps : list of Step
    arena_bytes : int
        Memory of the plan.
    bound_bytes : int
        The least that any plan needs.
    """

    def __init__(self, program: Program, tree: Structure, options: Options) -> None:
        self.options = options
        self.tree = tree
        self.program = simplify(program)
        self.fused = options.fuse and options.native
        self.schedule: Schedule = fuse(self.program) if self.fused else unfused(self.program)
        self.storage = Storage(self.program, self.schedule)
        owned = self._owned_buffers()
        self.arena_bytes, self.bound_bytes = plan(owned), bound(owned)
        self._arena = get_backend("cpu").allocate(max(64, self.arena_bytes))
        self._arrays: dict[Value, np.ndarray] = {}
        self.steps: list[Step] = list(self._make_steps())
        self._inputs = [self.array(v) for v in self.program.inputs]
        self._guarded = [(p, p.array, p.grad) for p in self.program.parameters()]
        self._calls = [step.call for step in self.steps]
        self._timed: np.ndarray | None = None

    # -- memory -------------------------------------------------------------------------------

    def _owned_buffers(self) -> list[Any]:
        found: dict[int, Any] = {}
        for value in self.program.inputs:
            found.setdefault(id(self.storage.buffer(value)), self.storage.buffer(value))
        for task in self.schedule.tasks:
            if task not in self.storage.skipped:
                for value in (*reads(task), *writes(task)):
                    buffer = self.storage.buffer(value)
                    found.setdefault(id(buffer), buffer)
        return [b for b in found.values() if b.external is None]

    def array(self, value: Value) -> np.ndarray:
        """The array of a value, in its place."""
        base, way = self.storage.origin(value)
        known = self._arrays.get(base)
        if known is None:
            place = self.storage.place(base)
            memory = place.buffer.external
            if memory is None:
                nbytes = place.buffer.nbytes
                memory = self._arena[place.buffer.offset :][: max(nbytes, 64)]
                known = place.layout.array(memory)
            else:
                known = memory if memory.shape == base.shape else memory.reshape(base.shape)
            self._arrays[base] = known
        return through(known, way)

    # -- steps --------------------------------------------------------------------------------

    def _make_steps(self) -> Any:
        groups = [t for t in self.schedule.tasks if isinstance(t, Group) and t not in self.storage.skipped]
        lowered = [lower(g, self.array, self.storage.accumulated) for g in groups]
        compiled = self._compiled(lowered)
        marks: list[Any] = []
        for task in self.schedule.tasks:
            if isinstance(task, Task) and isinstance(task.instruction.op, Accumulate):
                marks.append(task.instruction.op.parameter)
            if task in self.storage.skipped:
                continue
            if isinstance(task, Task) and isinstance(task.instruction.op, Call) and marks:
                yield Step("mark", make.marking(marks), "mark()", "", "")
                marks = []
            if isinstance(task, Group):
                yield self._kernel_step(task, *compiled[task])
            else:
                yield self._task_step(task)
        if marks:
            yield Step("mark", make.marking(marks), "mark()", "", "")
        self.lowered = dict(zip(groups, lowered, strict=True))

    def _compiled(self, lowered: list[Lowered]) -> dict[Group, Any]:
        groups = [t for t in self.schedule.tasks if isinstance(t, Group) and t not in self.storage.skipped]
        if not groups:
            return {}
        distinct = list(dict.fromkeys(each.kernel for each in lowered))
        compiled = compile_kernels(distinct)
        if compiled is None:
            raise RuntimeError("no compiler")
        table = dict(zip(distinct, compiled, strict=True))
        return {g: (each, table[each.kernel]) for g, each in zip(groups, lowered, strict=True)}

    def _kernel_step(self, group: Group, lowered: Lowered, compiled: Any) -> Step:
        addresses = [a.__array_interface__["data"][0] for a in lowered.arrays]
        call = compiled.bind(addresses, None)
        nbytes = sum(_distinct_bytes(a) for a in lowered.arrays)
        line = group.lines[0] if group.lines else ""
        return Step("kernel", call, "", make.about([t.value for t in group.targets]), line, 0, nbytes)

    def _task_step(self, task: Task) -> Step:
        instruction = task.instruction
        gemm = None
        if isinstance(instruction.op, Accumulate):
            call = make.accumulation(instruction, self.array)
        elif isinstance(instruction.op, Call):
            call = make.effect(instruction)
        elif instruction.name == "matmul":
            beta = self.storage.accumulated.get(instruction.out, 0.0)
            call, gemm = make.product(instruction, self.array, beta, self.options.native, True)
        elif instruction.name == "in_range":
            call = make.check(instruction, self.array)
        else:
            call = make.plain(instruction, self.array)
        values = [*instruction.inputs(), *instruction.outs]
        return Step(
            instruction.name, call, "", make.about(values), instruction.line,
            gemm.flops if gemm is not None else 0, sum(v.nbytes for v in values), gemm,
        )  # fmt: skip

    # -- running ------------------------------------------------------------------------------

    def fits(self) -> bool:
        """Whether the parameters are as the program knows them."""
        for parameter, array, grad in self._guarded:
            if parameter.array is not array or parameter.grad is not grad or parameter.fresh:
                return False
        return True

    def run(self, leaves: list[Any]) -> Any:
        """Run the program on the leaves of the arguments."""
        given = (leaf for leaf in leaves if is_array(leaf))
        for place, leaf in zip(self._inputs, given, strict=True):
            np.copyto(place, value_of(leaf))
        if self._timed is not None:
            self._run_timed(self._timed)
        else:
            for call in self._calls:
                call()
        make.count_products(self.steps)
        return self.tree.build([self._output(out) for out in self.program.outputs])

    def _run_timed(self, seconds: np.ndarray) -> None:
        for i, call in enumerate(self._calls):
            started = time.perf_counter()
            call()
            seconds[i] += time.perf_counter() - started

    @contextmanager
    def timed(self) -> Iterator[np.ndarray]:
        """Add up the seconds that each step takes in the runs inside of the block."""
        self._timed = np.zeros(len(self.steps))
        try:
            yield self._timed
        finally:
            self._timed = None

    def _output(self, out: Any) -> Any:
        if not (isinstance(out, tuple) and out and isinstance(out[0], Value)):
            return out
        array = self.array(out[0]).copy()
        return Tensor(array) if out[1] else array


def build(program: Program, tree: Structure, options: Options) -> Executable:
    """Make a captured program executable."""
    return Executable(program, tree, options)


def _distinct_bytes(array: np.ndarray) -> int:
    size = array.itemsize
    for n, stride in zip(array.shape, array.strides, strict=True):
        size *= n if stride else 1
    return size
