"""Reverse mode: the walk backwards over a Wengert list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from hpcad.autodiff.guard import Guard
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.state import STATE, effect
from hpcad.autodiff.tape import NO_SLOT, Record, Tape
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.autodiff.transposed import derived_vjp
from hpcad.backend import backend_of
from hpcad.errors import ShapeError


class Pull:
    """Cotangents on their way from the seeds to the inputs and leaves of a tape.

    Parameters
    ----------
    tape : Tape
    seeds : mapping of slot to cotangent
    verified : set of Guard, optional
        Guards (by ``id``) that an earlier pull has looked at; added to.

    Attributes
    ----------
    cotangents : dict of slot to cotangent
        In the end, of the slots that no record made: the inputs of a transform. Gradients of
        leaves are accumulated in the leaves.
    owned : set of int
        Slots whose cotangent nothing else refers to, and which may be added to in place.
    observer : object or None
        Who is told about every cotangent: that of the tape, else that of the thread.
    """

    def __init__(
        self, tape: Tape, seeds: Mapping[int, Any], verified: set[Guard] | None = None
    ) -> None:
        self.tape = tape
        self.cotangents = dict(seeds)
        self.owned: set[int] = set()
        self.observer: Any = tape.observer or STATE.observer
        self._verified: set[Guard] = set() if verified is None else verified

    def verify_inputs(self, slots: Iterable[int]) -> None:
        """Check that the primals of a transform were not changed in place."""
        for slot in slots:
            self._verify(self.tape.guards.get(slot, ()))

    def retain(self, records: list[Record] | None = None) -> dict[int, Any]:
        """Walk the whole tape (or the given records) and keep it for another pull."""
        self._walk(_backwards(self.tape.records if records is None else records))
        return self.cotangents

    def drain(self, start: int = 0) -> dict[int, Any]:
        """Walk the records from ``start`` on, which end the tape; free each once it was used."""
        self._walk(_popped(self.tape, self.tape.records, start))
        return self.cotangents

    def consume(self, records: list[Record], uses: Counter[int]) -> dict[int, Any]:
        """Walk records that were cut out of the tape; free each once it was used."""
        self._walk(self._counted(_popped(self.tape, records), uses))
        return self.cotangents

    def announce(self, records: list[Record], uses: Counter[int]) -> dict[int, Any]:
        """Walk records and keep them; like :meth:`consume`, tell the sinks of finished leaves."""
        self._walk(self._counted(_backwards(records), uses))
        return self.cotangents

    def _counted(self, records: Iterable[Record], uses: Counter[int]) -> Iterator[Record]:
        """After each record, tell the sink of every leaf whose last use was walked."""
        leaves = self.tape.leaves
        for record in records:
            ins = record[2]
            yield record
            for slot in ins:
                if slot < NO_SLOT:
                    uses[slot] -= 1
                    if uses[slot] == 0:
                        leaf = leaves[-2 - slot]
                        if leaf.sink is not None:
                            effect(leaf.sink.ready, leaf)

    def _walk(self, records: Iterable[Record]) -> None:
        """Give the inputs of each record their cotangents, if its output has one.

        Every operation passes here; written for speed, like :meth:`Tape.process`.
        """
        cotangents, avals, guards = self.cotangents, self.tape.avals, self.tape.guards
        verified = self._verified
        observed = self.observer is not None
        if observed:
            records = self.observer.walking(self, records)
        for record in records:
            primitive, out, ins, answer, args, _, params = record
            if type(out) is int:
                g = cotangents.pop(out, None)
                if g is None:
                    if not primitive.ordered:
                        continue
                    g = self._zeros(out)  # other ranks may have one, and wait for this rank
            else:
                g = tuple([cotangents.pop(slot, None) for slot in out])
                if all(part is None for part in g):
                    continue
                out = out[0]
            if out in guards:
                for guard in guards[out]:
                    if guard not in verified:
                        guard.verify()
                        verified.add(guard)
            rules: Any = primitive.vjp
            if rules is None:
                self._walk_joint(record, g)
                continue
            for i, slot in enumerate(ins):
                if slot == NO_SLOT or rules[i] is None:
                    continue
                if slot < NO_SLOT or observed:
                    self._walk_special(i, record, g)
                    continue
                if primitive.into and self._add_into(i, record, g):
                    continue
                part = rules[i](g, answer, *args, **params)
                shape, dtype = avals[slot]
                if slot in cotangents or part.shape != shape or part.dtype is not dtype:
                    self._accumulate(slot, part, record)
                else:
                    cotangents[slot] = part

    def _zeros(self, slot: int) -> Any:
        like = value_of(next(iter(self.cotangents.values()), None))
        return backend_of(like).zeros(*self.tape.avals[slot])

    def _walk_special(self, i: int, record: Record, g: Any) -> None:
        """One argument that is a parameter, or under observation."""
        primitive, _, ins, answer, args, _, params = record
        if ins[i] < NO_SLOT:
            leaf = self.tape.leaves[-2 - ins[i]]
            # The product before this one may have taken long. Programs do without: calls between
            # the uses of one parameter would keep their products apart.
            if leaf.sink is not None and STATE.capture is None:
                leaf.sink.look()
            if i in primitive.into and self._write_into(leaf, i, record, g):
                return
        rules: Any = primitive.vjp
        self._accumulate(ins[i], rules[i](g, answer, *args, **params), record)

    def _add_into(self, i: int, record: Record, g: Any) -> bool:
        """Add to the cotangent of an argument in place, where nothing else refers to it.

        A loop that reads an array element by element then costs as much backwards as forwards.
        """
        primitive, _, ins, answer, args, _, params = record
        rule, slot = primitive.into.get(i), ins[i]
        if rule is None or slot not in self.owned or isinstance(g, Tensor):
            return False
        if STATE.capture is not None:  # of which an argument may be a part
            return False
        out = self.cotangents.get(slot)
        if type(out) is not np.ndarray:
            return False
        rule(out, 1.0, g, answer, *args, **params)
        return True

    def _walk_joint(self, record: Record, g: Any) -> None:
        """The rule of a primitive whose cotangents share work."""
        primitive, _, ins, answer, args, saved, params = record
        needs = tuple([slot != NO_SLOT for slot in ins])
        joint = primitive.joint or derived_vjp(primitive)
        found = joint(needs, g, answer, saved, *args, **params)
        for slot, part in zip(ins, found, strict=True):
            if slot != NO_SLOT and part is not None:
                self._accumulate(slot, part, record)

    def _write_into(self, leaf: Parameter, i: int, record: Record, g: Any) -> bool:
        """Write the cotangent of a parameter straight into its gradient, if it has one."""
        primitive, _, ins, answer, args, _, params = record
        if leaf.gradient is None or isinstance(g, Tensor) or STATE.capture is not None:
            return False
        primitive.into[i](leaf.gradient, 1.0 if leaf.fresh else 0.0, g, answer, *args, **params)
        leaf.fresh = True
        if self.observer is not None:
            self.observer.pulled(self.tape, record, ins[i], leaf.grad)
        return True

    def _accumulate(self, slot: int, part: Any, record: Record) -> None:
        tape = self.tape
        if self.observer is not None:
            self.observer.pulled(tape, record, slot, part)
        if slot < NO_SLOT:
            leaf = tape.leaves[-2 - slot]
            leaf.accumulate(value_of(fit(part, leaf.value.shape, leaf.value.dtype, record)))
            return
        shape, dtype = tape.avals[slot]
        if part.shape != shape or part.dtype is not dtype:
            part = fit(part, shape, dtype, record)
        cotangents = self.cotangents
        if slot not in cotangents:
            cotangents[slot] = part
            return
        before = cotangents[slot]
        if slot in self.owned and type(part) is np.ndarray and type(before) is np.ndarray:
            before += part
        else:
            total = cotangents[slot] = LINKS.add(before, part)
            if type(total) is np.ndarray:
                self.owned.add(slot)

    def _verify(self, guards: Iterable[Guard]) -> None:
        """Each captured array once per pull."""
        for guard in guards:
            if guard not in self._verified:
                guard.verify()
                self._verified.add(guard)


def _popped(tape: Tape, records: list[Record], start: int = 0) -> Iterator[Record]:
    """The last record, and the one before it, ...: each is freed when the next is asked for."""
    live = tape._live if records is tape.records else None
    avals, guards = tape.avals, tape.guards
    while len(records) > start:
        if live:
            live.pop()
        record = records.pop()
        out = record[1]
        yield record
        if type(out) is int:  # what Tape.forget does, without a call
            del avals[out]
            if out in guards:
                del guards[out]
        else:
            tape.forget(out)


def _backwards(records: list[Record]) -> Iterator[Record]:
    # By index: a recomputing rule appends to the list, and removes what it appended.
    for i in range(len(records) - 1, -1, -1):
        yield records[i]


def fit(part: Any, shape: tuple[int, ...], dtype: Any, record: Record | None = None) -> Any:
    """Undo what broadcasting and type promotion did in the forward pass."""
    if part.shape != shape:
        if not expands(shape, part.shape):
            name = "a primitive" if record is None else record[0].name
            raise ShapeError(
                f"the vjp rule of {name} returned a cotangent of shape {tuple(part.shape)} for an "
                f"argument of shape {tuple(shape)}; it must have that shape, or one that the "
                "argument broadcasts to"
            )
        part = LINKS.sum_to(part, shape)
    if part.dtype != dtype:
        part = LINKS.cast(part, dtype)
    return part


def expands(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of the one shape broadcasts to the other."""
    return len(small) <= len(large) and all(
        a in (1, b) for a, b in zip(small[::-1], large[::-1], strict=False)
    )
