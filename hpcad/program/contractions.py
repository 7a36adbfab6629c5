"""Sums of products become products of longer factors.

A recurrent network adds one product to the gradient of its weight at every time,
``dU = sum_t h_t^T dz_t``. Side by side the factors are one product, ``[h_0; h_1; ...]^T [dz_0; ...]``:
BLAS reads and writes ``dU`` once, and multiplies long rows faster than short ones.
"""

from __future__ import annotations

from typing import Any

from hpcad.autodiff.primitive import PRIMITIVES
from hpcad.program.instruction import Accumulate, Instruction, Program, Value

FEWEST = 4  # products that are worth the copies


def merge_products(program: Program) -> Program:
    """Merge the products that are added to one parameter; the program is changed in place."""
    sums: dict[int, list[tuple[Instruction, Instruction]]] = {}
    users = program.consumers()
    for instruction in program.instructions:
        if isinstance(instruction.op, Accumulate):
            product = _product(instruction, users)
            if product is not None:
                shape = (product.args[1].shape, product.args[0].shape)
                key = hash((id(instruction.op.parameter), shape))
                sums.setdefault(key, []).append((instruction, product))
    for terms in sums.values():
        if len(terms) >= FEWEST:
            _merge(program, terms)
    return program


def _product(instruction: Instruction, users: Any) -> Instruction | None:
    """The product ``a^T b`` that is added and used for nothing else."""
    (value,) = instruction.args
    if not isinstance(value, Value) or value.origin != "result" or len(users[value]) != 1:
        return None
    product = value.source
    if product.name != "matmul" or not all(isinstance(a, Value) for a in product.args):
        return None
    if any(len(a.shape) != 2 for a in product.args) or _transposed(product.args[0]) is None:
        return None
    return product


def _transposed(value: Value) -> Value | None:
    """What a value is the transpose of."""
    if value.origin == "result" and value.source.name == "transpose":
        return value.source.args[0]
    return None


def _merge(program: Program, terms: list[tuple[Instruction, Instruction]]) -> None:
    """Replace the sum by one product, where its last term stood."""
    first, last = terms[0][0], terms[-1][0]
    pairs = [(_transposed(product.args[0]), product.args[1]) for _, product in terms]
    a = _joined([x for x, _ in pairs], last.line)
    b = _joined([y for _, y in pairs], last.line)
    turned = _new("transpose", [a.out], {"axes": (1, 0)}, a.out.shape[::-1], last.line)
    product = _new("matmul", [turned.out, b.out], {}, terms[0][1].out.shape, last.line)
    total = Instruction(first.op, [product.out], {}, [], last.line)
    at = program.instructions.index(last)
    program.instructions[at : at + 1] = [a, b, turned, product, total]
    dropped = {id(i) for pair in terms for i in pair}
    program.instructions = [i for i in program.instructions if id(i) not in dropped]


def _joined(parts: list[Any], line: str) -> Instruction:
    rows = tuple(part.shape[0] for part in parts)
    shape = (sum(rows), parts[0].shape[1])
    params = {"axis": 0, "before": rows}
    return _new("concatenate", parts, params, shape, line)


def _new(name: str, args: list[Any], params: Any, shape: tuple[int, ...], line: str) -> Instruction:
    made = Instruction(PRIMITIVES[name], args, params, [], line)
    made.outs.append(Value(shape, args[0].dtype, "result", made))
    return made
