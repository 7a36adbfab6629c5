"""Improve a captured program without changing what it computes, to the bit.

One walk forwards: constant folding, common subexpressions, and identities that hold for every
IEEE number (``x * 1``, ``x - 0``, ``-(-x)``; not ``x + 0``, which turns -0 into 0). One walk
backwards: what no output or effect depends on is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import PRIMITIVES, Primitive
from hpcad.primitives.shapes import axes_of
from hpcad.program.instruction import Instruction, Program, Value, replaced, values_in

RESHAPE = PRIMITIVES["reshape"]
FOLDED_BYTES = 1 << 16  # larger results are not worth keeping
SHARED_BYTES = 1 << 22  # larger literals are not compared


def simplify(program: Program) -> Program:
    """Return the improved program; the values of the given one are used in it."""
    walk = _Forwards()
    for instruction in program.instructions:
        walk.take(instruction)
    outputs = [
        (walk.known.get(out[0], out[0]), out[1]) if _is_value(out) else out
        for out in program.outputs
    ]
    improved = replace(program, instructions=walk.instructions, outputs=outputs)
    drop_dead(improved)
    return improved


def _is_turned_parameter(arg: Any) -> bool:
    """Whether a value is the transpose of a parameter."""
    if not isinstance(arg, Value) or arg.origin != "result" or arg.source.name != "transpose":
        return False
    return isinstance(arg.source.args[0], Value) and arg.source.args[0].origin == "parameter"


def _is_value(out: Any) -> bool:
    return isinstance(out, tuple) and len(out) == 2 and isinstance(out[0], Value)


def drop_dead(program: Program) -> None:
    """Drop the instructions on which neither an output nor an effect depends."""
    needed = {out[0] for out in program.outputs if _is_value(out)}
    kept = []
    for instruction in reversed(program.instructions):
        if instruction.has_effect or not needed.isdisjoint(instruction.outs):
            needed.update(instruction.inputs())
            kept.append(instruction)
    program.instructions = kept[::-1]


class _Forwards:
    """The walk forwards.

    Attributes
    ----------
    known : dict of Value to Value
        Values that turned out to be others.
    """

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.known: dict[Value, Value] = {}
        self._seen: dict[Any, Instruction] = {}
        self._literals: dict[Any, Value] = {}

    def take(self, instruction: Instruction) -> None:
        args = [self._canonical(arg) for arg in instruction.args]
        params = replaced(instruction.params, self.known)
        op = instruction.op
        if not isinstance(op, Primitive):
            self.instructions.append(Instruction(op, args, params, [], instruction.line))
            return
        if op.ordered:
            instruction.args, instruction.params = args, params
            self.instructions.append(instruction)
            return
        if op.name in ("sum", "max", "min") and params["keepdims"] and instruction.out.shape:
            self._reduce(op, args, params, instruction)
            return
        if op.name == "cast" and _is_turned_parameter(args[0]):
            self._convert(op, args[0].source, params, instruction)
            return
        if op.name == "getitem" and _only_adds_axes(params["index"]):
            op, params = RESHAPE, {"shape": instruction.out.shape, "before": params["before"]}
        same = self._identity(op, args, params, instruction)
        if same is not None:
            self.known[instruction.out] = same
            return
        key = (op.name, tuple(map(_key, args)), _key(params))
        earlier = self._seen.get(key)
        if earlier is not None:
            self.known.update(zip(instruction.outs, earlier.outs, strict=True))
            return
        if self._folds(op, args, params, instruction):
            return
        instruction.op, instruction.args, instruction.params = op, args, params
        self._seen[key] = instruction
        self.instructions.append(instruction)

    def _reduce(self, op: Primitive, args: Any, params: Any, instruction: Instruction) -> None:
        """A reduction that keeps its axes, as one that does not, and a reshape."""
        out = instruction.out
        axes = axes_of(params["axis"], len(args[0].shape))
        shape = tuple(n for i, n in enumerate(out.shape) if i not in axes)
        first = Instruction(op, args, {**params, "keepdims": False}, [], instruction.line)
        first.outs.append(Value(shape, out.dtype, "result", first))
        self.take(first)
        before = {"shape": out.shape, "before": shape}
        instruction.op, instruction.args, instruction.params = RESHAPE, [first.out], before
        self.take(instruction)

    def _convert(self, op: Primitive, turned: Any, params: Any, instruction: Instruction) -> None:
        """A weight that is transposed and converted, in the other order: both as it lies."""
        weight, dtype = turned.args[0], instruction.out.dtype
        first = Instruction(op, [weight], params, [], instruction.line)
        first.outs.append(Value(weight.shape, dtype, "result", first))
        self.take(first)
        instruction.op, instruction.args, instruction.params = turned.op, [first.out], turned.params
        self.take(instruction)

    def _canonical(self, arg: Any) -> Any:
        if not isinstance(arg, Value):
            return arg
        arg = self.known.get(arg, arg)
        array = arg.source
        if arg.origin == "literal" and arg.nbytes <= SHARED_BYTES and type(array) is np.ndarray:
            key = (array.shape, array.dtype, array.tobytes())
            arg = self._literals.setdefault(key, arg)
        return arg

    def _folds(self, op: Primitive, args: Any, params: Any, instruction: Instruction) -> bool:
        """Compute what depends on literals only."""
        if not all(not isinstance(a, Value) or a.origin == "literal" for a in args):
            return False
        if op.name == "broadcast_to":  # it costs nothing, and its result would
            return False
        if _mentions_values(params) or sum(out.nbytes for out in instruction.outs) > FOLDED_BYTES:
            return False
        if not any(isinstance(a, Value) for a in args):
            return False
        arrays = [a.source if isinstance(a, Value) else a for a in args]
        if not all(isinstance(a, np.ndarray) or np.isscalar(a) or a is None for a in arrays):
            return False
        with np.errstate(all="ignore"):
            answer = op.evaluate(arrays, params)
        for out, array in zip(instruction.outs, answer if op.outputs else (answer,), strict=True):
            literal = Value(out.shape, out.dtype, "literal", np.asarray(array))
            self.known[out] = self._canonical(literal)
        return True

    def _identity(self, op: Primitive, args: Any, params: Any, instruction: Instruction) -> Any:
        """The argument that the answer is equal to, or None."""
        rule = IDENTITIES.get(op.name)
        if rule is None:
            return None
        same = rule(args, params, instruction.out)
        if not isinstance(same, Value):
            return None
        out = instruction.out
        return same if same.shape == out.shape and same.dtype == out.dtype else None


# -- identities -----------------------------------------------------------------------------------


def _number(x: Any) -> Any:
    """The number that a scalar or a literal without axes is."""
    if isinstance(x, Value):
        if x.origin == "literal" and x.size == 1 and isinstance(x.source, np.ndarray):
            return x.source.reshape(())[()]
        return None
    return x


def _is(x: Any, number: float) -> bool:
    found = _number(x)
    if isinstance(found, (bool, np.bool_)) or found is None:
        return False
    return bool(found == number) and not (number == 0 and np.signbit(found))


def _result_of(x: Any, name: str) -> Instruction | None:
    if isinstance(x, Value) and x.origin == "result" and x.source.name == name:
        return x.source
    return None


def _times(args: Any, _params: Any, _out: Value) -> Any:
    x, y = args
    if _is(y, 1):
        return x
    return y if _is(x, 1) else None


def _over(args: Any, _params: Any, _out: Value) -> Any:
    return args[0] if _is(args[1], 1) else None


def _minus(args: Any, _params: Any, _out: Value) -> Any:
    return args[0] if _is(args[1], 0) else None


def _twice(name: str) -> Callable[..., Any]:
    def rule(args: Any, _params: Any, _out: Value) -> Any:
        inner = _result_of(args[0], name)
        return inner.args[0] if inner is not None else None

    return rule


def _first(args: Any, _params: Any, _out: Value) -> Any:
    return args[0]


def _transposed(args: Any, params: Mapping[str, Any], _out: Value) -> Any:
    axes = params["axes"]
    if tuple(axes) == tuple(range(len(axes))):
        return args[0]
    inner = _result_of(args[0], "transpose")
    if inner is not None and all(inner.params["axes"][a] == i for i, a in enumerate(axes)):
        return inner.args[0]
    return None


def _reshaped(args: Any, _params: Any, out: Value) -> Any:
    source = args[0]
    while (inner := _result_of(source, "reshape")) is not None:
        source = inner.args[0]
        if isinstance(source, Value) and source.shape == out.shape:
            return source
    return args[0]


# The shape and dtype of the answer must be those of the argument: this is looked at afterwards.
IDENTITIES: dict[str, Callable[..., Any]] = {
    "multiply": _times,
    "divide": _over,
    "subtract": _minus,
    "negative": _twice("negative"),
    "positive": _first,
    "cast": _first,
    "cast_to_discrete": _first,
    "broadcast_to": _first,
    "reshape": _reshaped,
    "transpose": _transposed,
    "conj": lambda args, _params, out: args[0] if out.dtype.kind != "c" else None,
    "real": lambda args, _params, out: args[0] if out.dtype.kind != "c" else None,
}


# -- keys -----------------------------------------------------------------------------------------


def _key(x: Any) -> Any:
    """What two operands have in common when they are the same; numbers by type and bits."""
    if isinstance(x, Value):
        return id(x)
    if isinstance(x, Mapping):
        return tuple((name, _key(part)) for name, part in x.items())
    if isinstance(x, (tuple, list)):
        return (type(x).__name__, tuple(map(_key, x)))
    if isinstance(x, np.ndarray):
        return (x.shape, x.dtype.str, x.tobytes() if x.nbytes <= SHARED_BYTES else id(x))
    if isinstance(x, slice):
        return ("slice", x.start, x.stop, x.step)
    if isinstance(x, (float, complex)):
        return (type(x).__name__, repr(x))
    try:
        hash(x)
    except TypeError:
        return id(x)
    return (type(x).__name__, x)


def _only_adds_axes(index: Any) -> bool:
    return all(part is None or part is ... or _is_whole(part) for part in index)


def _is_whole(part: Any) -> bool:
    return isinstance(part, slice) and part == slice(None)


def _mentions_values(params: Any) -> bool:
    return next(values_in(params), None) is not None
