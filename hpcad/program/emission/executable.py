"""An executable program: memory, steps, and the generated source that runs them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.autodiff.guard import fingerprint
from hpcad.autodiff.pytree import Structure
from hpcad.backend import flops
from hpcad.errors import DeviceError
from hpcad.program.capture.signature import is_array
from hpcad.program.emission import emit
from hpcad.program.emission.names import Names
from hpcad.program.emission.report import Report, report
from hpcad.program.emission.steps import Step, marking
from hpcad.program.emission.target import Target
from hpcad.program.fusion.fuse import Schedule, Task
from hpcad.program.fusion.groups import Group
from hpcad.program.fusion.lower import Lowered, lower, through
from hpcad.program.instruction import Accumulate, Call, Program, Value
from hpcad.program.memory.places import writes
from hpcad.program.memory.plan import bound, plan
from hpcad.program.memory.storage import Storage


class Executable:
    """A program that can be run again and again.

    Attributes
    ----------
    name : str
    program : Program
        As captured and simplified.
    schedule : Schedule
        Its tasks in order.
    storage : Storage
        Where its values live.
    steps : list of Step
    source : str
        The Python function that runs: one line per step.
    arena_bytes : int
        Memory of the plan.
    bound_bytes : int
        The least that any plan needs: the largest sum of what is alive at one time.
    """

    def __init__(
        self, name: str, program: Program, schedule: Schedule, tree: Structure, target: Target
    ) -> None:
        self.name, self.tree, self.target = name, tree, target
        self.program, self.schedule = program, schedule
        self.storage = Storage(program, schedule, target)
        owned = self.storage.owned()
        self.arena_bytes, self.bound_bytes = plan(owned), bound(owned)
        self._arena = target.allocate(self.arena_bytes)
        self._arrays: dict[Value, np.ndarray] = {}
        self.names = Names(name)
        self.kernels: list[Any] = []
        self.steps: list[Step] = list(self._make_steps())
        self.source = emit.source(name, self.steps, self._head())
        self._call = target.function(name, self.source, self.steps)
        self._inputs = [self.array(v) for v in program.inputs]
        self._live = [(self.array(v), v.source) for v in self.storage.live]
        self._running, self._busy = threading.RLock(), False
        self._outputs = [self._output(out) for out in program.outputs]
        self._guarded = [(p, p.array, p.gradient, p.frozen) for p in program.parameters()]
        self._fixed = [(array, fingerprint(array)) for array in program.fixed]
        self._shapes = self._live_shapes()
        self._timed: np.ndarray | None = None

    # -- memory -------------------------------------------------------------------------------

    def array(self, value: Value) -> np.ndarray:
        """The array of a value, in its place."""
        base, way = self.storage.origin(value)
        known = self._arrays.get(base)
        if known is None:
            known = self._arrays[base] = self._own_array(base)
        return through(known, way)

    def _own_array(self, base: Value) -> np.ndarray:
        place = self.storage.place(base)
        memory, start = place.buffer.external, place.buffer.offset
        if memory is None:
            return place.layout.array(self._arena[start : start + max(place.buffer.nbytes, 64)])
        if base.origin != "result":
            return memory
        return place.layout.array(memory.reshape(-1).view(np.uint8))  # born in a gradient

    # -- steps --------------------------------------------------------------------------------

    def _make_steps(self) -> Iterator[Step]:
        maker = self.target.maker(self.names, self.array, lambda v: self.storage.origin(v)[0])
        kernels = self._compiled()
        marks: list[Any] = []
        for task in self.schedule.tasks:
            effect = task.instruction.op if isinstance(task, Task) else None
            if isinstance(effect, Accumulate):
                marks.append(effect.parameter)
            if task in self.storage.skipped:
                continue
            if isinstance(effect, Call) and marks:
                yield marking(marks, self.names)
                marks = []
            if isinstance(task, Group):
                step = self._kernel_step(task, *kernels[task])
            else:
                step = maker.step(task.instruction, self._beta(task))
            adds = isinstance(effect, Accumulate) and effect.beta != 0.0
            step.final = isinstance(effect, Call) or adds or self._adds(task)
            yield step
        if marks:
            yield marking(marks, self.names)
        self._scratch = self.target.allocate(maker.scratch_bytes)
        maker.bind_routines(self._scratch.__array_interface__["data"][0])

    def _adds(self, task: Task | Group) -> bool:
        """Whether a task adds to a gradient that was there before."""
        return any(self.storage.accumulated.get(value, 0.0) for value in writes(task))

    def _beta(self, task: Task) -> float:
        outs = task.instruction.outs
        return self.storage.accumulated.get(outs[0], 0.0) if outs else 0.0

    def _compiled(self) -> dict[Group, tuple[Lowered, Any, int]]:
        """The kernels: equal ones are compiled once, all in one file."""
        groups = [
            t for t in self.schedule.tasks if isinstance(t, Group) and t not in self.storage.skipped
        ]
        if not groups:
            return {}
        lowered = [lower(g, self.array, self.storage.accumulated) for g in groups]
        self.kernels = list(dict.fromkeys(each.kernel for each in lowered))
        compiled = self.target.kernels(self.kernels)
        if compiled is None:
            raise NoCompiler
        number = {kernel: i for i, kernel in enumerate(self.kernels)}
        return {
            g: (each, compiled[number[each.kernel]], number[each.kernel])
            for g, each in zip(groups, lowered, strict=True)
        }

    def _kernel_step(self, group: Group, lowered: Lowered, compiled: Any, number: int) -> Step:
        call = compiled.bind([a.__array_interface__["data"][0] for a in lowered.arrays], None)
        nbytes = sum(_distinct_bytes(a) for a in lowered.arrays)
        made = self.names.of(group.targets[0].value)
        name = self.names.new(f"kernel_{number}_{made}", numbered=False)
        line = group.lines[0] if group.lines else ""
        formula = f"{group.extents}: {self.names.formula(group)}"
        work = int(np.prod(group.extents)) * sum(
            node.op not in ("load", "literal") for node in group.nodes.values()
        )
        return Step(
            "kernel", "kernel", f"{name}()", {name: call}, formula, line, work, nbytes,
            parts=lowered.arrays, call=call,
        )  # fmt: skip

    def _head(self) -> list[str]:
        inputs = ", ".join(f"{self.names.of(v)} = {v!r}" for v in self.program.inputs)
        return [
            f"inputs: {inputs or 'none'}",
            f"memory: {self.arena_bytes / 1e6:.2f} MB (at least {self.bound_bytes / 1e6:.2f} MB)",
        ]

    # -- running ------------------------------------------------------------------------------

    def fits(self) -> bool:
        """Whether the parameters are as the program knows them."""
        for parameter, array, grad, frozen in self._guarded:
            if parameter.array is not array or parameter.gradient is not grad:
                return False
            if parameter.frozen is not frozen:
                return False
        if any(array.shape != shape for array, shape in self._shapes):
            return False  # the user has set it
        return all(fingerprint(array) == digest for array, digest in self._fixed)

    def _live_shapes(self) -> list[tuple[np.ndarray, tuple[int, ...]]]:
        values = {v for i in self.program.instructions for v in i.inputs() if v.origin == "live"}
        return [(v.source, v.shape) for v in values]

    def run(self, leaves: list[Any]) -> Any:
        """Run the program.

        Parameters
        ----------
        leaves : list
            Of the arguments.

        Returns
        -------
        tree
            As the function returns it; the arrays are the caller's.
        """
        with self._running:  # the memory is that of one run at a time
            if self._busy:
                raise Reentered("an effect of the program has called the same function again")
            self._busy = True
            try:
                with self.target.running():
                    return self._run([leaf for leaf in leaves if is_array(leaf)])
            finally:
                self._busy = False

    def did_nothing(self, error: Exception) -> bool:
        """Whether a run that ended with an error has had no effect before that."""
        if self._timed is not None or not hasattr(self._call, "__code__"):
            return False  # nobody has counted the steps
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code is not self._call.__code__:
            trace = trace.tb_next
        if trace is None:
            return True
        done = emit.statements(self.source).index(trace.tb_lineno) + 1
        return not any(step.final for step in self.steps[:done])

    def _run(self, given: list[Any]) -> Any:
        for place, leaf in zip(self._inputs, given, strict=True):
            self.target.put(place, leaf)
        for place, array in self._live:
            self.target.put(place, array)
        if self._timed is None:
            self._call()
        else:
            self._run_timed(self._timed)
        if flops.counting():
            for step in self.steps:
                for product in step.products:
                    product.count()
        return self.tree.build([made() for made in self._outputs])

    def _run_timed(self, seconds: np.ndarray) -> None:
        calls = [
            emit.function("one", emit.source("one", [step], []), [step]) for step in self.steps
        ]
        for i, call in enumerate(calls):
            started = time.perf_counter()
            call()
            seconds[i] += time.perf_counter() - started

    @contextmanager
    def timed(self) -> Iterator[np.ndarray]:
        """Add up the seconds that each step takes in the runs inside of the block.

        Raises
        ------
        DeviceError
            The steps only give work to a device, which the host's clock does not see.
        """
        if not hasattr(self._call, "__code__"):
            raise DeviceError(
                f"the steps of {self.name} are a device's, and the host's clock cannot time them; "
                "use hpcad.program.device.timing.timed(program), which records events"
            )
        self._timed = np.zeros(len(self.steps))
        try:
            yield self._timed
        finally:
            self._timed = None

    # -- looking at it ------------------------------------------------------------------------

    def report(self, measured: np.ndarray | None = None) -> Report:
        """What the program costs.

        Parameters
        ----------
        measured : array, optional
            Seconds of each step, from :meth:`timed`, divided by the number of runs.
        """
        return report(self.name, self.steps, self.arena_bytes, self.bound_bytes, measured)

    def save(self, directory: str | Path) -> Path:
        """Write the source, the text of the kernels and the report into a directory, to be read."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.py").write_text(self.source)
        if self.kernels:
            text = self.target.kernel_text(self.kernels)
            (folder / f"{self.name}.{self.target.suffix}").write_text(text)
        (folder / f"{self.name}.txt").write_text(f"{self.report()}\n")
        self.report().save(folder / f"{self.name}.json")
        return folder

    def _output(self, out: Any) -> Any:
        """A function that returns one leaf of the result."""
        if not (isinstance(out, tuple) and out and isinstance(out[0], Value)):
            return lambda: out
        return self.target.taken(self.array(out[0]), out[1])


class Reentered(Exception):  # noqa: N818  (a way out: the call is made eagerly)
    """A program runs already, in this thread."""


class NoCompiler(Exception):  # noqa: N818  (a way out, and no error)
    """Kernels cannot be compiled on this machine."""


def _distinct_bytes(array: np.ndarray) -> int:
    """Bytes of an operand, repetitions by broadcasting not counted."""
    size = array.itemsize
    for n, stride in zip(array.shape, array.strides, strict=True):
        size *= n if stride else 1
    return size
