"""Running sums of products: ``x + a b`` is added where ``x`` stands, by BLAS itself (``beta = 1``).

Without that, the terms of a long sum (blocks of an attention, say) would all be kept until one
kernel adds them up.
"""

from __future__ import annotations

from typing import Any

from hpcad.autodiff.primitive import Primitive
from hpcad.primitives.product import matmul
from hpcad.program.improve.order import changes_parameters
from hpcad.program.instruction import Instruction, Program, Value

MATMUL_ADD = Primitive(
    "matmul_add", lambda x, a, b: x + matmul(a, b), None, constant=True, register=False
)
PRODUCTS = ("matmul", "matmul_add")


def add_in_place(program: Program) -> Program:
    """Turn sums of products into running sums; the program is changed in place."""
    users = program.consumers()
    returned = {out[0] for out in program.outputs if isinstance(out, tuple) and out}
    dropped: set[int] = set()
    fresh: set[int] = set()  # what was made since parameters have changed
    for instruction in program.instructions:
        fresh.add(id(instruction))
        if changes_parameters(instruction):
            fresh.clear()
        if instruction.name != "add":
            continue
        x, y = (_term(arg, instruction, users, returned) for arg in instruction.args)
        if x is None or y is None or y.name != "matmul" or id(y) not in fresh:
            continue
        instruction.op = MATMUL_ADD
        instruction.args = [x.out, *y.args]
        dropped.add(id(y))
    program.instructions = [i for i in program.instructions if id(i) not in dropped]
    return program


def _term(value: Any, total: Instruction, users: Any, returned: set[Value]) -> Instruction | None:
    """The product that a term is, if nobody but the sum needs it."""
    if not isinstance(value, Value) or value.origin != "result" or value in returned:
        return None
    made = value.source
    if made.name not in PRODUCTS or users[value] != [total]:
        return None
    return made if (value.shape, value.dtype) == (total.out.shape, total.out.dtype) else None
