"""Steps: tasks with everything in place, each a call without arguments and a line of source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import flops
from hpcad.backend.gemm import Gemm, bind, describe
from hpcad.program.instruction import Accumulate, Call, Instruction, Value


@dataclass
class Step:
    """One line of an executable program.

    Attributes
    ----------
    name : str
        Of the operation.
    call : callable
        Without arguments.
    text : str
        The line of source that makes the call.
    about : str
        Shapes, for the comment.
    line : str
        ``file:line`` of the user.
    flops : int
        Floating-point operations of products.
    nbytes : int
        Bytes read and written, each operand counted once.
    gemm : Gemm or None
    """

    name: str
    call: Callable[[], Any]
    text: str
    about: str
    line: str
    flops: int = 0
    nbytes: int = 0
    gemm: Gemm | None = None
    uses: list[Value] = field(default_factory=list)


def product(
    instruction: Instruction, arrays: Any, beta: float, native: bool, tune: bool
) -> tuple[Callable[[], Any], Gemm | None]:
    """``c = a b + beta c``."""
    a, b = (arrays(v) for v in instruction.args)
    c = arrays(instruction.out)
    found = describe(a, b, c, beta=beta) if native else None
    if found is not None:
        spec, *places = found
        call = bind(spec, *places, tune=tune)
        return _counted(call, spec), spec
    if beta:
        def call() -> None:
            np.add(c, np.matmul(a, b), out=c)
    else:
        def call() -> None:
            np.matmul(a, b, out=c)
    return call, None


def _counted(call: Callable[[], Any], spec: Gemm) -> Callable[[], Any]:
    return call


def plain(instruction: Instruction, arrays: Any) -> Callable[[], Any]:
    """Any operation by NumPy, its answers copied to their places."""
    op = instruction.op
    args = [arrays(a) if isinstance(a, Value) else a for a in instruction.args]
    params = with_arrays(instruction.params, arrays)
    outs = [arrays(out) for out in instruction.outs]
    if isinstance(op, Primitive) and isinstance(op.value, np.ufunc) and not params:
        value, (out,) = op.value, outs
        if len(args) == 1:
            (x,) = args
            return lambda: value(x, out=out)
        if len(args) == 2:
            x, y = args
            return lambda: value(x, y, out=out)
    if instruction.name == "sum":
        (x,), (out,) = args, outs
        axis, keepdims = params["axis"], params["keepdims"]
        return lambda: np.sum(x, axis=axis, keepdims=keepdims, out=out)
    if op.outputs:  # type: ignore[union-attr]

        def several() -> None:
            for out, answer in zip(outs, op.evaluate(args, params), strict=True):  # type: ignore[union-attr]
                out[...] = answer

        return several
    (out,) = outs

    def one() -> None:
        out[...] = op.evaluate(args, params)  # type: ignore[union-attr]

    return one


def with_arrays(tree: Any, arrays: Any) -> Any:
    """Parameters with arrays in the place of values."""
    if isinstance(tree, Value):
        return arrays(tree)
    if isinstance(tree, Mapping):
        return {key: with_arrays(part, arrays) for key, part in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(with_arrays(part, arrays) for part in tree)
    return tree


def check(instruction: Instruction, arrays: Any) -> Callable[[], Any]:
    """An operation that only looks at its argument, and raises an error."""
    op, (x,), params = instruction.op, [arrays(a) for a in instruction.args], instruction.params
    return lambda: op.evaluate([x], params)  # type: ignore[union-attr]


def accumulation(instruction: Instruction, arrays: Any) -> Callable[[], Any]:
    """Add to a gradient, or begin it."""
    op = instruction.op
    (value,) = instruction.args
    array = arrays(value) if isinstance(value, Value) else value
    grad = op.parameter.grad  # type: ignore[union-attr]
    if op.beta:  # type: ignore[union-attr]
        return lambda: np.add(grad, array, out=grad)
    return lambda: np.copyto(grad, array)


def marking(parameters: list[Any]) -> Callable[[], Any]:
    """Say that gradients are there."""

    def mark() -> None:
        for parameter in parameters:
            parameter.fresh = True

    return mark


def effect(instruction: Instruction) -> Callable[[], Any]:
    """A call for its effect."""
    op = instruction.op
    function, args = op.function, op.args  # type: ignore[union-attr]
    return lambda: function(*args)


def count_products(steps: list[Step]) -> None:
    """Tell who listens how many operations the products of a run make."""
    if flops.counting():
        for step in steps:
            if step.gemm is not None:
                step.gemm.count()


def about(values: Iterator[Value] | list[Value]) -> str:
    return ", ".join(f"{v!r}" for v in values)


OPERATIONS = (Accumulate, Call)
