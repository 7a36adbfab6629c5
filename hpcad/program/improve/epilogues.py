"""Biases that a product adds itself, in its epilogue.

Where the sum is read by elementwise operations, their kernel adds the bias for nothing. But what
goes to an attention kernel or another product as it is would be read and written once more.
"""

from __future__ import annotations

from typing import Any

from hpcad.autodiff.primitive import Primitive
from hpcad.primitives.product import matmul
from hpcad.program.improve.order import changes_parameters
from hpcad.program.instruction import Instruction, Program, Value
from hpcad.program.views import is_view

MATMUL_BIAS = Primitive(
    "matmul_bias", lambda a, b, bias: matmul(a, b) + bias, None, constant=True, register=False
)
READERS = ("matmul", "tiled_attention", "tiled_attention_back")


def add_biases(program: Program) -> Program:
    """Turn a product and the sum of it with a bias into one; the program is changed in place."""
    users = program.consumers()
    returned = {out[0] for out in program.outputs if isinstance(out, tuple) and out}
    kept: list[Instruction] = []
    fresh: set[int] = set()  # what was made since parameters have changed
    for instruction in program.instructions:
        fresh.add(id(instruction))
        if changes_parameters(instruction):
            fresh.clear()
        chain, bias = _biased(instruction, users, returned)
        if chain and id(chain[0]) in fresh:
            dropped = {id(each) for each in chain}
            kept = [each for each in kept if id(each) not in dropped]
            kept += _joined(chain, bias, instruction)
        else:
            kept.append(instruction)
    program.instructions = kept
    return program


def _biased(add: Instruction, users: Any, returned: set[Value]) -> tuple[list[Instruction], Any]:
    """The product that a sum adds a bias to, with the reshapes behind it; and the bias."""
    if add.name != "add" or not _read_as_it_is(add.out, users, returned):
        return [], None
    for x, bias in (add.args, add.args[::-1]):
        if not (isinstance(x, Value) and isinstance(bias, Value)):
            continue
        chain = _product(x, add, users, returned)
        if chain and _is_bias(bias, chain[0].out) and add.out.dtype == x.dtype:
            return chain, bias
    return [], None


def _is_bias(bias: Value, product: Value) -> bool:
    return bias.shape == product.shape[-1:] and bias.dtype == product.dtype


def _product(x: Value, reader: Instruction, users: Any, returned: set[Value]) -> list[Instruction]:
    """The product that a value is, and reshapes of all but its columns; nobody else reads them."""
    if x.origin != "result" or x in returned or users[x] != [reader]:
        return []
    made = x.source
    if made.name == "matmul":
        return [made] if len(x.shape) == 2 else []
    if made.name != "reshape" or made.args[0].shape[-1:] != x.shape[-1:]:
        return []
    before = _product(made.args[0], made, users, returned)
    return [*before, made] if before else []


def _read_as_it_is(value: Value, users: Any, returned: set[Value]) -> bool:
    """Whether no elementwise operation reads a value, or a view of it."""
    if value in returned:
        return False
    for user in users.get(value, []):
        if is_view(user):
            if not _read_as_it_is(user.out, users, returned):
                return False
        elif user.name not in READERS:
            return False
    return True


def _joined(chain: list[Instruction], bias: Value, add: Instruction) -> list[Instruction]:
    """The product with its bias, and the one reshape that leads to what the sum was."""
    product = chain[0]
    made = Instruction(MATMUL_BIAS, [*product.args, bias], {}, [], add.line)
    if len(chain) == 1:
        made.outs = [add.out]
        add.out.source = made
        return [made]
    made.outs = [Value(product.out.shape, product.out.dtype, "result", made)]
    shown = Instruction(chain[-1].op, [made.out], {"shape": add.out.shape}, [add.out], add.line)
    add.out.source = shown
    return [made, shown]
