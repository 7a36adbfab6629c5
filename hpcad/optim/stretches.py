"""Stretches of an arena that are updated alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpcad.backend.arena import ALIGNMENT
from hpcad.nn.arena import ParameterArena


@dataclass
class Stretch:
    """Neighbouring parameters that are not frozen.

    Attributes
    ----------
    start, stop : int
        In elements of the arena. It starts on a cache line; padding inside of it is updated, too,
        and stays zero.
    decays : bool
    """

    start: int
    stop: int
    decays: bool


def stretches(arena: ParameterArena, weight_decay: float) -> list[Stretch]:
    """The longest ones of equal decay: weights decay, parameters of one dimension do not."""
    found: list[Stretch] = []
    for p in arena.parameters:
        if p.frozen:
            continue
        span, decays = arena.span(p), bool(weight_decay) and p.ndim >= 2
        if found and found[-1].decays == decays and _adjoin(arena, found[-1].stop, span.start):
            found[-1].stop = span.stop
        else:
            found.append(Stretch(span.start, span.stop, decays))
    return found


def neighbours(arena: ParameterArena, parts: list[Stretch]) -> Iterator[list[Stretch]]:
    """Group stretches between which nothing is frozen."""
    group: list[Stretch] = []
    for part in parts:
        if group and not _adjoin(arena, group[-1].stop, part.start):
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def line(arena: ParameterArena) -> int:
    """Elements of a cache line: parameters begin on one."""
    return ALIGNMENT // arena.values.dtype.itemsize


def _adjoin(arena: ParameterArena, stop: int, start: int) -> bool:
    return start - stop < line(arena)
