"""Rematerialisation: cheap values are computed again in the backward pass instead of kept.

A value that a product needs both in the forward and in the backward pass (the output of a GELU or
of a layer norm, say) lives through everything between the two. Where one large array, which is
alive anyhow, and a few elementwise operations suffice to make it again, a copy of its instruction
is put before the late users. Fusion computes it in a kernel that reads that array in any case.
"""

from __future__ import annotations

from typing import Any

from hpcad.program.fusion.cones import Elementwise
from hpcad.program.instruction import Instruction, Program, Value, replaced
from hpcad.program.kernels.scalars import cost
from hpcad.program.views import Views, is_view

SMALLEST = 1 << 16  # bytes; what is smaller is not worth a thought
BETWEEN = 8  # times its size must be made while it waits
MOST_WORK = 64  # additions per element


def rematerialise(program: Program) -> Program:
    """Split the values that wait long and are cheap; the program is changed in place."""
    walk = _Walk(program)
    for instruction in list(program.instructions):
        if walk.elementwise.node(instruction) is not None and instruction.out.nbytes >= SMALLEST:
            walk.consider(instruction)
    return program


class _Walk:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.views = Views(program.instructions)
        self.elementwise = Elementwise(self.views)
        self.returned = {out[0] for out in program.outputs if isinstance(out, tuple) and out}
        self._index()

    def _index(self) -> None:
        """Number the instructions; what is made before each; the users of values behind views."""
        self.number = {ins: i for i, ins in enumerate(self.program.instructions)}
        self.made = [0]
        self.users: dict[Value, list[Instruction]] = {}
        for instruction in self.program.instructions:
            viewing = is_view(instruction)
            size = 0 if viewing else sum(out.nbytes for out in instruction.outs)
            self.made.append(self.made[-1] + size)
            if not viewing:
                for value in instruction.inputs():
                    self.users.setdefault(self.views.origin(value)[0], []).append(instruction)

    def consider(self, instruction: Instruction) -> None:
        value = instruction.out
        users = self.users.get(value, [])
        if value in self.returned or len(users) < 2:
            return
        places = [self.number[user] for user in users]
        gap, cut = max((places[i + 1] - places[i], i) for i in range(len(places) - 1))
        waits = self.made[places[cut + 1]] - self.made[places[cut] + 1]
        late = users[cut + 1 :]
        if gap < 2 or waits < BETWEEN * value.nbytes or not all(map(self._is_task, late)):
            return
        if len(self._sources(value, places[cut + 1])) <= 1:
            self._split(instruction, late)

    def _is_task(self, instruction: Instruction) -> bool:
        return instruction.name == "matmul"

    def _sources(self, value: Value, late: int) -> set[Value]:
        """The large arrays from which a value can be made again when the late users come."""
        found: dict[Value, set[Value]] = {}
        work: dict[Value, int] = {}
        stack = [(value, False)]
        while stack:
            here, opened = stack.pop()
            if here in found:
                continue
            instruction = self.elementwise.of(here)
            if instruction is None:
                found[here] = {here} if 4 * here.size >= value.size else set()
                work[here] = 0
                continue
            parts = [self.views.origin(a)[0] for a in instruction.args if isinstance(a, Value)]
            if not opened:
                stack.append((here, True))
                stack += [(part, False) for part in parts]
                continue
            sources = set().union(*(found.get(part, set()) for part in parts))
            work[here] = cost(instruction.name) + sum(work.get(part, 0) for part in set(parts))
            last = max((self.number[user] for user in self.users.get(here, [])), default=-1)
            if here is not value and len(sources) > 1 and last >= late:
                sources, work[here] = {here}, 0
            found[here] = sources
        return found[value] if work[value] <= MOST_WORK else {value, None}  # type: ignore[arg-type]

    def _split(self, instruction: Instruction, late: list[Instruction]) -> None:
        """Copy the instruction before its late users, and the views through which they see it."""
        at = min(self.number[user] for user in late)
        copies: dict[Value, Value] = {}
        new = [copied(instruction, copies)]
        exchange(self.program, instruction.out, late, copies, new)
        self.program.instructions[at:at] = new
        self.views = Views(self.program.instructions)
        self.elementwise.views = self.views
        self._index()


def exchange(
    program: Program,
    value: Value,
    late: list[Instruction],
    copies: dict[Value, Value],
    new: list[Instruction],
) -> None:
    """Let users read the copy of a value; the views through which they see it are copied, too."""
    views = Views(program.instructions)
    for user in late:
        for seen in user.inputs():
            base, way = views.origin(seen)
            if base is value:
                new += [copied(step, copies) for step in way if step.out not in copies]
    for user in late:
        own = {seen: copies[seen] for seen in user.inputs() if views.origin(seen)[0] is value}
        user.args = [own.get(a, a) if isinstance(a, Value) else a for a in user.args]
        user.params = replaced(user.params, own)


def copied(instruction: Instruction, copies: dict[Value, Value]) -> Instruction:
    """A copy of an instruction that reads copies where there are some, and adds its own."""
    args: list[Any] = [copies.get(a, a) if isinstance(a, Value) else a for a in instruction.args]
    params = replaced(instruction.params, copies)
    copy = Instruction(instruction.op, args, params, [], instruction.line)
    for out in instruction.outs:
        copies[out] = Value(out.shape, out.dtype, "result", copy)
        copy.outs.append(copies[out])
    return copy
