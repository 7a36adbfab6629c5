"""Activations behind products, and their slopes behind the products of the backward pass.

``x = a b (+ bias)``, ``h = gelu(x)`` in the forward pass and ``dx = (g w) gelu'(x)`` in the
backward pass, or the same with ReLU. GELU is that with tanh, which is cuBLASLt's, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpcad.backend.cublaslt.layout import TYPES
from hpcad.primitives.elementwise import gelu, gelu_slope, relu
from hpcad.primitives.shapes import axes_of
from hpcad.program.improve.epilogue_choice import SEPARATE, Candidate
from hpcad.program.improve.excerpt import digest, excerpt
from hpcad.program.improve.expressions import argument, pattern, readers, reshaped
from hpcad.program.improve.order import changes_parameters
from hpcad.program.instruction import Instruction, Program, Value
from hpcad.program.kernels.table import TABLE
from hpcad.program.views import is_view

_EIGHT = 8  # columns of aux are a multiple of it


@dataclass
class Activation:
    """One activation with everything that can join its products.

    Attributes
    ----------
    kind : {"gelu", "relu"}
    product : Instruction
    add : Instruction or None
        Adds the bias.
    bias : Value or None
    applied : list of Instruction
        Which compute the activation: the first, and those that make it again later.
    back : Instruction or None
        Multiplies the product of the backward pass by the slope.
    back_product : Instruction or None
    total : Instruction or None
        The sum of ``dx`` over the rows, in the type of ``dx``.
    """

    kind: str
    product: Instruction
    add: Instruction | None
    bias: Value | None
    applied: list[Instruction]
    back: Instruction | None = None
    back_product: Instruction | None = None
    total: Instruction | None = None

    @property
    def argument(self) -> Value:
        """``x``."""
        return (self.add or self.product).out

    @property
    def forms(self) -> tuple[str, ...]:
        """What can be chosen among."""
        found = [SEPARATE]
        if self.kind == "relu" or self.argument.shape[1] % _EIGHT == 0:
            found.append("forward")
            if self.back is not None:
                found += ["backward"] if self.kind == "gelu" else []
                found += ["both"] if self.total is None else ["both", "both_bgrad"]
        return tuple(found)

    def candidate(self, program: Program) -> Candidate:
        """The activation, to be chosen for."""
        outputs = [self.applied[0].out]
        factors = list(self.product.args)
        if self.back is not None and self.back_product is not None:
            outputs.append(self.back.out)
            factors += self.back_product.args
        if self.total is not None:
            outputs.append(self.total.out)
        stops = [_before_views(x) for x in factors] + ([] if self.bias is None else [self.bias])
        sample = excerpt(program, outputs, stops)
        return Candidate(f"{self.kind} {self.argument!r} {digest(sample)}", self.forms, sample)


def find_activations(program: Program) -> list[Activation]:
    """All of a program."""
    users = program.consumers()
    returned = {out[0] for out in program.outputs if isinstance(out, tuple) and out}
    number = {id(instruction): i for i, instruction in enumerate(program.instructions)}
    changes = [i for i, each in enumerate(program.instructions) if changes_parameters(each)]

    def together(first: Instruction, last: Instruction) -> bool:
        """Whether the first could as well stand where the last does."""
        span = range(number[id(first)], number[id(last)])
        return not any(change in span for change in changes)

    applied: dict[tuple[str, Value], list[Instruction]] = {}
    for instruction in program.instructions:
        for kind, definition in (("gelu", gelu), ("relu", relu)):
            x = _argument(instruction, definition)
            if x is not None:
                applied.setdefault((kind, x), []).append(instruction)
    found = []
    for (kind, x), instructions in applied.items():
        made = _with_bias(kind, x, instructions, users, returned)
        if made is None or not together(made.product, made.add or made.product):
            continue
        if kind == "relu" and not _only(x, instructions, users, returned):
            continue  # the product would leave no x behind
        _find_back(made, users, returned, together)
        found.append(made)
    return found


def row_sum(instruction: Instruction) -> Value | None:
    """What an instruction sums over all axes but the last."""
    if instruction.name != "sum":
        return None
    (x, params) = instruction.args[0], instruction.params
    axes = axes_of(params["axis"], len(x.shape))
    rows = tuple(range(len(x.shape) - 1))
    return x if rows and sorted(axes) == list(rows) and not params["keepdims"] else None


def is_real_product(instruction: Instruction) -> bool:
    """Whether an instruction is a product of two matrices of a type that the library knows."""
    return instruction.name == "matmul" and all(
        isinstance(a, Value) and len(a.shape) == 2 and a.size and a.dtype.name in TYPES
        for a in instruction.args
    )


def _argument(instruction: Instruction, definition: Callable[[Any], Any]) -> Value | None:
    """``x``, where the instruction computes ``definition(x)``."""
    if instruction.name not in TABLE or len(instruction.outs) != 1:
        return None
    expression = pattern(definition)
    return argument(instruction.out, expression) if instruction.name == expression[0] else None


def _with_bias(
    kind: str, x: Value, applied: list[Instruction], users: Any, returned: set[Value]
) -> Activation | None:
    if x.origin != "result":
        return None
    made = x.source
    if _is_product(made):
        return Activation(kind, made, None, None, applied)
    if made.name != "add":
        return None
    for y, bias in (made.args, made.args[::-1]):
        if not (isinstance(y, Value) and isinstance(bias, Value)) or y.origin != "result":
            continue
        alone = users[y] == [made] and y not in returned
        fits = bias.shape == y.shape[-1:] and x.dtype == y.dtype == bias.dtype
        if _is_product(y.source) and alone and fits:
            return Activation(kind, y.source, made, bias, applied)
    return None


def _is_product(instruction: Instruction) -> bool:
    return is_real_product(instruction) and instruction.args[0].dtype == instruction.out.dtype


def _only(x: Value, applied: list[Instruction], users: Any, returned: set[Value]) -> bool:
    """Whether nothing but the activation reads ``x``."""
    known = {id(each) for each in applied}
    return x not in returned and all(id(user) in known for user in readers(x, users))


def _find_back(
    made: Activation, users: Any, returned: set[Value], together: Callable[..., bool]
) -> None:
    """Enter what of the backward pass can join its product, where that is one."""
    found = []
    for slope in _slopes(made, users):
        for user in readers(slope, users):
            product = _factor(user, slope, users, returned)
            if product is not None and together(product, user):
                found.append((user, product))
    if len(found) != 1:
        return
    (back, product), x = found[0], made.argument
    if product.out.shape != x.shape or not product.out.dtype == back.out.dtype == x.dtype:
        return
    made.back, made.back_product = back, product
    for user in readers(back.out, users):
        summed = row_sum(user)
        if summed is not None and reshaped(summed) is reshaped(back.out):
            made.total = user if user.out.dtype == x.dtype else None


def _slopes(made: Activation, users: Any) -> list[Value]:
    """The values that are the slope at ``x``."""
    if made.kind == "relu":
        positive = [user for each in made.applied for user in readers(each.out, users)]
        return [u.out for u in positive if u.name == "greater" and _is_zero(u.args[1])]
    expression, seen, found = pattern(gelu_slope), [made.argument], []
    known: set[Value] = set(seen)
    while seen:  # all elementwise values that x leads to
        for user in users.get(seen.pop(), []):
            if (user.name in TABLE or user.name == "reshape") and user.out not in known:
                known.add(user.out)
                seen.append(user.out)
                if argument(user.out, expression) is made.argument:
                    found.append(user.out)
    return found


def _factor(
    user: Instruction, slope: Value, users: Any, returned: set[Value]
) -> Instruction | None:
    """The product that an instruction multiplies by the slope and that nobody else reads."""
    if user.name != "multiply" or user.out.size != slope.size:
        return None
    for x, y in (user.args, user.args[::-1]):
        if not (isinstance(x, Value) and isinstance(y, Value)):
            continue
        if reshaped(y) is not reshaped(slope) or reshaped(x).origin != "result":
            continue
        product = reshaped(x)
        if not _is_product(product.source) or product.size != slope.size:
            continue
        if readers(product, users) == [user] and returned.isdisjoint(_shown(product, users)):
            return product.source
    return None


def _shown(value: Value, users: Any) -> set[Value]:
    """A value and its reshapes."""
    found = {value}
    for user in users.get(value, []):
        if user.name == "reshape":
            found |= _shown(user.out, users)
    return found


def _is_zero(x: Any) -> bool:
    return not isinstance(x, Value) and x == 0


def _before_views(x: Value) -> Value:
    while x.origin == "result" and is_view(x.source):
        x = x.source.args[0]
    return x
