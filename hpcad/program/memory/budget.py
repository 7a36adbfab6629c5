"""A budget of memory: what must wait is dropped and made again, the cheapest first.

Between its last early and its first late use a value costs memory and nothing else. A copy of the
instructions that make it, from values that are there anyhow, can stand before the late use
instead. Chosen are, at the point where most memory is in use, the values that free the most bytes
per second of recomputation, until the plan fits (greedy rematerialisation, as Kumar et al.,
NeurIPS 2019, and XLA's).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpcad.program.instruction import Instruction, Program, Value
from hpcad.program.memory.remat import copied, exchange
from hpcad.program.views import Views, is_view

FLOPS_PER_SECOND = 5e10
BYTES_PER_SECOND = 1e10
MOST_COPIED = 256  # instructions for one value
MOST_ROUNDS = 40
MOST_IN_VAIN = 10  # rounds after which nothing was gained
HOPELESS = 1.25  # times the least that was reached


@dataclass
class Candidate:
    """A value that may be made again before its late users.

    Attributes
    ----------
    instructions : list of Instruction
        What makes it, from values that are alive.
    late : list of Instruction
        The users that will read the copy.
    """

    value: Value
    instructions: list[Instruction]
    late: list[Instruction]
    seconds: float

    @property
    def gain(self) -> float:
        return self.value.nbytes / self.seconds


def fit(program: Program, budget: int, planned: Callable[[Program], int]) -> int:
    """Change a program in place until its memory fits, or nothing more can be done.

    Parameters
    ----------
    budget : int
        Bytes.
    planned : callable
        Bytes of the memory plan of a program.

    Returns
    -------
    int
        Bytes of the plan that was reached.
    """
    best, kept = planned(program), _state(program)
    size, vain = best, 0
    for _ in range(MOST_ROUNDS):
        if size <= budget or size > HOPELESS * best or vain == MOST_IN_VAIN:
            break
        freed = 0
        while freed < max(size - budget, size // 8):
            chosen = _best(program)
            if chosen is None:
                break
            _recompute(program, chosen)
            freed += chosen.value.nbytes
        if not freed:
            break
        size = planned(program)
        vain += 1
        if size < best:
            best, kept, vain = size, _state(program), 0
    _restore(program, kept)
    return best


def _state(program: Program) -> list[tuple[Instruction, Any, Any]]:
    return [(i, i.args, i.params) for i in program.instructions]


def _restore(program: Program, state: list[tuple[Instruction, Any, Any]]) -> None:
    program.instructions = [instruction for instruction, _, _ in state]
    for instruction, args, params in state:
        instruction.args, instruction.params = args, params


class _Lives:
    """When values are made and used, in numbers of instructions; views count as their bases."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.views = Views(program.instructions)
        self.number = {ins: i for i, ins in enumerate(program.instructions)}
        self.users: dict[Value, list[Instruction]] = {}
        for instruction in program.instructions:
            if not is_view(instruction):
                for value in instruction.inputs():
                    self.users.setdefault(self.views.origin(value)[0], []).append(instruction)
        end = len(program.instructions)
        self.last = {v: self.number[users[-1]] for v, users in self.users.items()}
        for out in program.outputs:
            if isinstance(out, tuple) and out and isinstance(out[0], Value):
                self.last[self.views.origin(out[0])[0]] = end

    def made(self, value: Value) -> int:
        return self.number[value.source] if value.origin == "result" else -1

    def peak(self) -> int:
        """The instruction at which most bytes are in use."""
        change = [0] * (len(self.program.instructions) + 2)
        for value, last in self.last.items():
            if value.origin == "result":
                change[self.made(value)] += value.nbytes
                change[last + 1] -= value.nbytes
        alive = most = where = 0
        for position, difference in enumerate(change):
            alive += difference
            if alive > most:
                most, where = alive, position
        return where

    def alive(self, value: Value, position: int) -> bool:
        """Whether a value is there at a position without being kept for it."""
        return value.origin != "result" or self.last.get(value, -1) >= position


def _best(program: Program) -> Candidate | None:
    """What frees most at the peak per second that it costs."""
    lives = _Lives(program)
    peak = lives.peak()
    found = [_candidate(lives, value, peak) for value in lives.users]
    return max((c for c in found if c is not None), key=lambda c: c.gain, default=None)


def _candidate(lives: _Lives, value: Value, peak: int) -> Candidate | None:
    if value.origin != "result" or value.nbytes < 4096 or not _repeatable(value.source):
        return None
    users = lives.users[value]
    late = [user for user in users if lives.number[user] > peak]
    if lives.made(value) >= peak or not late or lives.last[value] >= len(lives.number):
        return None
    if any(lives.number[user] == peak for user in users):
        return None
    first = lives.number[late[0]]
    instructions = _cone(lives, value, first)
    if instructions is None:
        return None
    return Candidate(value, instructions, late, sum(map(_seconds, instructions)))


def _cone(lives: _Lives, value: Value, position: int) -> list[Instruction] | None:
    """The instructions that make a value from what is alive at a position."""
    wanted: dict[Instruction, None] = {}
    stack = [value.source]
    while stack:
        instruction = stack.pop()
        if instruction in wanted:
            continue
        if not _repeatable(instruction) or len(wanted) > MOST_COPIED:
            return None
        wanted[instruction] = None
        for argument in instruction.inputs():
            base, way = lives.views.origin(argument)
            if base is value or not lives.alive(base, position):
                stack.append(base.source)
            stack += [step for step in way if not lives.alive(base, position)]
    return sorted(wanted, key=lives.number.__getitem__)


def _repeatable(instruction: Instruction) -> bool:
    return not instruction.has_effect and instruction.name not in ("hold", "in_range")


def _seconds(instruction: Instruction) -> float:
    nbytes = sum(out.nbytes for out in instruction.outs)
    work = 0.0
    if instruction.name == "matmul":
        work = 2.0 * instruction.out.size * instruction.args[0].shape[-1]
    elif "conv" in instruction.name:
        work = 2.0 * math.prod(instruction.outs[0].shape) * 64
    return work / FLOPS_PER_SECOND + (2 * nbytes / BYTES_PER_SECOND if work == 0 else 0.0) + 1e-7


def _recompute(program: Program, chosen: Candidate) -> None:
    """Put copies of the instructions before the late users, who read them from then on."""
    copies: dict[Value, Value] = {}
    new = [copied(instruction, copies) for instruction in chosen.instructions]
    at = program.instructions.index(chosen.late[0])
    exchange(program, chosen.value, chosen.late, copies, new)
    program.instructions[at:at] = new
