"""Excerpts: a few instructions of a program as one of their own, to be measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from hpcad.program.instruction import Instruction, Program, Value, replaced


def excerpt(program: Program, outputs: Iterable[Value], stops: Iterable[Value]) -> Program:
    """What makes some values of others, copied.

    Parameters
    ----------
    outputs : iterable of Value
    stops : iterable of Value
        Where to stop; these, and whatever no instruction makes, are the inputs.
    """
    outputs, stops = list(outputs), set(stops)
    needed, kept = set(outputs), []
    for instruction in reversed(program.instructions):
        if not needed.isdisjoint(set(instruction.outs) - stops):
            kept.append(instruction)
            needed.update(instruction.inputs())
    made = {out for instruction in kept for out in instruction.outs}
    given = [
        v for i in reversed(kept) for v in i.inputs() if v not in made and v.origin != "literal"
    ]
    table = {value: _input(value, i) for i, value in enumerate(dict.fromkeys(given))}
    return _copied(program, kept[::-1], list(table.values()), table, outputs)


def refilled(sample: Program, arrays: Mapping[Value, Any]) -> Program:
    """A copy of an excerpt that reads arrays instead of arguments."""
    table = {
        value: Value(value.shape, value.dtype, "live", array) for value, array in arrays.items()
    }
    outputs = [out[0] for out in sample.outputs]
    return _copied(sample, sample.instructions, [], table, outputs)


def _copied(
    program: Program, kept: list[Instruction], inputs: list[Value],
    table: dict[Value, Value], outputs: list[Value],
) -> Program:  # fmt: skip
    own = []
    for instruction in kept:
        args = [replaced(arg, table) for arg in instruction.args]
        params = replaced(instruction.params, table)
        copy = Instruction(instruction.op, args, params, [], instruction.line)
        for out in instruction.outs:
            table[out] = Value(out.shape, out.dtype, "result", copy)
            copy.outs.append(table[out])
        own.append(copy)
    returned = [(table[out], "array") for out in outputs]
    return Program(inputs, own, returned, backend=program.backend)


def digest(sample: Program) -> str:
    """What tells an excerpt from others that do something else."""
    names: dict[Value, str] = {}

    def text(x: Any) -> str:
        if isinstance(x, Value):
            return names.setdefault(x, f"{len(names)}:{x!r}")
        if isinstance(x, Mapping):
            return str({key: text(part) for key, part in x.items()})
        return str([text(part) for part in x]) if isinstance(x, (list, tuple)) else repr(x)

    lines = [
        f"{i.name} {text(i.args)} {text(i.params)} {text(i.outs)}" for i in sample.instructions
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _input(value: Value, number: int) -> Value:
    return Value(value.shape, value.dtype, "input", number)
