"""What a captured call does to gradients and parameters, and functions called for their effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcad.autodiff.guard import user_line
from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.state import STATE, Trace
from hpcad.autodiff.tensor import peek
from hpcad.backend import backend_of
from hpcad.program.instruction import Accumulate, Call, Instruction, Program


class Effects(Trace):
    """The part of a :class:`~hpcad.program.capture.capture.Capture` that records effects.

    Parameters
    ----------
    ahead : bool
        Leave out effects and write no gradients: the program will.

    Attributes
    ----------
    program : Program
    irreversible : bool
        Whether something was done that a second, eager run of the function would do again.
    """

    __slots__ = ("_begun", "_gradients", "_written", "ahead", "irreversible", "program")

    def __init__(self, ahead: bool) -> None:
        super().__init__(-1)
        self.program = Program([])
        self.ahead = ahead
        self.irreversible = False
        self._begun: dict[int, bool] = {}  # parameters whose gradient is fresh in a capture ahead
        self._gradients: dict[int, Any] = {}  # that were fresh before
        self._written = False  # whether a capture ahead has left out what changes parameters

    def _taken(self, args: Sequence[Any]) -> tuple[list[Any], bool]:
        raise TypeError(f"{type(self).__name__} takes no arguments")

    def refuse(self, reason: str, line: str | None = None) -> None:
        raise TypeError(f"{type(self).__name__} cannot refuse: {reason} (at {line})")

    def accumulate(self, parameter: Parameter, cotangent: Any) -> None:
        """Add to (or begin) the gradient of a parameter."""
        fresh = self._begun.get(id(parameter), parameter.fresh) if self.ahead else parameter.fresh
        (tensor,), _ = self._taken([cotangent])
        array = tensor.content
        op = Accumulate(parameter, 1.0 if fresh else 0.0)
        self.program.instructions.append(Instruction(op, [tensor.symbol], {}, [], user_line()))
        self._meet(parameter)
        self._begun[id(parameter)] = True
        if not self.ahead:
            parameter.add(array)
        elif parameter.gradient is None:
            parameter.gradient = backend_of(array).xp.zeros_like(array)

    def clear(self, parameter: Parameter) -> None:
        """Set the gradient of a parameter to zero, and record that."""
        self._meet(parameter)
        self._begun[id(parameter)] = False
        irreversible = self.irreversible
        self.call(parameter.clear_grad, (), answer=False, writes=False)
        self.irreversible = irreversible  # see undo()

    def _meet(self, parameter: Parameter) -> None:
        """Note how the gradient of a parameter was found."""
        if id(parameter) not in self.program.found:
            self.program.found[id(parameter)] = (parameter, parameter.fresh)
            if not self.ahead and parameter.fresh and parameter.gradient is not None:
                self._gradients[id(parameter)] = parameter.gradient.copy()

    def undo(self) -> None:
        """Let gradients be what they were before the call."""
        if self.ahead:
            return
        for parameter, fresh in self.program.found.values():
            if fresh and parameter.gradient is not None:  # others are begun anew
                parameter.gradient[...] = self._gradients[id(parameter)]
            parameter.fresh = fresh

    def assigned(self, parameter: Parameter, value: Any) -> Any:
        """The numbers to assign to a parameter, which no program does."""
        self.refuse(f"parameter {parameter.name!r} was assigned to")
        if self.ahead:
            return parameter.array
        self.irreversible = True
        return peek(value)

    def call(self, function: Any, args: tuple[Any, ...], answer: bool, writes: bool) -> Any:
        """Call a function for its effect, outside of the capture, and record the call."""
        result = None
        for arena in getattr(getattr(function, "__self__", None), "arenas", ()):
            for parameter in arena.parameters:
                self._meet(parameter)
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
