"""Fusion: which instructions run together as one kernel, and in what order the tasks come.

Values are made on demand. What something other than a kernel reads (a GEMM, a gather, an output)
is a *root*: it must be in memory. The elementwise operations and row reductions between roots are
pulled into the kernels that need them; what two kernels need is computed twice where that is
cheaper than to write and read it, and stored by the first where it is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hpcad.autodiff.primitive import PRIMITIVES
from hpcad.program.fusion.cones import (
    Barrier,
    Cone,
    ConeBuilder,
    Elementwise,
    reduced_axes,
    row_reduction,
)
from hpcad.program.fusion.groups import Group, Key, Target, Way, loop_of
from hpcad.program.improve.order import changes_parameters
from hpcad.program.instruction import Instruction, Program, Value
from hpcad.program.kernels.scalars import OPERANDS
from hpcad.program.views import Views, is_view

GETITEM, RESHAPE = PRIMITIVES["getitem"], PRIMITIVES["reshape"]
MOST_NODES = 4000  # of one kernel: compilers take more than linear time
LOOK_BACK = 12  # tasks


@dataclass(eq=False)
class Task:
    """An instruction that is no kernel, at its place in the order."""

    instruction: Instruction
    position: int


@dataclass
class Schedule:
    """The tasks of a program.

    Attributes
    ----------
    tasks : list of Task or Group
    views : Views
    stored : set of Value
        Results that are in memory.
    """

    tasks: list[Task | Group]
    views: Views
    stored: set[Value] = field(default_factory=set)


def fuse(program: Program) -> Schedule:
    """Arrange a simplified program in tasks."""
    barriers: set[Value] = set()
    while True:
        try:
            return _Fuser(program, barriers).run()
        except Barrier as barrier:
            if barrier.value in barriers:
                raise RuntimeError(f"{barrier.value} was stored and is still in the way") from None
            barriers.add(barrier.value)


class _Fuser:
    def __init__(self, program: Program, barriers: set[Value]) -> None:
        self.program = program
        self.views = Views(program.instructions)
        self.elementwise = Elementwise(self.views)
        self.tasks: list[Task | Group] = []
        self.made: dict[Value, int] = {}  # the task that stores a value
        self.computed: dict[Value, Group] = {}
        self.required = self._required() | barriers
        self.cones = ConeBuilder(self.elementwise, self.required, self.computed)

    def _required(self) -> set[Value]:
        """The values that something other than a kernel reads or makes."""
        found: set[Value] = set()
        for instruction in self.program.instructions:
            if self._is_task(instruction):
                found.update(instruction.outs)
                if not self._is_concatenation(instruction):
                    found.update(self.views.origin(v)[0] for v in instruction.inputs())
        for out in self.program.outputs:
            if isinstance(out, tuple) and out and isinstance(out[0], Value):
                found.add(self.views.origin(out[0])[0])
        found.update(self.views.copies)
        for instruction in self.views.copies.values():
            if not _is_known(instruction.out):
                found.add(self.views.origin(instruction.args[0])[0])
        return found

    def _is_concatenation(self, instruction: Instruction) -> bool:
        """Whether kernels can write the parts to their places."""
        if instruction.name != "concatenate" or not _is_known(instruction.out):
            return False
        return all(part.dtype == instruction.out.dtype for part in instruction.args)

    def _is_task(self, instruction: Instruction) -> bool:
        if instruction.name == "in_range":
            return True
        if is_view(instruction) and instruction.outs[0] not in self.views.copies:
            return False
        if instruction.outs and instruction.outs[0] in self.views.copies:
            return False
        return self.elementwise.node(instruction) is None and reduced_axes(instruction) is None

    def run(self) -> Schedule:
        for instruction in self.program.instructions:
            if instruction.outs and instruction.outs[0] in self.views.copies:
                if _is_known(instruction.out):
                    self._copy(instruction)
                else:
                    self._task(instruction)
            elif self._is_concatenation(instruction):
                self._concatenate(instruction)
            elif self._is_task(instruction):
                self._task(instruction)
            elif instruction.outs and instruction.out in self.required and not is_view(instruction):
                self._root(instruction)
        stored = set(self.made)
        return Schedule(self.tasks, self.views, stored)

    # -- tasks that are no kernels ------------------------------------------------------------

    def _task(self, instruction: Instruction) -> None:
        for value in instruction.inputs():
            self._ensure(self.views.origin(value)[0])
        self.tasks.append(Task(instruction, len(self.tasks)))
        for out in instruction.outs:
            self.made[out] = len(self.tasks) - 1

    def _ensure(self, value: Value) -> None:
        """See to it that a value is stored."""
        if value.origin == "result" and value not in self.made:
            home = self.computed.get(value)
            if home is not None:
                self._store(value, home)
            else:
                self._root(value.source)

    # -- kernels ------------------------------------------------------------------------------

    def _root(self, instruction: Instruction) -> None:
        """Compute a value into memory of its own."""
        out = instruction.out
        if out in self.made:
            return
        home = self.computed.get(out)
        if home is not None:
            self._store(out, home)
            return
        axes = reduced_axes(instruction)
        if axes is None:
            self._make((out, ()), loop_of(out.shape), out, opened=out)
        elif row_reduction(instruction) is not None:
            key = (out, (_column_of(instruction),))
            self._make(key, instruction.args[0].shape, out, opened=out)
        else:
            x = instruction.args[0]
            self._make(self.cones.key(x, "", None, ()), loop_of(x.shape), out, axes=axes)

    def _copy(self, instruction: Instruction) -> None:
        """A reshape that has to copy: the argument, written in order."""
        x = instruction.args[0]
        key = self.cones.key(x, "", None, ())
        back = _reshape_like(instruction, x.shape)
        self._make(key, loop_of(x.shape), instruction.out, way=(back,))

    def _concatenate(self, instruction: Instruction) -> None:
        """Each part, written to its place."""
        axis, start = instruction.params["axis"], 0
        for part, size in zip(instruction.args, instruction.params["before"], strict=True):
            index = (slice(None),) * axis + (slice(start, start + size),)
            start += size
            if size == 0 or math.prod(instruction.out.shape) == 0:
                continue
            view = _slice_of(instruction, index, part.shape)
            key = self.cones.key(part, "", None, ())
            self._make(key, loop_of(part.shape), instruction.out, way=(view,))
        self.made.setdefault(instruction.out, len(self.tasks) - 1)

    def _make(
        self, key: Key, extents: tuple[int, ...], target: Value, way: Way = (),
        axes: tuple[int, ...] | None = None, opened: Value | None = None,
    ) -> None:  # fmt: skip
        """Put a node into a group that can take it, or a new one, and store it."""
        self.cones.in_memory = self.required - {opened} if opened is not None else self.required
        group, cone = self._place(key, extents)
        self._commit(group, cone, key)
        group.targets.append(Target(key, target, way, axes))
        self.made[target] = max(self.made.get(target, 0), group.position)

    def _place(self, key: Key, extents: tuple[int, ...]) -> tuple[Group, Cone]:
        while True:
            cone = self.cones.build(key, extents, None)
            missing = [v for v in cone.stored if v not in self.computed and v not in self.made]
            if not missing:
                break
            for value in missing:
                opened, self.cones.in_memory = self.cones.in_memory, self.required
                self._ensure(value)
                self.required.add(value)
                self.cones.in_memory = opened | {value}
        for group in self._candidates(extents, cone):
            inside = self.cones.build(key, extents, group)
            if self._fits(inside, group):
                return group, inside
        group = Group(extents, len(self.tasks))
        self.tasks.append(group)
        return group, cone

    def _candidates(self, extents: tuple[int, ...], cone: Cone) -> list[Group]:
        """Groups of the same loop that share something with a cone, the latest first."""
        wanted = {k for k, node in cone.nodes.items() if node.op != "literal"}
        sources = set(cone.stored)
        found = []
        for task in reversed(self.tasks[-LOOK_BACK:]):
            if isinstance(task, Task) and changes_parameters(task.instruction):
                break  # before it, parameters have other values
            if isinstance(task, Group) and task.extents == extents:
                shares = not wanted.isdisjoint(task.nodes) or any(
                    self.computed.get(v) is task for v in sources
                )
                if shares and len(task.nodes) + len(cone.nodes) <= MOST_NODES:
                    found.append(task)
        return found

    def _fits(self, cone: Cone, group: Group) -> bool:
        """Whether everything that the cone reads is there before the group runs."""
        for value in cone.stored:
            home = self.computed.get(value)
            if home is None or home.position >= group.position:
                return False
        return all(
            value.origin != "result"
            or value in cone.stored
            or self.made.get(value, group.position) < group.position
            for value in cone.loads
        )

    def _commit(self, group: Group, cone: Cone, key: Key) -> None:
        for value in cone.stored:
            self._store(value, self.computed[value])
        for node, spec in cone.nodes.items():
            group.nodes[node] = spec
            value, way = node
            made = isinstance(value, Value) and spec.op not in ("load", "literal")
            if made and _covers(value, way, group.extents, spec.op):
                self.computed.setdefault(value, group)
        if isinstance(key[0], Value) and key[0].origin == "result":
            line = key[0].source.line
            if line not in group.lines:
                group.lines.append(line)

    def _store(self, value: Value, home: Group) -> None:
        """Let the group that computes a value store it."""
        self.required.add(value)
        if value in self.made:
            return
        for key, spec in home.nodes.items():
            if key[0] is value and _covers(value, key[1], home.extents, spec.op):
                way = () if spec.op.startswith("row_") else key[1]
                home.targets.append(Target(key, value, way))
                self.made[value] = home.position
                return
        raise RuntimeError(f"{value} is not computed where it was thought to be")


def _covers(value: Value, way: Way, extents: tuple[int, ...], op: str) -> bool:
    """Whether the loop meets every element of a value once (or every row, of a reduction)."""
    if op.startswith("row_"):
        return True
    if math.prod(extents) != value.size:
        return False
    return all(
        isinstance(step, Instruction) and step.name in ("reshape", "transpose") for step in way
    )


def _is_known(value: Value) -> bool:
    """Whether kernels know the dtype, and there is something to do."""
    return str(value.dtype) in OPERANDS and value.size > 0


def _column_of(instruction: Instruction) -> Instruction:
    """A row reduction looked at with one element in each row."""
    out = instruction.out
    params = {"index": (..., None), "before": out.shape}
    view = Instruction(GETITEM, [out], params, [], instruction.line)
    view.outs.append(Value((*out.shape, 1), out.dtype, "result", view))
    return view


def _reshape_like(instruction: Instruction, shape: tuple[int, ...]) -> Instruction:
    params = {"shape": loop_of(shape), "before": instruction.out.shape}
    view = Instruction(RESHAPE, [instruction.out], params, [], instruction.line)
    view.outs.append(Value(loop_of(shape), instruction.out.dtype, "result", view))
    return view


def _slice_of(instruction: Instruction, index: tuple, shape: tuple[int, ...]) -> Instruction:
    params = {"index": index, "before": instruction.out.shape}
    view = Instruction(GETITEM, [instruction.out], params, [], instruction.line)
    view.outs.append(Value(shape, instruction.out.dtype, "result", view))
    return view
