"""Where the first NaN or infinity came from: the observer behind :func:`~hpcad.anomaly`.

While it is on, every value, tangent and cotangent that differentiation computes is
looked at when it is made. An operation is the maker of a NaN if none of its arguments held one,
and the maker of an infinity if all of its arguments were finite. Records are remembered with their
line, so that a cotangent is blamed on the line that ran forwards.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from hpcad.autodiff.seeing.finite import FINITE, State, describe, state_of
from hpcad.autodiff.seeing.source import Line, here
from hpcad.autodiff.tape import NO_SLOT, Record, Tape
from hpcad.errors import NonFiniteError

if TYPE_CHECKING:
    from hpcad.autodiff.primitive import Primitive
    from hpcad.autodiff.reverse import Pull


_BEFORE = Line("a line that ran before anomaly() was entered", 0)
_PASS = {
    "value": " of the forward pass",
    "tangent": " of the tangents (forward mode)",
    "cotangent": " of the cotangents (reverse mode)",
}


class Origin(NamedTuple):
    """What is remembered of a record: its line, and its arguments (which it may not keep)."""

    line: Line
    given: State
    described: list[str]

    @classmethod
    def of(cls, args: Sequence[Any], line: Line) -> Origin:
        return cls(line, state_of(args), list(map(describe, args)))


class Call(NamedTuple):
    """An operation with its arguments (or what was remembered of them), and its line."""

    primitive: Primitive
    args: Sequence[Any]
    params: Mapping[str, Any]
    origin: Origin


@dataclass
class Step:
    """A rule that is running, and on whose behalf.

    Attributes
    ----------
    kind : str
        ``"tangent"`` or ``"cotangent"``.
    given : State
        Of the arguments of the operation and of the seeds.
    seeds : sequence of arrays
        The tangents or cotangents that the rule was given.
    dirty : bool
        The rule handed back something that is not finite and was not made there.
    """

    kind: str
    primitive: Primitive
    origin: Origin
    given: State
    seeds: Sequence[Any]
    dirty: bool = False


class Watcher:
    """Looks at everything that the traces tell it."""

    def __init__(self, infinities: bool, values: bool) -> None:
        self._infinities = infinities
        self._values = values
        # By tape, then by (first) output slot.
        self._origins: weakref.WeakKeyDictionary[Any, dict[int, Origin]]
        self._origins = weakref.WeakKeyDictionary()
        self._steps: list[Step] = []
        self._warned = False

    # -- what the traces call -------------------------------------------------------------

    def recorded(self, tape: Tape, record: Record, args: Sequence[Any], answer: Any) -> None:
        """An operation was recorded; ``args`` are its arguments as they were given."""
        outer = self._steps[-1] if self._steps else None
        origin = Origin.of(args, outer.origin.line if outer else here())
        self._origins.setdefault(tape, {})[_first(record[1])] = origin
        self._look_at_value(Call(record[0], args, record[6], origin), answer, outer)

    def walking(self, pull: Pull, records: Iterable[Record]) -> Iterator[Record]:
        """Follow a walk backwards, record by record."""
        for record in records:
            primitive, out, ins, _, args, _, params = record
            slots = out if isinstance(out, tuple) else (out,)
            origin = self._origin(pull.tape, record)
            gs = [pull.cotangents.get(slot) for slot in slots]
            before = state_of([*gs, *(_total(pull, slot) for slot in ins)])
            step = Step("cotangent", primitive, origin, origin.given | state_of(gs), gs)
            with self._running(step):
                yield record
            if step.dirty or not before.finite:
                continue
            call = Call(primitive, args, params, origin)
            for slot in ins:
                total = _total(pull, slot)
                if self._made_here(state_of([total]), FINITE):
                    what = "the sum of the cotangents of several uses"
                    self._raise("cotangent", call, what, total, gs)

    def pulled(self, tape: Tape, record: Record, slot: int, part: Any) -> None:
        """A rule has handed back the cotangent of the argument in ``slot``."""
        found, step = state_of([part]), self._steps[-1]
        if self._made_here(found, step.given):
            numbers = [str(i) for i, s in enumerate(record[2]) if s == slot]
            what = f"the cotangent of argument {' and '.join(numbers)}"
            call = Call(record[0], record[4], record[6], step.origin)
            self._raise("cotangent", call, what, part, step.seeds)
        step.dirty = step.dirty or not found.finite

    def push(
        self,
        rule: Callable[..., Any],
        primitive: Primitive,
        tangents: Sequence[Any],
        answer: Any,
        saved: Any,
        args: Sequence[Any],
        params: Mapping[str, Any],
        tape: Tape | None = None,
        record: Record | None = None,
    ) -> Any:
        """Let ``rule`` compute a tangent (of a record, if there is one) and look at it."""
        outer = self._steps[-1] if self._steps else None
        if tape is not None and record is not None:
            call = Call(primitive, args, params, self._origin(tape, record))
        else:
            origin = Origin.of(args, outer.origin.line if outer else here())
            call = Call(primitive, args, params, origin)
            self._look_at_value(call, answer, outer)
        given = call.origin.given | state_of(tangents)
        with self._running(Step("tangent", primitive, call.origin, given, tangents)):
            total = rule(primitive, tangents, answer, saved, args, params)
        bad = _worst(total if primitive.outputs else [total])
        if self._made_here(state_of([bad]), given):
            self._raise("tangent", call, "the tangent", bad, tangents)
        return total

    # -- judgement ------------------------------------------------------------------------

    def _look_at_value(self, call: Call, answer: Any, outer: Step | None) -> None:
        bad = _worst(answer if call.primitive.outputs else [answer])
        found, given = state_of([bad]), call.origin.given
        if found.nan and given.nan:
            self._warn(call)
        if not self._made_here(found, given):
            return
        if outer is not None:  # a rule at work, one level below what it is the rule of
            what = f"the {outer.kind}, in the {call.primitive.name} of its rule"
            call = Call(outer.primitive, (), {}, outer.origin)
            self._raise(outer.kind, call, what, bad, outer.seeds)
        if self._values:
            self._raise("value", call, "the value", bad)

    def _made_here(self, found: State, given: State) -> bool:
        if found.nan and not given.nan:
            return True
        return self._infinities and found.infinite and not (given.infinite or given.nan)

    def _origin(self, tape: Tape, record: Record) -> Origin:
        origins = self._origins.get(tape)
        origin = origins.get(_first(record[1])) if origins else None
        return origin or Origin.of(record[4], _BEFORE)

    @contextmanager
    def _running(self, step: Step) -> Iterator[None]:
        self._steps.append(step)
        try:
            yield
        finally:
            if step in self._steps:
                self._steps.remove(step)

    # -- words ----------------------------------------------------------------------------

    def _raise(
        self, kind: str, call: Call, what: str, bad: Any, seeds: Sequence[Any] = ()
    ) -> NoReturn:
        self._steps.clear()
        line, name = call.origin.line, call.primitive.name
        made = "NaN" if state_of([bad]).nan else "infinity"
        lines = [
            f"{name} made the first {made}{_PASS[kind]}",
            f"  at {line}" + (f": {line.text}" if line.text else ""),
            f"  {what}: {describe(bad)}",
        ]
        if kind == "cotangent":
            lines += [f"  from the cotangent: {describe(g)}" for g in seeds if g is not None]
        for i, text in enumerate(call.origin.described):
            lines.append(f"  argument {i}: {text}")
            if kind == "tangent" and i < len(seeds) and seeds[i] is not None:
                lines.append(f"  its tangent: {describe(seeds[i])}")
        lines += [f"  {key}={value!r}" for key, value in call.params.items()]
        raise NonFiniteError("\n".join(lines), kind, name, line.file, line.number)

    def _warn(self, call: Call) -> None:
        if self._warned:
            return
        self._warned = True
        i, arg = next((i, a) for i, a in enumerate(call.args) if state_of([a]).nan)
        line = call.origin.line
        message = (
            f"a NaN came in from outside: argument {i} of {call.primitive.name} was already not "
            f"finite ({describe(arg)}); what operations make of it is not reported"
        )
        warnings.warn_explicit(message, RuntimeWarning, line.file, line.number)


def _first(out: Any) -> int:
    return out if isinstance(out, int) else out[0]


def _total(pull: Pull, slot: int) -> Any:
    """What has arrived so far at an input of a record: its cotangent, or a parameter's gradient."""
    if slot < NO_SLOT:
        leaf = pull.tape.leaves[-2 - slot]
        return leaf.gradient if leaf.fresh else None
    return pull.cotangents.get(slot)


def _worst(answers: Sequence[Any]) -> Any:
    """One with a NaN, else one with an infinity, else the first."""
    return min(answers, key=lambda a: (not state_of([a]).nan, state_of([a]).finite), default=None)
