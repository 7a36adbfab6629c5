"""What is computed before parameters change, and used afterwards.

Elementwise operations run where they are needed, which may be later than where they were captured.
One that reads a parameter must not wait until an optimizer has changed it: its result is held.
"""

from __future__ import annotations

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.program.instruction import Call, Instruction, Program, Value, replaced
from hpcad.program.kernels.table import TABLE
from hpcad.program.views import is_view

REDUCTIONS = ("sum", "max", "min")  # which may wait, too
HOLD = Primitive("hold", np.copy, None, constant=True, register=False)


def changes_parameters(instruction: Instruction) -> bool:
    """Whether parameters have other values after an instruction."""
    return isinstance(instruction.op, Call) and instruction.op.writes


def hold(program: Program) -> Program:
    """Hold what could wait too long; the program is changed in place."""
    if any(map(changes_parameters, program.instructions)):
        walk = _Walk(program)
        for instruction in list(program.instructions):
            if changes_parameters(instruction):
                walk.hold_before(instruction)
    return program


class _Walk:
    def __init__(self, program: Program) -> None:
        self.program = program
        self._waiting: dict[Value, bool] = {}
        for instruction in program.instructions:
            for out in instruction.outs:
                self._waiting[out] = _may_wait(instruction) and any(
                    value.origin == "parameter" or self._waiting.get(value, False)
                    for value in instruction.inputs()
                )

    def hold_before(self, change: Instruction) -> None:
        instructions = self.program.instructions
        at = instructions.index(change)
        before = {out for instruction in instructions[:at] for out in instruction.outs}
        held: dict[Value, Value] = {}
        for instruction in instructions[at + 1 :]:
            for value in instruction.inputs():
                if value in before and self._waiting[value] and not _shows(value):
                    held.setdefault(value, value)
        for out in self.program.outputs:
            given = out[0] if isinstance(out, tuple) and out else None
            if given in before and _is_elementwise(given) and self._waiting[given]:
                held.setdefault(given, given)
        new = [_held(value, change.line) for value in held]
        held = {value: instruction.out for value, instruction in zip(held, new, strict=True)}
        for instruction in instructions[at + 1 :]:
            instruction.args = [replaced(arg, held) for arg in instruction.args]
            instruction.params = replaced(instruction.params, held)
        instructions[at:at] = new
        self.program.outputs = [
            (held.get(out[0], out[0]), out[1]) if isinstance(out, tuple) and out else out
            for out in self.program.outputs
        ]
        self._waiting.update(dict.fromkeys(held.values(), False))


def _may_wait(instruction: Instruction) -> bool:
    return instruction.name in TABLE or instruction.name in REDUCTIONS or is_view(instruction)


def _is_elementwise(value: Value) -> bool:
    return value.origin == "result" and value.source.name in TABLE


def _shows(value: Value) -> bool:
    """Whether it is a parameter seen in another way: it shows the new values eagerly, too."""
    while value.origin == "result" and is_view(value.source):
        value = value.source.args[0]
    return value.origin == "parameter"


def _held(value: Value, line: str) -> Instruction:
    made = Instruction(HOLD, [value], {}, [], line)
    made.outs.append(Value(value.shape, value.dtype, "result", made))
    return made
