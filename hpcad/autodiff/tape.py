"""The Wengert list.

A tape is a flat list of records: primitive, output slot, input slots, saved data, parameters.
There are no closures, so a record can be inspected, freed on its own, and replayed.

How it is walked backwards is in :mod:`hpcad.autodiff.reverse`, forwards in
:mod:`hpcad.autodiff.forward`.

Slots: 0, 1, 2, ... are outputs of records (and inputs of transforms); -1 is a constant;
-2 - k is the k-th leaf (parameter).
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.guard import Guard, fingerprint, operand
from hpcad.autodiff.keep import EVERYTHING, REVERSE
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.state import STATE, Trace, captures
from hpcad.autodiff.tensor import AMBIENT, CONSTANT, Tensor, twin
from hpcad.errors import DifferentiationError

NO_SLOT = -1
PRUNE_FROM = 256  # records; below that a prune costs more than it frees
NEVER = sys.maxsize

_TWICE = (
    "backward() was called a second time on the same record; run the forward pass again, or add "
    "the losses that share a computation and call backward() once (or keep the record with "
    "backward(retain=True))"
)
FREED = (
    "a tensor was used again after backward() had freed the record of how it was computed (or "
    "after it left a function under remat without being returned); call .detach() on it to use it "
    "as a constant (as for the state a recurrent network carries from batch to batch), or compute "
    "it anew"
)
_LEFT = (
    "a tensor left the transform or thread that made it; return it from the function "
    "that is differentiated instead of storing it elsewhere, or call .detach() on it"
)

# primitive, output slot(s), input slots, answer, arguments, residuals, parameters
Record = tuple[Primitive, Any, list[int], Any, list[Any], Any, Mapping[str, Any]]

# Global names of this module are found faster than attributes of others.
_new: Any = Tensor.__new__
_ndarray = np.ndarray
_NONE: Mapping[str, Any] = {}
_GUARDED = (np.ndarray, Parameter)
_CONVERTED = (np.ndarray, list, tuple)  # what is one of these and no plain array
_PLAIN = frozenset({np.ndarray, float, int, complex, bool, np.float64, np.float32})


class Tape(Trace):
    """One level's record of a computation.

    Parameters
    ----------
    level : int, optional
        One above the current depth when left out. ``with tape:`` sets it anew.
    purpose : int
        ``REVERSE``, ``TANGENT`` or ``EVERYTHING``: which rules will walk it, and so what its
        records keep.

    Attributes
    ----------
    records : list of Record
        In order of execution.
    leaves : list of Parameter
        Parameters used, in order of first use.
    versions : list of int
        Their versions then.
    avals : dict
        Shape and dtype of every slot whose record is still there. A slot that is missing was
        consumed by a backward pass (or pruned, but then no tensor refers to it).
    guards : dict
        The guards of the arrays that a record (named by its first slot) captured.
    spent : bool
        Backward has consumed the records.
    """

    __slots__ = ("_captured", "_leaf_slots", "_live", "_prune_at", "_slots", "_sweep_at", "avals",
                 "guards", "leaves", "purpose", "records", "spent", "versions")  # fmt: skip

    def __init__(self, level: int | None = None, purpose: int = REVERSE) -> None:
        super().__init__(level)
        self.purpose = purpose
        self.records: list[Record] = []
        self.leaves: list[Parameter] = []
        self.versions: list[int] = []
        self.spent = False
        self.avals: dict[int, tuple[tuple[int, ...], Any]] = {}
        self.guards: dict[int, tuple[Guard, ...]] = {}
        self._captured: dict[int, tuple[Guard]] = {}
        self._sweep_at = PRUNE_FROM
        self._slots = 0
        self._leaf_slots: dict[int, int] = {}
        # One weak reference per record to its output tensor(s); ambient tape only.
        self._live: list[Any] = []
        self._prune_at = PRUNE_FROM if self.level == AMBIENT else NEVER

    def input(self, value: Any) -> Tensor:
        """Return a new tensor that this tape follows from here on."""
        slot = self._new_slot(value)
        if isinstance(value, _GUARDED) and STATE.guarding:
            self._guard(slot, value, "the transform")
        return Tensor(value, self, slot, self.level)

    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Evaluate ``primitive`` one level below and record it.

        Every operation passes here, so this is written for speed: one loop, no helper calls.
        """
        values, ins = [], []
        mask = 1  # a leading 1, then a 1 for each tracked argument
        below = False
        for arg in args:
            mask <<= 1
            slot = NO_SLOT
            if isinstance(arg, Tensor):
                if arg.follower is self:
                    slot = arg.slot
                    if slot not in self.avals:
                        raise DifferentiationError(FREED if self.avals else _LEFT)
                    arg = arg.value
                    mask += 1
                elif arg.level == self.level:
                    slot = self._adopt(arg)
                    arg = arg.value
                    mask += 1
                if isinstance(arg, Tensor) and arg.level == CONSTANT:
                    arg = arg.value
                if isinstance(arg, Tensor):
                    below = True
                    if slot == NO_SLOT:  # a tensor from outside may be assigned to later
                        arg = twin(arg)
            elif type(arg) is not _ndarray and isinstance(arg, _CONVERTED):
                arg = operand(arg)
            values.append(arg)
            ins.append(slot)
        saved, purpose = None, self.purpose
        if below or (params and captures(params)):
            answer = primitive(*values, **params)
            if primitive.saves:  # the rule finds the residuals again, from the arguments
                purpose = EVERYTHING
        else:
            try:
                answer = primitive.value(*values, **params) if params else primitive.value(*values)
            except (ValueError, IndexError) as error:
                raise primitive.explained(error, values, params) from error
            if primitive.saves:
                answer, saved = answer

        keep = primitive.keeps[purpose].get(mask) or primitive.keep(purpose, mask)
        keep_answer, dropped, constants = keep
        out: Any
        result: Any
        if primitive.outputs:
            out, result = self._outputs(answer)
            slot = out[0] if out else NO_SLOT
        else:
            # No call stands between these lines: another thread cannot get the same slot.
            out = slot = self._slots
            self._slots = slot + 1
            self.avals[slot] = (answer.shape, answer.dtype)
            result = _new(Tensor)
            result.value = answer
            result.follower = self
            result.slot = slot
            result.level = self.level
        for i in constants:
            if isinstance(values[i], _GUARDED) and STATE.guarding:
                self._guard(slot, values[i], primitive.name)
        for param in params.values():
            if type(param) is _ndarray and STATE.guarding:
                self._guard(slot, param, primitive.name)
        for i in dropped:
            values[i] = None
        kept = answer if keep_answer else None
        self.records.append((primitive, out, ins, kept, values, saved, params))
        if self.level == AMBIENT:
            self._live.append(
                tuple(map(weakref.ref, result)) if primitive.outputs else weakref.ref(result)
            )
            if len(self.records) >= self._prune_at and max(ins) < 0:
                self._prune()
        if self.observer is not None:
            self.observer.recorded(self, self.records[-1], args, answer)
        return result

    def process_leading(self, primitive: Primitive, x: Tensor, constants: tuple[Any, ...]) -> Any:
        """:meth:`process` of a tensor of this tape, with at most one number or array behind it.

        Most operations of a program are such (``sin(x)``, ``x * 2``), and what there is to do is
        known without a loop. Operations with parameters, residuals or several results, and the
        inner levels of nested transforms go the general way.
        """
        value, source = x.value, x.slot
        if (
            type(value) is not _ndarray
            or not primitive.plain
            or self.observer is not None
            or source not in self.avals
            or (constants and type(constants[0]) not in _PLAIN)
        ):
            return self.process(primitive, (x, *constants), {})
        try:
            answer = primitive.value(value, *constants)
        except (ValueError, IndexError) as error:
            raise primitive.explained(error, (value, *constants), {}) from error
        mask = 0b110 if constants else 0b11
        keep_answer, dropped, guarded = primitive.keeps[self.purpose].get(mask) or primitive.keep(
            self.purpose, mask
        )
        slot = self._slots
        self._slots = slot + 1
        self.avals[slot] = (answer.shape, answer.dtype)
        result = _new(Tensor)
        result.value = answer
        result.follower = self
        result.slot = slot
        result.level = self.level
        values = [value, *constants]
        for i in guarded:
            if type(values[i]) is _ndarray and STATE.guarding:
                self._guard(slot, values[i], primitive.name)
        for i in dropped:
            values[i] = None
        ins = [source, NO_SLOT] if constants else [source]
        kept = answer if keep_answer else None
        self.records.append((primitive, slot, ins, kept, values, None, _NONE))
        if self.level == AMBIENT:
            self._live.append(weakref.ref(result))
        return result

    def _outputs(self, answer: Sequence[Any]) -> tuple[tuple[int, ...], tuple[Tensor, ...]]:
        out = tuple(self._new_slot(a) for a in answer)
        result = tuple(Tensor(a, self, s, self.level) for a, s in zip(answer, out, strict=True))
        return out, result

    def _new_slot(self, value: Any) -> int:
        slot = self._slots
        self._slots = slot + 1
        self.avals[slot] = (value.shape, value.dtype)
        return slot

    def _guard(self, slot: int, array: Any, user: str) -> None:
        """Let the record of ``slot`` share the guard of an array that was captured before.

        The array is looked at each time, and gets another guard if it has changed: an early
        record whose array has got its old values back would otherwise speak for a later one.
        """
        entry = self._captured.get(id(array))
        if entry is None or entry[0].array() is not array or entry[0].digest != fingerprint(array):
            if len(self._captured) >= self._sweep_at:
                alive = {k: e for k, e in self._captured.items() if e[0].array() is not None}
                self._captured = alive
                self._sweep_at = max(PRUNE_FROM, 2 * len(alive))
            entry = self._captured[id(array)] = (Guard(array, user),)
        self.guards[slot] = self.guards[slot] + entry if slot in self.guards else entry

    def _adopt(self, arg: Tensor) -> int:
        """Slot of a tensor of this level that another tape made, or of a parameter."""
        if isinstance(arg, Parameter):
            slot = self._leaf_slots.get(id(arg))
            if slot is None or self.versions[-2 - slot] != arg.version:
                self.leaves.append(arg)
                self.versions.append(arg.version)
                slot = self._leaf_slots[id(arg)] = -1 - len(self.leaves)
            return slot
        if arg.follower is not None and getattr(arg.follower, "spent", False):
            raise DifferentiationError(FREED)
        raise DifferentiationError(_LEFT)

    # -- taking records out ---------------------------------------------------------------

    def leaves_of(self, uses: Iterable[int]) -> list[Parameter]:
        """Return the leaves in the given slots, in order of their first use on this tape."""
        return [self.leaves[-2 - slot] for slot in sorted(uses, reverse=True)]

    def check_leaves(self, records: Iterable[Record], uses: Iterable[int]) -> None:
        """Raise if a parameter was changed after a record had kept its old values."""
        stale = [s for s in uses if self.leaves[-2 - s].version != self.versions[-2 - s]]
        for slot in stale:
            leaf = self.leaves[-2 - slot]
            if leaf.sink is not None and self._leaf_slots[id(leaf)] in uses:
                # It would be reduced before its gradient is complete.
                raise DifferentiationError(leaf.change_message(self.versions[-2 - slot], "it"))
        for primitive, _, ins, _, args, _, _ in records if stale else ():
            for slot, arg in zip(ins, args, strict=True):
                if slot in stale and arg is not None:
                    raise DifferentiationError(
                        self.leaves[-2 - slot].change_message(
                            self.versions[-2 - slot], primitive.name
                        )
                    )

    def cut(self, seeds: Iterable[int], retain: bool = False) -> tuple[list[Record], Counter[int]]:
        """Take out the records on which the slots depend (or only list them: ``retain``).

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
            out = record[1]
            if out not in needed if type(out) is int else needed.isdisjoint(out):
                rest.append(i)
                continue
            for slot in record[2]:
                if slot < NO_SLOT:
                    uses[slot] += 1
                elif slot != NO_SLOT:
                    if slot not in self.avals:
                        raise DifferentiationError(_TWICE)
                    needed.add(slot)
            mine.append(record)
        mine.reverse()
        self.check_leaves(mine, uses)
        if retain:
            return mine, uses
        self._captured.clear()  # what is captured from here on belongs to new records
        rest.reverse()
        self.records = [self.records[i] for i in rest]
        self._live = [self._live[i] for i in rest] if self.level == AMBIENT else []
        if self.level == AMBIENT and rest:
            self._prune()
        self.spent = not self.records
        return mine, uses

    def forget(self, out: Any) -> None:
        """A record was consumed: its output slots are no longer there."""
        for slot in (out,) if type(out) is int else out:
            del self.avals[slot]
            if slot in self.guards:
                del self.guards[slot]

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
                self.forget(self.records[i][1])
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
