"""Sums of products become products of longer factors.

A recurrent network adds one product to the gradient of its weight at every time,
``dU = sum_t h_t^T dz_t``. Side by side the factors are one product,
``[h_0; h_1; ...]^T [dz_0; dz_1; ...]``: BLAS reads and writes ``dU`` once, and multiplies long rows
faster than short ones.
"""

from __future__ import annotations

from typing import Any

from hpcad.autodiff.primitive import PRIMITIVES
from hpcad.program.instruction import Accumulate, Instruction, Program, Value

FEWEST = 4  # products that are worth the copies


def merge_products(program: Program) -> Program:
    """Merge the products that are added to one parameter; the program is changed in place."""
    users = program.consumers()
    returned = {out[0] for out in program.outputs if isinstance(out, tuple) and out}
    for stretch in _stretches(program):
        sums: dict[Any, list[tuple[Instruction, Instruction]]] = {}
        for instruction in stretch:
            product = _product(instruction, users)
            if product is not None and product.out not in returned:
                a, b = product.args
                kind = (b.shape, a.shape, b.dtype, a.dtype, product.out.dtype)
                sums.setdefault(kind, []).append((instruction, product))
        for terms in sums.values():
            if len(terms) >= FEWEST and _pays(terms[0][1]):
                _merge(program, terms, stretch)
    return program


def _pays(product: Instruction) -> bool:
    """Whether a product writes more than it reads: its factors are copied and kept to the end."""
    a, b = product.args
    return product.out.size > a.size + b.size


def _stretches(program: Program) -> list[list[Instruction]]:
    """What is added to one gradient, from its beginning until somebody looks at it."""
    found: list[list[Instruction]] = []
    latest: dict[int, list[Instruction]] = {}
    for instruction in program.instructions:
        op = instruction.op
        if isinstance(op, Accumulate):
            stretch = latest.get(id(op.parameter))
            if stretch is None or op.beta == 0.0:
                stretch = latest[id(op.parameter)] = []
                found.append(stretch)
            stretch.append(instruction)
        elif instruction.has_effect:
            latest.clear()
    return found


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


def _merge(
    program: Program, terms: list[tuple[Instruction, Instruction]], stretch: list[Instruction]
) -> None:
    """Replace the sum by one product, where its last term stood."""
    last = terms[-1][0]
    pairs = [(_transposed(product.args[0]), product.args[1]) for _, product in terms]
    a = _joined([x for x, _ in pairs], last.line)
    b = _joined([y for _, y in pairs], last.line)
    turned = _new("transpose", [a.out], {"axes": (1, 0)}, a.out.shape[::-1], last.line)
    one = terms[0][1]
    product = _new("matmul", [turned.out, b.out], one.params, one.out.shape, last.line)
    product.out.dtype = one.out.dtype
    total = Instruction(last.op, [product.out], {}, [], last.line)
    at = program.instructions.index(last)
    program.instructions[at : at + 1] = [a, b, turned, product, total]
    dropped = {id(i) for pair in terms for i in pair}
    program.instructions = [i for i in program.instructions if id(i) not in dropped]
    first: Any = stretch[0].op
    stretch[stretch.index(last)] = total
    stretch[:] = [i for i in stretch if id(i) not in dropped]
    for i, instruction in enumerate(stretch):  # another one may be the first of them now
        instruction.op = Accumulate(first.parameter, 1.0 if i else first.beta)


def _joined(parts: list[Any], line: str) -> Instruction:
    rows = tuple(part.shape[0] for part in parts)
    shape = (sum(rows), parts[0].shape[1])
    params = {"axis": 0, "before": rows}
    return _new("concatenate", parts, params, shape, line)


def _new(name: str, args: list[Any], params: Any, shape: tuple[int, ...], line: str) -> Instruction:
    made = Instruction(PRIMITIVES[name], args, params, [], line)
    made.outs.append(Value(shape, args[0].dtype, "result", made))
    return made
