"""The schedule without fusion: every instruction is a task of its own, in the order of capture.

It is the reference that fused programs are held against, and what runs without a C compiler.
"""

from __future__ import annotations

from hpcad.program.fusion.fuse import Schedule, Task
from hpcad.program.instruction import Program
from hpcad.program.views import Views, is_view


def unfused(program: Program) -> Schedule:
    """Arrange a simplified program in tasks, one for each instruction that is no view."""
    views = Views(program.instructions)
    tasks: list[Task] = []
    for instruction in program.instructions:
        if instruction.name == "in_range" or not (
            is_view(instruction) and instruction.outs[0] not in views.copies
        ):
            tasks.append(Task(instruction, len(tasks)))
    stored = {out for task in tasks for out in task.instruction.outs}
    return Schedule(list(tasks), views, stored)
