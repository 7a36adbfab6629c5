"""Activations and gradients of biases become epilogues of products, where that was chosen."""

from __future__ import annotations

from typing import Any

from hpcad.autodiff.primitive import PRIMITIVES
from hpcad.program.improve.activation_products import (
    Activation,
    find_activations,
    is_real_product,
    row_sum,
)
from hpcad.program.improve.epilogue_choice import SEPARATE, Candidate, Epilogues
from hpcad.program.improve.epilogues import MATMUL_BIAS
from hpcad.program.improve.excerpt import digest
from hpcad.program.improve.expressions import reshaped
from hpcad.program.improve.fused_products import EPILOGUE_OF, FUSED, fresh, fused, mask_of
from hpcad.program.improve.simplify import drop_dead
from hpcad.program.instruction import Instruction, Program, Value

RESHAPE = PRIMITIVES["reshape"]


def fuse_epilogues(program: Program, epilogues: Epilogues) -> Program:
    """Build what can be fused in the forms that were chosen; the program is changed in place."""
    for found in find_activations(program):
        form = epilogues.form(found.candidate(program))
        if form != SEPARATE:
            _Rewriting(program, found, form).apply()
    drop_dead(program)
    _leave_out_unread(program)
    for product, total in _gradients(program):
        if epilogues.form(_gradient_candidate(product)) != SEPARATE:
            _fuse_gradient(program, product, total)
    return program


class _Rewriting:
    """One activation, in one form."""

    def __init__(self, program: Program, found: Activation, form: str) -> None:
        self.program, self.found, self.form = program, found, form
        self.gelu = found.kind == "gelu"
        self.mask: Value | None = None

    def apply(self) -> None:
        """Rewrite the program."""
        found = self.found
        if self.form == "backward":
            self._keep_argument()
        else:
            self._forward()
        if self.form != "forward" and found.back is not None and found.back_product is not None:
            self._backward(found.back, found.back_product)

    def _keep_argument(self) -> None:
        """The product with its bias, which the product of the backward pass reads."""
        found = self.found
        if found.add is None:
            return
        made = Instruction(
            MATMUL_BIAS, [*found.product.args, found.bias], found.product.params, [found.add.out],
            found.add.line,
        )  # fmt: skip
        found.add.out.source = made
        self._exchange(found.add, [made])
        self._drop(found.product)

    def _forward(self) -> None:
        found = self.found
        place, x = found.add or found.product, found.argument
        result = fresh(x)
        outs = [result]
        if self.gelu:
            outs.append(x)
        elif self.form != "forward":
            self.mask = mask_of(x)
            outs.append(self.mask)
        aux = "" if len(outs) == 1 else "_aux"
        bias = [] if found.bias is None else [found.bias]
        name = f"{found.kind}{aux}{'_bias' if bias else ''}"
        self._exchange(place, [fused(name, found.product, bias, outs, found.applied[0].line)])
        if place is not found.product:
            self._drop(found.product)
        # A GELU that is made again later needs x only, which then is there.
        for applied in found.applied[:1] if self.gelu else found.applied:
            self._show(applied, result)

    def _backward(self, back: Instruction, product: Instruction) -> None:
        result = fresh(product.out)
        beside: Any = self.found.argument if self.gelu else self.mask
        outs, total = [result], self.found.total
        bgrad = self.form == "both_bgrad" and total is not None
        if bgrad and total is not None:
            outs.append(total.out)
        name = f"d{self.found.kind}{'_bgrad' if bgrad else ''}"
        made = fused(name, product, [beside], outs, back.line)
        self._show(back, result)
        self._exchange(back, [made, back])
        self._drop(product)
        if bgrad and total is not None:
            self._drop(total)

    def _show(self, instruction: Instruction, result: Value) -> None:
        """Let an instruction only look at the result of a product."""
        instruction.op, instruction.args = RESHAPE, [result]
        instruction.params = {"shape": instruction.out.shape, "before": result.shape}

    def _exchange(self, old: Instruction, new: list[Instruction]) -> None:
        at = next(i for i, each in enumerate(self.program.instructions) if each is old)
        self.program.instructions[at : at + 1] = new

    def _drop(self, old: Instruction) -> None:
        _drop(self.program, old)


def _drop(program: Program, old: Instruction) -> None:
    program.instructions = [each for each in program.instructions if each is not old]


def _leave_out_unread(program: Program) -> None:
    """Of a GELU without a backward pass nobody reads ``aux``."""
    users = program.consumers()
    returned = {out[0] for out in program.outputs if isinstance(out, tuple) and out}
    for instruction in program.instructions:
        epilogue = EPILOGUE_OF.get(instruction.name, "")
        if "_aux" in epilogue:
            aux = instruction.outs[1]
            if aux not in returned and not users.get(aux):
                instruction.op = FUSED[epilogue.replace("_aux", "")]
                del instruction.outs[1]


# -- gradients of biases -------------------------------------------------------------------------


def _gradients(program: Program) -> list[tuple[Instruction, Instruction]]:
    """Gradients of weights, ``x^T y``, with the sums of ``y`` over its rows in their type."""
    sums: dict[Value, list[Instruction]] = {}
    for instruction in program.instructions:
        summed = row_sum(instruction)
        if summed is not None:
            sums.setdefault(_uncast(summed), []).append(instruction)
    found = []
    for product in program.instructions:
        if not is_real_product(product) or not _is_turned(product.args[0]):
            continue
        y = product.args[1]
        for total in sums.pop(reshaped(y), []):
            if total.out.shape == y.shape[1:] and total.out.dtype == product.out.dtype:
                found.append((product, total))
                break
    return found


def _is_turned(x: Value) -> bool:
    return x.origin == "result" and x.source.name == "transpose"


def _uncast(value: Value) -> Value:
    """What a value is a reshape or a wider copy of."""
    value = reshaped(value)
    while value.origin == "result" and value.source.name == "cast":
        before = value.source.args[0]
        if not isinstance(before, Value) or before.dtype.itemsize > value.dtype.itemsize:
            break
        value = reshaped(before)
    return value


def _gradient_candidate(product: Instruction) -> Candidate:
    """The two sums, written anew: the program may see ``x`` and ``y`` in many ways."""
    x = Value(product.args[0].shape[::-1], product.args[0].dtype, "input", 0)
    y = Value(product.args[1].shape, product.args[1].dtype, "input", 1)
    turned = _new("transpose", [x], {"axes": (1, 0)}, x.shape[::-1], x.dtype)
    both = _new("matmul", [turned.out, y], product.params, product.out.shape, product.out.dtype)
    made = [turned, both]
    if y.dtype != both.out.dtype:
        made.append(_new("cast", [y], {"dtype": both.out.dtype}, y.shape, both.out.dtype))
        y = made[-1].out
    params = {"axis": 0, "keepdims": False, "before": y.shape}
    total = _new("sum", [y], params, y.shape[1:], y.dtype)
    outputs = [(both.out, "array"), (total.out, "array")]
    sample = Program([x, made[1].args[1]], [*made, total], outputs)
    key = f"bgrad {product.out!r} of {product.args[1]!r} {digest(sample)}"
    return Candidate(key, (SEPARATE, "bgrad"), sample)


def _new(name: str, args: list[Any], params: Any, shape: Any, dtype: Any) -> Instruction:
    made = Instruction(PRIMITIVES[name], args, params, [], "")
    made.outs.append(Value(shape, dtype, "result", made))
    return made


def _fuse_gradient(program: Program, product: Instruction, total: Instruction) -> None:
    at = next(i for i, each in enumerate(program.instructions) if each is product)
    outs = [product.out, total.out]
    program.instructions[at] = fused("bgrad_b", product, [], outs, product.line)
    _drop(program, total)
