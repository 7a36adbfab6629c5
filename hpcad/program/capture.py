"""Capture: run a function once, and write down everything it does to arrays."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.guard import user_line
from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.state import STATE, Trace
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import backend_of
from hpcad.program.captured import Captured
from hpcad.program.expand import EXPANSIONS
from hpcad.program.instruction import Accumulate, Call, Instruction, Program, Value


class Capture(Trace):
    """The trace of a program, below all differentiation.

    ``with capture:`` is its extent. Every operation is computed as in an eager call, and recorded.

    Parameters
    ----------
    ahead : bool
        Leave out effects and write no gradients: the program will.

    Attributes
    ----------
    program : Program
    obstacle : str or None
        Why the call cannot be replayed: what depended on values, and where. The first one.
    irreversible : bool
        Whether something was done that a second, eager run of the function would do again.
    """

    __slots__ = ("_before", "_begun", "_kept", "_parameters", "_plain", "_written", "ahead",
                 "irreversible", "obstacle", "program")  # fmt: skip

    spent = False

    def __init__(self, ahead: bool = False) -> None:
        super().__init__(-1)
        self.ahead = ahead
        self._begun: set[int] = set()  # parameters whose gradient a capture ahead has begun
        self._written = False  # whether a capture ahead has left out what changes parameters
        self.program = Program([])
        self.obstacle: str | None = None
        self.irreversible = False
        self._kept: list[Any] = []
        self._parameters: dict[int, tuple[int, Captured]] = {}
        self._plain: dict[int, Captured] = {}
        self._before: Any = None

    # -- what comes in ------------------------------------------------------------------------

    def input(self, given: Any) -> Captured:
        """An argument: an array, a NumPy scalar or a constant tensor."""
        array = value_of(given)
        if isinstance(array, np.generic):
            array = np.asarray(array)
        value = Value(array.shape, array.dtype, "input", len(self.program.inputs))
        self.program.inputs.append(value)
        return Captured(array, self, value, plain=not isinstance(given, Tensor))

    def parameter(self, parameter: Parameter) -> Captured:
        """A parameter, with the values it has now."""
        if self._written:
            self.refuse("it goes on with parameters that it has changed")
        known = self._parameters.get(id(parameter))
        if known is None or known[0] != parameter.version:
            array = parameter.array
            value = Value(array.shape, array.dtype, "parameter", parameter)
            known = (parameter.version, Captured(array, self, value))
            self._parameters[id(parameter)] = known
        return known[1]

    def _array(self, array: Any) -> Captured:
        """An array from outside; it is decided later whether it is one of the user's."""
        known = self._plain.get(id(array))
        if known is None:
            value = Value(array.shape, array.dtype, "literal", array)
            known = self._plain[id(array)] = Captured(array, self, value, plain=True)
        return known

    def keep(self, tensor: Captured) -> None:
        """Remember a tensor, to see whether it outlives the call."""
        self._kept.append(weakref.ref(tensor))

    # -- what is done -------------------------------------------------------------------------

    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Compute an operation, and record it (or, of a composite one, its parts)."""
        symbols, arrays, plain = self._operands(args)
        expand = EXPANSIONS.get(primitive.name)
        if expand is not None:
            expanded = expand(*(value_of(arg) for arg in args), **params)
            if expanded is not NotImplemented:
                return expanded
        answer = primitive.evaluate(arrays, _contents(params))
        answers = tuple(answer) if primitive.outputs else (answer,)
        instruction = Instruction(primitive, symbols, _symbols(params), [], user_line())
        results = []
        for array in answers:
            value = Value(array.shape, array.dtype, "result", instruction)
            instruction.outs.append(value)
            results.append(Captured(array, self, value, plain))
        self.program.instructions.append(instruction)
        return tuple(results) if primitive.outputs else results[0]

    def concerns(self, args: Sequence[Any], params: Mapping[str, Any]) -> bool:
        """Whether an operation has anything to do with the program."""
        return any(isinstance(x, Captured) for x in args) or _holds(params)

    def _operands(self, args: Sequence[Any]) -> tuple[list[Any], list[Any], bool]:
        """The arguments as values of the program and as arrays; whether none is a tensor."""
        symbols, arrays, plain = [], [], True
        for given in args:
            arg = value_of(given)
            plain = plain and (arg.plain if isinstance(arg, Captured) else arg is given)
            if isinstance(arg, (list, tuple)):
                arg = np.asarray(arg)
            if hasattr(arg, "dtype") and not isinstance(arg, Tensor):
                arg = self._array(np.asarray(arg) if isinstance(arg, np.generic) else arg)
            captured = isinstance(arg, Captured)
            symbols.append(arg.symbol if captured else arg)
            arrays.append(arg.content if captured else arg)
        return symbols, arrays, plain

    def accumulate(self, parameter: Parameter, cotangent: Any) -> None:
        """Add to (or begin) the gradient of a parameter."""
        beta = 1.0 if parameter.fresh or id(parameter) in self._begun else 0.0
        (symbol,), (array,), _ = self._operands([cotangent])
        op = Accumulate(parameter, beta)
        self.program.instructions.append(Instruction(op, [symbol], {}, [], user_line()))
        if self.ahead:
            self._begun.add(id(parameter))
            if parameter.grad is None:
                parameter.grad = backend_of(array).xp.zeros_like(array)
            return
        if parameter.grad is None:
            parameter.grad = backend_of(array).xp.array(array)
        elif beta:
            parameter.grad += array
        else:
            parameter.grad[...] = array
        parameter.fresh = True

    def call(self, function: Any, args: tuple[Any, ...], answer: bool, writes: bool) -> Any:
        """Call a function for its effect, outside of the capture, and record the call."""
        result = None
        if not self.ahead or answer:
            self.irreversible = not self.ahead
            STATE.capture = None
            try:
                result = function(*args)
            finally:
                STATE.capture = self
        self._written = self._written or (writes and self.ahead)
        op = Call(function, args, writes)
        self.program.instructions.append(Instruction(op, [], {}, [], user_line()))
        return result

    # -- what cannot be replayed --------------------------------------------------------------

    def read(self, what: str) -> None:
        """Somebody looks at numbers: what they do then cannot be known."""
        self.refuse(f"{what} were read")

    def refuse(self, reason: str) -> None:
        """Note why the call cannot be replayed, and where."""
        if self.obstacle is None:
            self.obstacle = f"{reason} (at {user_line()})"

    def __enter__(self) -> Any:
        self._before = (STATE.capture, STATE.ambient)
        STATE.capture = self
        STATE.ambient = _nothing  # what is recorded outside is no part of the program
        return self

    def __exit__(self, *_: object) -> None:
        STATE.capture, STATE.ambient = self._before

    def is_over(self) -> bool:
        """Whether nobody holds a tensor of the call any more."""
        self._plain.clear()
        self._parameters.clear()
        if any(ref() is not None for ref in self._kept):
            gc.collect()
        return all(ref() is None for ref in self._kept)

    def release(self) -> None:
        """Make the tensors that are left ordinary constants."""
        for ref in self._kept:
            tensor = ref()
            if tensor is not None:
                tensor.release()
        self._kept.clear()


def _nothing() -> None:
    return None


def _contents(tree: Any) -> Any:
    """Parameters with arrays for captured tensors."""
    return _mapped(tree, lambda x: x.content)


def _symbols(tree: Any) -> Any:
    return _mapped(tree, lambda x: x.symbol)


def _holds(tree: Any) -> bool:
    if isinstance(tree, Mapping):
        return any(map(_holds, tree.values()))
    if type(tree) in (tuple, list):
        return any(map(_holds, tree))
    return isinstance(tree, Captured)


def _mapped(tree: Any, of: Any) -> Any:
    if isinstance(tree, Captured):
        return of(tree)
    if isinstance(tree, Mapping):
        return {key: _mapped(part, of) for key, part in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(_mapped(part, of) for part in tree)
    return tree
