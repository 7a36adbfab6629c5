"""Forward mode: dual tensors that run beside the program, and the walk forwards over a tape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.guard import operand
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.state import STATE, Trace, captures
from hpcad.autodiff.tape import _LEFT, NO_SLOT, Tape, as_tuple
from hpcad.autodiff.tensor import CONSTANT, Tensor, value_of
from hpcad.autodiff.transposed import derived_jvp
from hpcad.backend import backend_of
from hpcad.errors import DifferentiationError


class Dual(Tensor):
    """A tensor with its tangent: ``x + t epsilon`` with ``epsilon^2 = 0``.

    Attributes
    ----------
    tangent : array or Tensor
        Derivative along the direction of the transform; of the shape and dtype of the value.
    """

    __slots__ = ()  # a tensor has the place for it: assignment can make any tensor a dual one

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
                if arg.follower is self:
                    tangent = arg.tangent  # ours are dual
                    arg = arg.value
                elif arg.level == self.level:
                    raise DifferentiationError(_LEFT)
                if isinstance(arg, Tensor) and arg.level == CONSTANT:
                    arg = arg.value
                if isinstance(arg, Tensor):
                    below = True
                values[i] = arg
            elif type(arg) is not np.ndarray and isinstance(arg, np.ndarray | list | tuple):
                values[i] = operand(arg)
            tangents.append(tangent)
        saved = None
        if below or (params and captures(params)):
            answer = primitive(*values, **params)
        else:
            answer = primitive.compute(values, params)
            if primitive.saves:
                answer, saved = answer
        call = primitive, tangents, answer, saved, values, params
        if primitive.apart:
            pushed = self._apart(*call)
        elif self.observer is None:
            pushed = push(*call)
        else:
            pushed = self.observer.push(push, *call)
        if primitive.outputs:
            return tuple(
                self.input(a, t if t is not None else LINKS.zeros_like(a))
                for a, t in zip(answer, pushed, strict=True)
            )
        return self.input(answer, pushed)

    def _apart(self, *call: Any) -> Any:
        """:func:`push`, while this trace and those above follow nothing that is done for it."""
        before, STATE.working = STATE.working, (self.level, len(STATE.traces))
        try:
            return push(*call) if self.observer is None else self.observer.push(push, *call)
        finally:
            STATE.working = before


def push(
    primitive: Primitive,
    tangents: Sequence[Any],
    answer: Any,
    saved: Any,
    args: Sequence[Any],
    params: Mapping[str, Any],
) -> Any:
    """Tangent of the answer, given the tangents of the arguments (None for constants).

    Where a tape has not kept the answer, the caller fits the tangent to it.
    """
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
    if answer is None:
        return total
    if primitive.outputs:
        if total is None:
            return tuple(LINKS.zeros_like(a) for a in answer)
        return tuple(_like(t, a) for t, a in zip(total, answer, strict=True))
    return _like(total, answer)


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


def _fitted(tangent: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Broadcast and promote a tangent to the answer, as the operation did with the values."""
    if tangent.shape != shape:
        tangent = LINKS.broadcast_to(tangent, shape)
    if tangent.dtype != dtype:
        tangent = LINKS.cast(tangent, dtype)
    return tangent


def _like(tangent: Any, answer: Any) -> Any:
    if tangent is None:
        return LINKS.zeros_like(answer)
    return _fitted(tangent, answer.shape, answer.dtype)


class Push:
    """Tangents on their way forwards over a recorded tape; the tape is kept."""

    def __init__(self, tape: Tape, seeds: Mapping[int, Any]) -> None:
        self.tape = tape
        self.tangents = dict(seeds)

    def run(self) -> dict[int, Any]:
        """Walk the whole tape; returns the tangent of every slot that depends on the seeds."""
        tangents, avals = self.tangents, self.tape.avals
        observer = self.tape.observer or STATE.observer
        for record in self.tape.records:
            primitive, out, ins, answer, args, saved, params = record
            inner = self._tangents(primitive, ins)
            if inner is None:
                continue
            call = primitive, inner, answer, saved, args, params
            if observer is None:
                total = push(*call)
            else:
                total = observer.push(push, *call, self.tape, record)
            if total is None:
                continue
            for slot, t in zip(
                as_tuple(out), total if primitive.outputs else (total,), strict=True
            ):
                if t is not None:
                    tangents[slot] = t if answer is not None else _fitted(t, *avals[slot])
        return tangents

    def _tangents(self, primitive: Primitive, ins: Sequence[int]) -> list[Any] | None:
        """Of the arguments in the given slots; None if all are zero."""
        inner = [self.tangents.get(slot) for slot in ins]
        one = next((t for t in inner if t is not None), None)
        if one is None and primitive.ordered:  # other ranks may have one, and wait for this rank
            like = value_of(next(iter(self.tangents.values()), None))
            tracked = [slot for slot in ins if slot != NO_SLOT]
            zeros = {s: backend_of(like).zeros(*self.tape.avals[s]) for s in tracked}
            return [zeros.get(slot) for slot in ins]
        if one is not None and primitive.jvp == "jointly linear":
            xp = backend_of(value_of(one)).xp
            inner = [
                xp.zeros(*self.tape.avals[slot]) if t is None and slot != NO_SLOT else t
                for t, slot in zip(inner, ins, strict=True)
            ]
        return None if one is None else inner
