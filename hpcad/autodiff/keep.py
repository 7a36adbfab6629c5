"""What a record must keep alive, read off the signatures of the rules that will need it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hpcad.autodiff.primitive import Primitive

# Purposes of a tape.
REVERSE, TANGENT, EVERYTHING = range(3)

# (answer, argument 0, argument 1, ...); the last one holds for further arguments, too
Names = tuple[bool, ...]


class Keep(NamedTuple):
    """What one record keeps, given which of its arguments are tracked.

    Attributes
    ----------
    answer : bool
    dropped : tuple of int
        Arguments that no rule needs.
    constants : tuple of int
        Arguments that are not tracked and are kept: the user's own arrays among them are
        guarded.
    """

    answer: bool
    dropped: tuple[int, ...]
    constants: tuple[int, ...]

    @classmethod
    def of(cls, primitive: Primitive, needs: Callable[..., list[Names]] | None, mask: int) -> Keep:
        """``mask`` has a leading 1, and then a 1 for each argument that is tracked."""
        tracked = [digit == "1" for digit in bin(mask)[3:]]
        if needs is None:
            used: list[Names] = [(True, True)]
        else:
            used = needs(primitive, [i for i, yes in enumerate(tracked) if yes])
        kept = [
            any(names[min(1 + i, len(names) - 1)] for names in used) for i in range(len(tracked))
        ]
        return cls(
            any(names[0] for names in used),
            tuple(i for i, yes in enumerate(kept) if not yes),
            tuple(i for i, yes in enumerate(kept) if yes and not tracked[i]),
        )


def reverse_needs(primitive: Primitive, tracked: list[int]) -> list[Names]:
    """What the VJP rules of the tracked arguments need."""
    if primitive.joint is not None:
        return [_names(primitive.joint, skip=2, joint=True)]
    if primitive.vjp is None:  # derived from the JVP
        return [(True, True)]
    used = [_names(rule, skip=1) for i in tracked if (rule := primitive.vjp[i]) is not None]
    used += [_names(primitive.into[i], skip=3) for i in tracked if i in primitive.into]
    return used


def tangent_needs(primitive: Primitive, tracked: list[int]) -> list[Names]:
    """What the JVP rules of the tracked arguments need."""
    if primitive.joint_jvp is not None:
        return [_names(primitive.joint_jvp, skip=1, joint=True)]
    if primitive.jvp is None:  # derived from the VJP
        return [(True, True)]
    if primitive.jvp == "jointly linear":  # constants get tangents of zeros like them
        return [(False, *(k not in tracked for k in range(max(tracked) + 1)), True)]
    used = []
    for i in tracked:
        rule = primitive.jvp if isinstance(primitive.jvp, str) else primitive.jvp[i]
        if rule == "same":
            rule = primitive.vjp[i]  # type: ignore[index]  # "same" as what it has
        if rule == "linear":
            used.append((False, *(k != i for k in range(max(tracked) + 1)), True))
        elif rule is not None:
            used.append(_names(rule, skip=1))  # type: ignore[arg-type]  # no word is left
    return used


def _names(rule: Callable[..., Any], skip: int, joint: bool = False) -> Names:
    """(answer, argument 0, argument 1, ...): names without a leading underscore are kept."""
    parameters = list(inspect.signature(rule).parameters.values())[skip:]
    if joint:
        del parameters[1]  # saved
    names = [p.name for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    return tuple(not name.startswith("_") for name in names)
