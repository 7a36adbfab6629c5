"""A tape that keeps everything, to be looked at."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hpcad.autodiff.guard import unguarded
from hpcad.autodiff.keep import EVERYTHING
from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.pytree import flatten, paths
from hpcad.autodiff.seeing.source import Line, here
from hpcad.autodiff.state import STATE, Trace
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import AMBIENT, Tensor
from hpcad.autodiff.transforms.primals import as_primal
from hpcad.backend.flops import counted_flops


class Note(NamedTuple):
    """What is known of a record beside the record itself."""

    line: Line
    gemm_flops: int
    answers: tuple[Any, ...]


class NotedTape(Tape):
    """Also follows parameters, and notes the line and the GEMM operations of each record.

    Attributes
    ----------
    notes : list of Note
        One per record.
    parameters : list of (Parameter, Tensor)
        And what follows them here, in order of first use.
    """

    __slots__ = ("notes", "parameters")

    def __init__(self) -> None:
        super().__init__(purpose=EVERYTHING)
        self.notes: list[Note] = []
        self.parameters: list[tuple[Parameter, Tensor]] = []

    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        own = [self._follow(arg) if isinstance(arg, Parameter) else arg for arg in args]
        with counted_flops() as count:
            result = super().process(primitive, own, params)
        answers = tuple(r.value for r in (result if primitive.outputs else (result,)))
        self.notes.append(Note(here(), count.total, answers))
        return result

    process_leading = Trace.process_leading  # no short way: all are noted

    def _follow(self, parameter: Parameter) -> Tensor:
        if parameter.level != AMBIENT:  # frozen
            return parameter
        for known, tensor in self.parameters:
            if known is parameter:
                return tensor
        self.parameters.append((parameter, self.input(parameter.value)))
        return self.parameters[-1][1]


@dataclass(frozen=True)
class Recorded:
    """A run of a function, with all that was computed.

    Attributes
    ----------
    tape : NotedTape
    inputs : list of (name, Tensor)
        The leaves of the arguments that hold floating-point or complex numbers.
    outputs : list of (name, value)
        The leaves of the result: a tensor of the tape, or something that does not depend on it.
    """

    tape: NotedTape
    inputs: list[tuple[str, Tensor]]
    outputs: list[tuple[str, Any]]


def record(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Recorded:
    """Run ``function`` on a tape of its own; parameters record there, too."""
    flat, structure = flatten(tuple(args))
    roots = zip(structure.children, _names(function, args), strict=True)
    names = [path for child, name in roots for path in paths(child, name)]
    inputs: list[tuple[str, Tensor]] = []
    ambient, recording = STATE.ambient, STATE.recording
    try:
        with unguarded(), NotedTape() as tape:
            for i, x in enumerate(flat):
                if _differentiable(x):
                    flat[i] = tape.input(as_primal(x))
                    inputs.append((names[i], flat[i]))
            # What is computed from parameters alone lands here as well.
            STATE.ambient, STATE.recording = (lambda: tape), True
            answer = function(*structure.build(flat), **kwargs)
    finally:
        STATE.ambient, STATE.recording = ambient, recording
    results, out = flatten(answer)
    return Recorded(tape, inputs, list(zip(paths(out, "y"), results, strict=True)))


def _differentiable(x: Any) -> bool:
    if isinstance(x, int | float | complex):
        return not isinstance(x, bool)
    return getattr(getattr(x, "dtype", None), "kind", None) in {"f", "c"}


def _names(function: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """The names of the positional arguments in the function's signature."""
    names: list[str] = []
    try:
        for p in inspect.signature(function).parameters.values():
            if p.kind is p.VAR_POSITIONAL:
                names += [f"{p.name}[{i}]" for i in range(len(args) - len(names))]
            elif p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}:
                names.append(p.name)
    except (TypeError, ValueError):  # some built-in callables have no signature
        names = []
    names += [f"x{i + 1}" for i in range(len(names), len(args))]
    return names[: len(args)]
