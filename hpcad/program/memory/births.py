"""Values that are born where they are needed, so that nobody has to copy them there.

A gradient is written into its place in the arena of the optimizer, a part of a concatenation into
its slice, and a running sum stands in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.backend.gemm import layout as blas_layout
from hpcad.program.fusion.fuse import Task
from hpcad.program.fusion.groups import Group, Target, Way
from hpcad.program.improve.fused_products import EPILOGUE_OF
from hpcad.program.instruction import Accumulate, Call, Instruction, Value
from hpcad.program.memory.places import Buffer, Place, outputs, reads, writes
from hpcad.program.routines import ACCUMULATING
from hpcad.program.views import Layout

if TYPE_CHECKING:
    from hpcad.program.memory.storage import Storage


class Births:
    """Finds such values, and enters their places into a storage.

    Parameters
    ----------
    storage : Storage
        Its ``places``, ``accumulated`` and ``skipped`` are added to.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.tasks = storage.schedule.tasks
        self.places = storage.places
        self.makers = self._find_makers()
        self._readers = self._find_readers()

    def settle(self) -> None:
        """Gradients first: they lie in memory of somebody else."""
        self._place_gradients()
        self._place_parts()
        self._place_sums()

    def _find_makers(self) -> dict[Value, list[int]]:
        makers: dict[Value, list[int]] = {}
        for position, task in enumerate(self.tasks):
            for value in writes(task):
                makers.setdefault(value, []).append(position)
        return makers

    def _find_readers(self) -> dict[Value, list[int]]:
        readers: dict[Value, list[int]] = {}
        for position, task in enumerate(self.tasks):
            for value in reads(task):
                readers.setdefault(self.storage.origin(value)[0], []).append(position)
        for value in outputs(self.storage.program):
            readers.setdefault(self.storage.origin(value)[0], []).append(len(self.tasks))
        return readers

    def _sole_maker(self, value: Value, reader: int) -> int | None:
        """The one task that makes a value that only the reader reads."""
        makers, readers = self.makers.get(value, []), self._readers.get(value, [])
        return makers[0] if len(makers) == 1 and readers == [reader] else None

    def _place_gradients(self) -> None:
        tasks = self.tasks
        settled: dict[int, int] = {}  # parameter -> task after which its gradient was last written
        for position, task in enumerate(tasks):
            if not isinstance(task, Task) or not isinstance(task.instruction.op, Accumulate):
                continue
            op, (value,) = task.instruction.op, task.instruction.args
            base, way = self.storage.origin(value)
            maker = self._sole_maker(base, position)
            grad = self.storage.residence.gradient(op.parameter)
            settled_at = settled.get(id(op.parameter), -1)
            if maker is not None and maker > settled_at and not self._calls(maker, position):
                layout = self._gradient_layout(tasks[maker], base, way, grad, op.beta)
                if layout is not None and grad is not None and base not in self.places:
                    self.places[base] = Place(Buffer(grad.nbytes, external=grad), layout)
                    self.storage.accumulated[base] = op.beta
                    self.storage.skipped.add(task)
            settled[id(op.parameter)] = position

    def _gradient_layout(
        self, maker: Any, base: Value, way: Any, grad: Any, beta: float
    ) -> Layout | None:
        """How a value lies in a gradient, if the task that makes it can write it there."""
        back = _inverted(way, base)
        if grad is None or back is None or not grad.flags.c_contiguous:
            return None
        if not self._can_write(maker, base, beta):
            return None
        layout: Layout | None = Layout.contiguous(grad.shape, grad.dtype)
        for step in back:
            layout = layout.seen_through(step) if layout is not None else None
        if layout is None or layout.shape != base.shape or layout.dtype != base.dtype:
            return None
        if layout.is_contiguous and base.order is None:
            return layout
        product = isinstance(maker, Task) and maker.instruction.name == "matmul"
        return layout if product and _blas_takes(layout) else None

    def _calls(self, start: int, stop: int) -> bool:
        """Whether something that could look at gradients runs between two tasks."""
        return any(
            isinstance(task, Task) and isinstance(task.instruction.op, Call)
            for task in self.tasks[start:stop]
        )

    def _can_write(self, maker: Any, value: Value, beta: float) -> bool:
        if isinstance(maker, Group):
            return beta == 0.0 or any(t.value is value and not t.way for t in maker.targets)
        name, outs = maker.instruction.name, maker.instruction.outs
        if name in EPILOGUE_OF:  # a product is added to what was there, a sum replaces it
            return value is outs[0] or beta == 0.0
        return name in ACCUMULATING

    def _place_parts(self) -> None:
        """Products that are only copied into a slice of something are made there."""
        for position, task in enumerate(self.tasks):
            copied = _copy_of(task)
            if copied is None or copied[0] in self.places:
                continue
            source, way, target = copied
            maker = self._sole_maker(source, position)
            if maker is None or isinstance(self.tasks[maker], Group):
                continue
            name = self.tasks[maker].instruction.name  # type: ignore[union-attr]
            if name not in ("matmul", "tiled_attention_back"):
                continue
            place, back = self.storage.place(target.value), _inverted(way, source)
            layout: Layout | None = place.layout if back is not None else None
            for step in (*target.way, *(back or ())):
                layout = layout.seen_through(step) if layout is not None else None
            if layout is None or layout.shape != source.shape:
                continue
            if not (_blas_takes(layout) if name == "matmul" else _rows_are_whole(layout)):
                continue
            self.places[source] = Place(place.buffer, layout)
            self.storage.skipped.add(task)

    def _place_sums(self) -> None:
        """A running sum stands in one place; the last task of it says where."""
        for task in reversed(self.tasks):
            if isinstance(task, Task) and task.instruction.name == "matmul_add":
                before = task.instruction.args[0]
                self.places[before] = self.storage.place(task.instruction.out)


def _blas_takes(layout: Layout) -> bool:
    found = blas_layout(layout.shape, layout.strides, layout.dtype.itemsize)
    return len(layout.shape) >= 2 and found is not None


def _rows_are_whole(layout: Layout) -> bool:
    """Whether the elements of the last axis are neighbours, which attention kernels need."""
    return layout.strides[-1] == layout.dtype.itemsize


def _copy_of(task: Task | Group) -> tuple[Value, Way, Target] | None:
    """What a group copies, if it does nothing else."""
    if not isinstance(task, Group) or len(task.nodes) != 1 or len(task.targets) != 1:
        return None
    (((value, way), node),) = task.nodes.items()
    target = task.targets[0]
    if node.op != "load" or value.origin != "result" or target.axes is not None:
        return None
    return value, way, target


def _inverted(way: Way, source: Value) -> list[Instruction] | None:
    """The steps that lead back from a view to its base; None where one cannot be undone."""
    steps: list[Instruction] = []
    shape = source.shape
    for step in way:
        if not isinstance(step, Instruction) or step.name not in ("reshape", "transpose"):
            return None
        if step.name == "reshape":
            params: dict[str, Any] = {"shape": shape}
        else:
            params = {"axes": tuple(int(i) for i in np.argsort(step.params["axes"]))}
        steps.append(Instruction(step.op, [], params, [], step.line))
        shape = step.out.shape
    return steps[::-1]
