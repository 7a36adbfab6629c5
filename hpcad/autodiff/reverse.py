"""Reverse mode: the walk backwards over a Wengert list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hpcad.autodiff.guard import Guard
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.tape import NO_SLOT, Record, Tape
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.autodiff.transposed import derived_vjp


class Pull:
    """Cotangents on their way from the seeds to the inputs and leaves of a tape.

    Parameters
    ----------
    tape : Tape
    seeds : mapping of slot to cotangent

    Attributes
    ----------
    cotangents : dict of slot to cotangent
        In the end, of the slots that no record made: the inputs of a transform. Gradients of
        leaves are accumulated in the leaves.
    owned : set of int
        Slots whose cotangent nothing else refers to, and which may be added to in place.
    """

    def __init__(self, tape: Tape, seeds: Mapping[int, Any]) -> None:
        self.tape = tape
        self.cotangents = dict(seeds)
        self.owned: set[int] = set()
        self._verified: set[int] = set()

    def verify_inputs(self, slots: Iterable[int]) -> None:
        """Check that the primals of a transform were not changed in place."""
        for slot in slots:
            self._verify(self.tape.guards.get(slot, ()))

    def retain(self, records: list[Record] | None = None) -> dict[int, Any]:
        """Walk the whole tape (or the given records) and keep it for another pull."""
        records = self.tape.records if records is None else records
        # By index: a recomputing rule appends to the tape, and removes what it appended.
        for i in range(len(records) - 1, -1, -1):
            self._walk(records[i])
        return self.cotangents

    def drain(self, start: int = 0) -> dict[int, Any]:
        """Walk the records from ``start`` on, which end the tape; free each once it was used."""
        tape = self.tape
        while len(tape.records) > start:
            record = tape.records.pop()
            if tape._live:
                tape._live.pop()
            self._walk(record)
            tape.forget(record)
        return self.cotangents

    def consume(self, records: list[Record], uses: Counter[int]) -> dict[int, Any]:
        """Walk records that were cut out of the tape; free each once it was used."""
        while records:
            record = records.pop()
            self._walk(record)
            self.tape.forget(record)
            self._count_down(record, uses)
        return self.cotangents

    def announce(self, records: list[Record], uses: Counter[int]) -> dict[int, Any]:
        """Walk records and keep them; like :meth:`consume`, tell the sinks of finished leaves."""
        for i in range(len(records) - 1, -1, -1):
            self._walk(records[i])
            self._count_down(records[i], uses)
        return self.cotangents

    def _count_down(self, record: Record, uses: Counter[int]) -> None:
        """Tell the sink of every leaf whose last use was walked."""
        for slot in record[2]:
            if slot < NO_SLOT:
                uses[slot] -= 1
                if uses[slot] == 0:
                    leaf = self.tape.leaves[-2 - slot]
                    if leaf.sink is not None:
                        leaf.sink.ready(leaf)

    def _walk(self, record: Record) -> None:
        """Give the inputs of a record their cotangents, if its output has one."""
        primitive, out, ins, answer, args, saved, params = record
        cotangents = self.cotangents
        if type(out) is int:
            g = cotangents.pop(out, None)
            first = out
        else:
            parts = tuple([cotangents.pop(slot, None) for slot in out])
            g = None if all(part is None for part in parts) else parts
            first = out[0] if out else NO_SLOT
        if g is None:
            return
        tape = self.tape
        if tape.guards and first in tape.guards:
            self._verify(tape.guards[first])
        if primitive.joint is not None or primitive.vjp is None:
            needs = tuple([slot != NO_SLOT for slot in ins])
            joint = primitive.joint or derived_vjp(primitive)
            for slot, part in zip(
                ins, joint(needs, g, answer, saved, *args, **params), strict=True
            ):
                if slot != NO_SLOT and part is not None:
                    self._accumulate(slot, part, record)
            return
        rules = primitive.vjp
        for i, slot in enumerate(ins):
            if slot == NO_SLOT:
                continue
            if slot < NO_SLOT and i in primitive.into:
                leaf = tape.leaves[-2 - slot]
                if leaf.grad is not None and not isinstance(g, Tensor):
                    beta = 1.0 if leaf.fresh else 0.0
                    primitive.into[i](leaf.grad, beta, g, answer, *args, **params)
                    leaf.fresh = True
                    if tape.observer is not None:
                        tape.observer.pulled(tape, record, leaf.grad)
                    continue
            rule = rules[i]
            if rule is not None:
                self._accumulate(slot, rule(g, answer, *args, **params), record)

    def _accumulate(self, slot: int, part: Any, record: Record) -> None:
        tape = self.tape
        if tape.observer is not None:
            tape.observer.pulled(tape, record, part)
        if slot < NO_SLOT:
            leaf = tape.leaves[-2 - slot]
            leaf.accumulate(value_of(fit(part, leaf.value.shape, leaf.value.dtype)))
            return
        shape, dtype = tape.avals[slot]
        if part.shape != shape or part.dtype != dtype:
            part = fit(part, shape, dtype)
        cotangents = self.cotangents
        before = cotangents.get(slot)
        if before is None:
            cotangents[slot] = part
        elif slot in self.owned and type(part) is np.ndarray and type(before) is np.ndarray:
            before += part
        else:
            total = cotangents[slot] = LINKS.add(before, part)
            if type(total) is np.ndarray:
                self.owned.add(slot)

    def _verify(self, guards: Iterable[Guard]) -> None:
        """Each captured array once per pull."""
        for guard in guards:
            if id(guard) not in self._verified:
                guard.verify()
                self._verified.add(id(guard))


def fit(part: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Undo what broadcasting and type promotion did in the forward pass."""
    if part.shape != shape:
        part = LINKS.sum_to(part, shape)
    if part.dtype != dtype:
        part = LINKS.cast(part, dtype)
    return part
