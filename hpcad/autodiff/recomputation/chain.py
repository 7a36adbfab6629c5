"""A chain of steps on the tape, of which only some states are kept."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.guard import Guard
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.recomputation.outcome import Outcome, not_the_same
from hpcad.autodiff.recomputation.places import Places, Plan
from hpcad.autodiff.recomputation.revolve import (
    ADVANCE,
    DROP,
    RESTORE,
    REVERSE,
    SPILL,
    STORE,
    Action,
)
from hpcad.autodiff.recomputation.sealed import Sealed, seal, tensors_of
from hpcad.autodiff.recomputation.stretch import (
    Stretch,
    Surroundings,
    alive,
    can_shorten,
    put_record,
    unpruned,
)
from hpcad.autodiff.reverse import Pull
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import Tensor

Path = str | os.PathLike[str]
Entered = tuple[Tensor, int]  # an input of the tape, and its slot


class Deeper(Exception):  # noqa: N818  # no error: caught by who runs the chain
    """A step recorded on a tape further in than that of the chain."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape


class Chain:
    """Runs the steps forwards once, and backwards as its plan says.

    On the tape, all steps but the last become one record; the last one stays as it is. Every
    run of a step is recorded, and dropped at once if it was only to advance: so which parts of a
    state depend on what is differentiated never changes, and there is one way to run a step.

    Parameters
    ----------
    name : str
        For messages.
    step_of : callable
        ``step_of(k)`` returns step k, a function from state to state.
    plan : Plan
    directory : path, optional
        Where states are spilled to.
    """

    def __init__(
        self,
        name: str,
        step_of: Callable[[int], Callable[[Any], Any]],
        plan: Plan,
        directory: Path | None = None,
    ) -> None:
        self._name = name
        self._step_of = step_of
        self._plan = plan
        self._places = Places(directory)
        self._surroundings = Surroundings()
        self._tape: Callable[[], Any] = lambda: None  # weak reference to the one it records on
        self._outcomes: list[Outcome] = []
        self._externals: set[int] = set()
        self._guards: list[Guard] = []
        self._ins: list[int] = []

    def __repr__(self) -> str:
        return f"<{self._name} of {len(self._outcomes) + 1} steps>"

    # -- forwards -------------------------------------------------------------------------

    def forward(
        self, state: Any, more: Callable[[int, Any], bool], tapes: Sequence[Tape], least: Tape
    ) -> Any:
        """Run steps as long as ``more(number, state)``; returns the last state.

        Parameters
        ----------
        state : pytree
        more : callable
        tapes : sequence of Tape
            Those that may record, outermost first.
        least : Tape
            The chain stands on this tape, or on one further in if the first step records there.

        Raises
        ------
        Deeper
            The chain must stand on that tape.
        """
        try:
            with unpruned(tapes[0]):
                return self._forward(state, more, list(tapes[tapes.index(least) :]))
        except BaseException:
            self._places.reset()
            raise

    def _forward(self, state: Any, more: Callable[[int, Any], bool], tapes: list[Tape]) -> Any:
        sealed = [seal(state, tape) for tape in tapes]
        state = sealed[0].open(tapes[0])
        if not _asks(more, 0, state, tapes):
            return state
        begun = [Stretch(tape) for tape in tapes]
        state = self._step_of(0)(state)
        level = max([i for i, stretch in enumerate(begun) if stretch.grown], default=0)
        last, further_in, tape = begun[level], begun[level + 1 :], tapes[level]
        if not can_shorten(tape):
            last.drop()
            raise Deeper(tape)
        self._tape = weakref.ref(tape)  # which owns this
        self._places.first = sealed[level]
        self._places.reset()
        del sealed
        origin, number, entered = last.first, 1, list[Entered]()
        while _asks(more, number, state, [tape]):
            current = self._close(last, number, state, origin)
            last = Stretch(tape)
            state, entered = current.enter(tape)
            del current
            state = self._step_of(number)(state)
            number += 1
            for stretch in reversed(further_in):
                if stretch.grown:
                    last.drop()
                    raise Deeper(stretch.tape)
        if entered:
            # The last step stays on the tape, behind the record of all steps before it.
            self._put(last.start, entered)
        else:
            self._places.reset()
        return state

    def _close(self, stretch: Stretch, number: int, state: Any, origin: int) -> Sealed:
        """Step ``number - 1`` was not the last: drop its records, and keep its state if planned."""
        tape = stretch.tape
        results = tensors_of(state, tape)
        self._outcomes.append(Outcome.of(stretch, results, self._surroundings.checking))
        # What is handed on as it was taken is in no record.
        self._externals |= stretch.externals()
        self._externals |= {x.slot for x in results if x.slot < origin}
        self._guards = alive([*self._guards, *stretch.guards()])
        sealed = seal(state, tape)
        stretch.drop()
        kind, dropped = self._plan.visit(number)
        if dropped is not None:
            self._places.drop(dropped)
        if kind is not None:
            self._places.put(kind, number, sealed)
        return sealed

    def _put(self, at: int, outputs: list[Entered]) -> None:
        tape: Any = self._tape()
        self._ins = put_record(tape, at, CHAIN, outputs, self._externals, alive(self._guards), self)
        if self._surroundings.checking:
            for x in self._places.first.leaves:
                if type(x) is np.ndarray:
                    tape._guard(outputs[0][1], x, self._name)

    # -- backwards ------------------------------------------------------------------------

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        """From the cotangents of the state before the last step to those of what was used."""
        tape: Any = self._tape()
        back = _Backwards(self, tape, list(cotangents))
        del cotangents
        start = Stretch(tape)
        try:
            for action in self._plan.reversal(self._places.kept, len(self._outcomes)):
                if back.finished:
                    break
                back.do(action)
        finally:
            start.drop()
            self._places.reset()
        return [back.pull.cotangents.get(slot) for slot in self._ins]

    def run_again(self, number: int, state: Sealed, stretch: Stretch) -> tuple[Any, list[Entered]]:
        """Record one step; returns the next state, and the inputs that stand for this one."""
        tape = stretch.tape
        around = self._surroundings
        with around.again(tape):
            tree, entered = state.enter(tape) if number else (state.open(tape), [])
            tree = around.context.copy().run(self._step_of(number), tree)
            outcome = Outcome.of(stretch, tensors_of(tree, tape), around.checking)
        name = f"{self._name}, step {number},"
        self._outcomes[number].compare(outcome, name)
        if not stretch.externals() <= self._externals:
            raise not_the_same(name, "a dependence on other tensors or parameters")
        return tree, entered


class _Backwards:
    """One reversal under way: the current state, and the cotangents of the one to reverse to."""

    def __init__(self, chain: Chain, tape: Tape, cotangents: list[Any]) -> None:
        self.pull = Pull(tape, {})
        self._chain = chain
        self._tape = tape
        self._cotangents = cotangents
        self._state: Any = None

    @property
    def finished(self) -> bool:
        """Whether nothing depends on the steps that are left."""
        return all(g is None for g in self._cotangents)

    def do(self, action: Action) -> None:
        places = self._chain._places
        if action.kind == ADVANCE:
            for number in range(action.at, action.to):
                self._advance(number)
        elif action.kind in (STORE, SPILL):
            places.put(action.kind, action.at, self._state)
        elif action.kind == RESTORE:
            self._state = places.restore(action.at)
        elif action.kind == DROP:
            places.drop(action.at)
        elif action.kind == REVERSE:
            self._reverse(action.at)

    def _advance(self, number: int) -> None:
        stretch = Stretch(self._tape)
        tree, _ = self._chain.run_again(number, self._state, stretch)
        self._state = seal(tree, self._tape)
        stretch.drop()

    def _reverse(self, number: int) -> None:
        stretch = Stretch(self._tape)
        tree, entered = self._chain.run_again(number, self._state, stretch)
        slots = [x.slot for x in tensors_of(tree, self._tape)]
        inputs = [slot for _, slot in entered]
        del tree, entered
        self._state = None
        found = self.pull.cotangents
        while slots:
            _add(found, slots.pop(), self._cotangents.pop())
        self.pull.drain(stretch.start)
        self._cotangents = [found.pop(slot, None) for slot in inputs]
        stretch.drop()


def _asks(more: Callable[[int, Any], bool], number: int, state: Any, tapes: Sequence[Tape]) -> bool:
    """What the condition records leaves no trace."""
    stretches = [Stretch(tape) for tape in tapes]
    answer = more(number, state)
    for stretch in stretches:
        stretch.drop()
    return answer


def _add(cotangents: dict[int, Any], slot: int, g: Any) -> None:
    if g is not None:
        cotangents[slot] = LINKS.add(cotangents[slot], g) if slot in cotangents else g


def _pull(_needs: Any, g: Any, _ans: Any, _saved: Any, *_args: Any, segment: Chain) -> list[Any]:
    return segment.pull(g)


CHAIN = Primitive("remat_sequence", None, None, joint=_pull, outputs=True, register=False)  # type: ignore[arg-type]  # never called
