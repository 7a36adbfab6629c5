"""Forward mode: dual tensors that run beside the program, and the walk forwards over a tape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.state import Trace
from hpcad.autodiff.tape import _LEFT, NO_SLOT, Tape
from hpcad.autodiff.tensor import CONSTANT, Tensor
from hpcad.autodiff.transposed import derived_jvp
from hpcad.errors import DifferentiationError


class Dual(Tensor):
    """A tensor with its tangent: ``x + t epsilon`` with ``epsilon^2 = 0``.

    Attributes
    ----------
    tangent : array or Tensor
        Derivative along the direction of the transform; of the shape and dtype of the value.
    """

    __slots__ = ("tangent",)

    def __init__(self, value: Any, tangent: Any, trace: ForwardTrace) -> None:
        super().__init__(value, trace, NO_SLOT, trace.level)  # type: ignore[arg-type]
        self.tangent = tangent


class ForwardTrace(Trace):
    """Computes the tangent of each operation as it is run; records nothing."""

    __slots__ = ()
    spent = False

    def input(self, value: Any, tangent: Any) -> Dual:
        """Return a dual tensor that this trace follows from here on."""
        return Dual(value, tangent, self)

    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Evaluate ``primitive`` and its tangent one level below."""
        values, tangents, below = list(args), [], False
        for i, arg in enumerate(args):
            tangent = None
            if isinstance(arg, Tensor):
                if arg.trace is self:
                    tangent = arg.tangent  # type: ignore[attr-defined]  # ours are dual
                    arg = arg.value
                elif arg.level == self.level:
                    raise DifferentiationError(_LEFT)
                if isinstance(arg, Tensor):
                    if arg.level == CONSTANT:
                        arg = arg.value
                    else:
                        below = True
                values[i] = arg
            tangents.append(tangent)
        saved = None
        if below:
            answer = primitive(*values, **params)
        else:
            answer = primitive.compute(values, params)
            if primitive.saves:
                answer, saved = answer
        pushed = push(primitive, tangents, answer, saved, values, params)
        if self.observer is not None:
            self.observer.pushed(primitive, answer, pushed)
        if primitive.outputs:
            return tuple(
                self.input(a, t if t is not None else LINKS.zeros_like(a))
                for a, t in zip(answer, pushed, strict=True)
            )
        return self.input(answer, pushed)


def push(
    primitive: Primitive,
    tangents: Sequence[Any],
    answer: Any,
    saved: Any,
    args: Sequence[Any],
    params: Mapping[str, Any],
) -> Any:
    """Tangent of the answer, given the tangents of the arguments (None for constants)."""
    if primitive.joint_jvp is not None or primitive.jvp is None:
        joint = primitive.joint_jvp or derived_jvp(primitive)
        total = joint(tangents, answer, saved, *args, **params)
    elif primitive.jvp == "jointly linear":
        full = [
            LINKS.zeros_like(x) if t is None and x is not None else t
            for t, x in zip(tangents, args, strict=True)
        ]
        total = primitive(*full, **params)
    else:
        total = None
        for i, t in enumerate(tangents):
            if t is not None:
                total = _plus(total, _contribution(primitive, i, t, answer, args, params))
    if primitive.outputs:
        if total is None:
            return tuple(LINKS.zeros_like(a) for a in answer)
        return tuple(_fitted(t, a) for t, a in zip(total, answer, strict=True))
    return _fitted(total, answer)


def _contribution(
    primitive: Primitive, i: int, t: Any, answer: Any, args: Sequence[Any], params: Mapping
) -> Any:
    """What the tangent of argument ``i`` adds to that of the answer."""
    rule = primitive.jvp if isinstance(primitive.jvp, str) else primitive.jvp[i]  # type: ignore[index]
    if rule == "same":
        rule = primitive.vjp[i]  # type: ignore[index]  # "same" as what it has
    if rule == "linear":
        return primitive(*args[:i], t, *args[i + 1 :], **params)
    if rule is None:
        return None
    return rule(t, answer, *args, **params)  # type: ignore[operator]  # no word is left


def _plus(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, tuple):
        return tuple(_plus(x, y) for x, y in zip(a, b, strict=True))
    return LINKS.add(a, b)


def _fitted(tangent: Any, answer: Any) -> Any:
    """Broadcast and promote a tangent to the answer, as the operation did with the values."""
    if tangent is None:
        return LINKS.zeros_like(answer)
    if tangent.shape != answer.shape:
        tangent = LINKS.broadcast_to(tangent, answer.shape)
    if tangent.dtype != answer.dtype:
        tangent = LINKS.cast(tangent, answer.dtype)
    return tangent


class Push:
    """Tangents on their way forwards over a recorded tape; the tape is kept."""

    def __init__(self, tape: Tape, seeds: Mapping[int, Any]) -> None:
        self.tape = tape
        self.tangents = dict(seeds)

    def run(self) -> dict[int, Any]:
        """Walk the whole tape; returns the tangent of every slot that depends on the seeds."""
        tangents = self.tangents
        for primitive, out, ins, answer, args, saved, params in self.tape.records:
            inner = [tangents.get(slot) for slot in ins]
            if all(t is None for t in inner):
                continue
            total = push(primitive, inner, answer, saved, args, params)
            if self.tape.observer is not None:
                self.tape.observer.pushed(primitive, answer, total)
            if primitive.outputs:
                tangents.update(zip(out, total, strict=True))
            else:
                tangents[out] = total
        return tangents
