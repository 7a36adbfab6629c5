"""The Wengert list.

A tape is a flat list of records: primitive, output slot, input slots, saved data, parameters.
There are no closures, so a record can be inspected, freed on its own, and replayed.

How it is walked backwards is in :mod:`hpcad.autodiff.reverse`.

Slots: 0, 1, 2, ... are outputs of records (and inputs of transforms); -1 is a constant;
-2 - k is the k-th leaf (parameter).
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import AMBIENT, CONSTANT, Tensor
from hpcad.errors import DifferentiationError

NO_SLOT = -1
PRUNE_FROM = 256  # records; below that a prune costs more than it frees

_TWICE = (
    "backward() was called a second time on the same record; run the forward pass again, or add "
    "the losses that share a computation and call backward() once"
)
_FREED = (
    "a tensor was used again after backward() had freed the record of how it was "
    "computed; call .detach() on it to use it as a constant (as for the state a "
    "recurrent network carries from batch to batch), or compute it anew"
)

# primitive, output slot(s), input slots, answer, arguments, residuals, parameters
Record = tuple[Primitive, Any, tuple[int, ...], Any, tuple[Any, ...], Any, Mapping[str, Any]]


class Tape:
    """One level's record of a computation.

    Attributes
    ----------
    records : list of Record
        In order of execution.
    leaves : list of Parameter
        Parameters used, in order of first use.
    avals : dict
        Shape and dtype of every slot whose record is still there. A slot that is missing was
        consumed by a backward pass (or pruned, but then no tensor refers to it).
    spent : bool
        Backward has consumed the records.
    """

    __slots__ = ("__weakref__", "_leaf_slots", "_live", "_prune_at", "_slots", "avals", "leaves",
                 "level", "records", "spent")  # fmt: skip

    def __init__(self, level: int) -> None:
        self.level = level
        self.records: list[Record] = []
        self.leaves: list[Parameter] = []
        self.spent = False
        self.avals: dict[int, tuple[tuple[int, ...], Any]] = {}
        self._slots = 0
        self._leaf_slots: dict[int, int] = {}
        # One weak reference per record to its output tensor(s); ambient tape only.
        self._live: list[Any] = []
        self._prune_at = PRUNE_FROM

    def input(self, value: Any) -> Tensor:
        """Return a new tensor that this tape follows from here on."""
        return Tensor(value, self, self._new_slot(value), self.level)

    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Evaluate ``primitive`` one level below and record it."""
        values, ins = [], []
        below = CONSTANT
        for arg in args:
            slot = NO_SLOT
            if isinstance(arg, Tensor):
                if arg.trace is self:
                    arg, slot = arg.value, arg.slot
                    if slot not in self.avals:
                        raise DifferentiationError(_FREED)
                elif arg.level == self.level:
                    slot = self._adopt(arg)
                    arg = arg.value
                if isinstance(arg, Tensor):
                    if arg.level == CONSTANT:
                        arg = arg.value
                    else:
                        below = arg.level
            values.append(arg)
            ins.append(slot)
        long = self.level == AMBIENT and len(self.records) >= self._prune_at
        if long and all(slot < 0 for slot in ins):
            self._prune()
        saved = None
        if below == CONSTANT:
            answer = primitive.compute(values, params)
            if primitive.saves:
                answer, saved = answer
        else:
            answer = primitive(*values, **params)
        return self._record(primitive, tuple(ins), values, answer, saved, params)

    def _record(
        self,
        primitive: Primitive,
        ins: tuple[int, ...],
        values: list[Any],
        answer: Any,
        saved: Any,
        params: Mapping[str, Any],
    ) -> Any:
        keep_answer, keep = primitive.keeps(tuple([slot != NO_SLOT for slot in ins]))
        kept = tuple([v if k else None for v, k in zip(values, keep, strict=True)])
        if primitive.outputs:
            out: Any = tuple(self._new_slot(a) for a in answer)
            result: Any = tuple(
                Tensor(a, self, s, self.level) for a, s in zip(answer, out, strict=True)
            )
        else:
            out = self._new_slot(answer)
            result = Tensor(answer, self, out, self.level)
        self.records.append(
            (primitive, out, ins, answer if keep_answer else None, kept, saved, params)
        )
        if self.level == AMBIENT:
            self._live.append(
                tuple(map(weakref.ref, result)) if primitive.outputs else weakref.ref(result)
            )
        return result

    def _new_slot(self, value: Any) -> int:
        slot = self._slots
        self._slots = slot + 1
        self.avals[slot] = (value.shape, value.dtype)
        return slot

    def _adopt(self, arg: Tensor) -> int:
        """Slot of a tensor of this level that another tape made, or of a parameter."""
        if isinstance(arg, Parameter):
            slot = self._leaf_slots.get(id(arg))
            if slot is None:
                self.leaves.append(arg)
                slot = self._leaf_slots[id(arg)] = -1 - len(self.leaves)
            return slot
        if arg.trace is not None and arg.trace.spent:
            raise DifferentiationError(_FREED)
        raise DifferentiationError(
            "a tensor left the transform or thread that made it; return it from the function "
            "that is differentiated instead of storing it elsewhere, or call .detach() on it"
        )

    # -- taking records out ---------------------------------------------------------------

    def leaves_of(self, uses: Iterable[int]) -> list[Parameter]:
        """Return the leaves in the given slots, in order of their first use on this tape."""
        return [self.leaves[-2 - slot] for slot in sorted(uses, reverse=True)]

    def cut(self, seeds: Iterable[int]) -> tuple[list[Record], Counter[int]]:
        """Take out the records on which the slots depend.

        Other records stay: their tensors may still be pulled, by a backward pass of their own.

        Returns
        -------
        records : list of Record
        uses : Counter
            How often the records use each leaf, by slot.
        """
        needed, uses = set(seeds), Counter[int]()
        mine: list[Record] = []
        rest: list[int] = []
        if not self.avals.keys() >= needed:
            raise DifferentiationError(_TWICE)
        for i in range(len(self.records) - 1, -1, -1):
            record = self.records[i]
            if needed.isdisjoint(as_tuple(record[1])):
                rest.append(i)
                continue
            for slot in record[2]:
                if slot < NO_SLOT:
                    uses[slot] += 1
                elif slot != NO_SLOT and slot not in self.avals:
                    raise DifferentiationError(_TWICE)
            needed.update(record[2])
            mine.append(record)
        mine.reverse()
        rest.reverse()
        self.records = [self.records[i] for i in rest]
        self._live = [self._live[i] for i in rest] if self.level == AMBIENT else []
        if self.level == AMBIENT and rest:
            self._prune()
        self.spent = not self.records
        return mine, uses

    # -- records that nothing can ask for any more -----------------------------------------

    def _prune(self) -> None:
        """Drop records from which no living tensor was computed.

        A program that evaluates without ``no_grad`` never calls backward; without this its
        tape would grow for ever. Runs only when a new computation starts and the list has
        doubled, so its cost is amortised.
        """
        needed: set[int] = set()
        keep: list[int] = []
        for i in range(len(self.records) - 1, -1, -1):
            outs, live = as_tuple(self.records[i][1]), as_tuple(self._live[i])
            if any(ref() is not None for ref in live) or not needed.isdisjoint(outs):
                needed.update(slot for slot in self.records[i][2] if slot >= 0)
                keep.append(i)
            else:
                for slot in outs:
                    del self.avals[slot]
        keep.reverse()
        self.records = [self.records[i] for i in keep]
        self._live = [self._live[i] for i in keep]
        self._prune_at = max(PRUNE_FROM, 2 * len(self.records))


def ambient_tape() -> Tape:
    """Return the tape on which this thread's parameters record; a new one if it is spent."""
    tape = STATE.ambient()
    if tape is None or tape.spent:
        tape = Tape(AMBIENT)
        STATE.ambient = weakref.ref(tape)
    return tape


LINKS.ambient_tape = ambient_tape


def as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)
