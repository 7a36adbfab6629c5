"""Recomputation of a function in the backward pass."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.recomputation.outcome import Outcome, not_the_same
from hpcad.autodiff.recomputation.sealed import Sealed, seal, tensors_of
from hpcad.autodiff.recomputation.stretch import (
    Stretch,
    Surroundings,
    can_shorten,
    put_record,
    unpruned,
)
from hpcad.autodiff.reverse import Pull
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import Tensor


def remat(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is run again in the backward pass instead of being remembered.

    Of what ``function`` computes, only its results stay in memory. When the cotangents of these
    arrive, the function is run a second time, and its derivative is taken from that run.

    Parameters
    ----------
    function : callable
        Of pytrees of arrays, returning a pytree of arrays. It may use parameters and tensors
        from outside, and must do the same when it is run again. ``@remat`` also works on methods.

    Returns
    -------
    callable
        With the same values and derivatives of every order.

    Raises
    ------
    DifferentiationError
        In the backward pass, if the second run gave something else than the first.

    Notes
    -----
    The second run sees the context variables of the first (``contextvars``), and with them the
    training step by which dropout is keyed. Tensors that leave the function in another way than
    by being returned cannot be used afterwards.

    The records are dropped on the innermost tape that follows the function. Under nested
    transforms, the outer ones keep theirs. Forward mode has no records: nothing is run again.
    """

    @functools.wraps(function, updated=())
    def recomputed(*args: Any, **kwargs: Any) -> Any:
        tapes = recording_tapes()
        if not tapes:
            return function(*args, **kwargs)
        return _shortened(function, args, kwargs, tapes)

    return recomputed


def recording_tapes() -> list[Tape]:
    """The tapes that may record now, lowest level first."""
    tapes = [trace for trace in STATE.traces if isinstance(trace, Tape)]
    if STATE.recording and not any(tape.level == 0 for tape in tapes):
        tapes.append(LINKS.ambient_tape())
    return sorted(tapes, key=lambda tape: tape.level)


def highest(stretches: Sequence[Stretch]) -> Stretch | None:
    """Of the tapes that recorded something, the innermost; the others stand below it."""
    grown = [stretch for stretch in stretches if stretch.grown]
    return grown[-1] if grown else None


def _shortened(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], tapes: list[Tape]
) -> Any:
    """Run ``function``, and put one record in place of its own."""
    surroundings = Surroundings()
    # What the function gets, as it is now: item assignment would change the tensors themselves.
    sealed = [seal((args, kwargs), tape) for tape in tapes]
    stretches = [Stretch(tape) for tape in tapes]
    with unpruned(tapes[0]):
        answer = function(*args, **kwargs)
    stretch = highest(stretches)
    if stretch is None or not can_shorten(stretch.tape):
        return answer
    tape = stretch.tape
    outputs = _made(stretch, answer, args, kwargs)
    outcome = Outcome.of(stretch, outputs, surroundings.checking)
    segment = Segment(function, sealed[tapes.index(tape)], surroundings, tape, outcome)
    externals, guards = stretch.externals(), stretch.guards()
    stretch.drop()
    if outputs:
        pairs = [(x, x.slot) for x in outputs]
        segment.ins = put_record(tape, stretch.start, REMAT, pairs, externals, guards, segment)
        segment.guard(tape, outputs[0].slot)
    return answer


def _made(stretch: Stretch, answer: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors made in the stretch that live on: results, and arguments assigned to."""
    found = tensors_of((answer, args, kwargs), stretch.tape)
    return list({x.slot: x for x in found if x.slot >= stretch.first}.values())


class Segment:
    """A function that was run, and what it takes to run it again.

    Attributes
    ----------
    name : str
    outcome : Outcome
        What the first run left.
    ins : list of int
        The slots that it took from outside.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Sealed,
        surroundings: Surroundings,
        tape: Tape,
        outcome: Outcome,
    ) -> None:
        self.name = f"remat({getattr(function, '__name__', type(function).__name__)})"
        self.outcome = outcome
        self.ins: list[int] = []
        self._function = function
        self._arguments = arguments
        self._surroundings = surroundings
        self._tape = weakref.ref(tape)  # which owns this

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def guard(self, tape: Tape, slot: int) -> None:
        """Guard the plain arrays among the arguments."""
        if self._surroundings.checking:
            for x in self._arguments.leaves:
                if type(x) is np.ndarray:
                    tape._guard(slot, x, self.name)

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        """Run the function again, and pull the cotangents of its results through that run."""
        tape: Any = self._tape()
        stretch = Stretch(tape)
        try:
            with self._surroundings.again(tape):
                outputs = self._surroundings.context.copy().run(self._run, stretch)
            seeds = {x: g for x, g in zip(outputs, cotangents, strict=True) if g is not None}
            found = Pull(tape, seeds).drain(stretch.start)
        finally:
            stretch.drop()
        return [found.get(slot) for slot in self.ins]

    def _run(self, stretch: Stretch) -> list[int]:
        """Returns the slots of the results."""
        args, kwargs = self._arguments.open(stretch.tape)
        answer = self._function(*args, **kwargs)
        outputs = _made(stretch, answer, args, kwargs)
        self.outcome.compare(Outcome.of(stretch, outputs, self._surroundings.checking), self.name)
        if not stretch.externals() <= set(self.ins):
            raise not_the_same(self.name, "a dependence on other tensors or parameters")
        return [x.slot for x in outputs]


def _pull(_needs: Any, g: Any, _ans: Any, _saved: Any, *_args: Any, segment: Segment) -> list[Any]:
    return segment.pull(g)


REMAT = Primitive("remat", None, None, joint=_pull, outputs=True, register=False)  # type: ignore[arg-type]  # never called
