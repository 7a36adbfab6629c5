"""Reverse mode: the walk backwards over a Wengert list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.tape import NO_SLOT, Record, Tape, as_tuple
from hpcad.autodiff.tensor import Tensor, value_of


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

    def retain(self) -> dict[int, Any]:
        """Walk the whole tape and keep its records for another pull."""
        for record in reversed(self.tape.records):
            g = self._take(record[1])
            if g is not None:
                self._apply(record, g)
        return self.cotangents

    def consume(self, records: list[Record], uses: Counter[int]) -> dict[int, Any]:
        """Walk records that were cut out of the tape.

        Each is freed once it was used, and the memory it held with it. Sinks are told of every
        leaf whose last use was walked.
        """
        tape = self.tape
        while records:
            record = records.pop()
            g = self._take(record[1])
            if g is not None:
                self._apply(record, g)
            for slot in as_tuple(record[1]):
                del tape.avals[slot]
            for slot in record[2]:
                if slot < NO_SLOT:
                    uses[slot] -= 1
                    if uses[slot] == 0:
                        leaf = tape.leaves[-2 - slot]
                        if leaf.sink is not None:
                            leaf.sink.ready(leaf)
        return self.cotangents

    def _take(self, out: Any) -> Any:
        if type(out) is int:
            return self.cotangents.pop(out, None)
        parts = tuple(self.cotangents.pop(slot, None) for slot in out)
        return None if all(part is None for part in parts) else parts

    def _apply(self, record: Record, g: Any) -> None:
        """Give the inputs of a record their cotangents."""
        primitive, _, ins, answer, args, saved, params = record
        if primitive.joint is not None:
            needs = tuple([slot != NO_SLOT for slot in ins])
            parts = primitive.joint(needs, g, answer, saved, *args, **params)
            for slot, part in zip(ins, parts, strict=True):
                if slot != NO_SLOT and part is not None:
                    self._accumulate(slot, part)
            return
        rules = primitive.vjp
        for i, slot in enumerate(ins):
            if slot == NO_SLOT:
                continue
            if slot < NO_SLOT and i in primitive.into:
                leaf = self.tape.leaves[-2 - slot]
                if leaf.grad is not None and not isinstance(g, Tensor):
                    beta = 1.0 if leaf.fresh else 0.0
                    primitive.into[i](leaf.grad, beta, g, answer, *args, **params)
                    leaf.fresh = True
                    continue
            rule = rules[i]  # type: ignore[index]  # differentiable => has rules
            if rule is not None:
                part = rule(g, answer, *args, **params)
                self._accumulate(slot, part)

    def _accumulate(self, slot: int, part: Any) -> None:
        cotangents, owned = self.cotangents, self.owned
        if slot < NO_SLOT:
            leaf = self.tape.leaves[-2 - slot]
            leaf.accumulate(value_of(_fit(part, leaf.value.shape, leaf.value.dtype)))
            return
        shape, dtype = self.tape.avals[slot]
        part = _fit(part, shape, dtype)
        before = cotangents.get(slot)
        if before is None:
            cotangents[slot] = part
        elif slot in owned and type(part) is np.ndarray:
            before += part
        else:
            total = cotangents[slot] = LINKS.add(before, part)
            if type(total) is np.ndarray:
                owned.add(slot)


def _fit(part: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Undo what broadcasting and type promotion did in the forward pass."""
    if part.shape != shape:
        part = LINKS.sum_to(part, shape)
    if part.dtype != dtype:
        part = LINKS.cast(part, dtype)
    return part
