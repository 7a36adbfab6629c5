"""What a compiled function knows of the calls that it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.state import CHANGES
from hpcad.program.capture.surroundings import Surroundings
from hpcad.program.capture.watch import Watch
from hpcad.program.emission.executable import Executable
from hpcad.program.instruction import Program


class Variant:
    """Calls that find the same gradients fresh.

    Attributes
    ----------
    first : Program or None
        As captured by the first such call, until the second has been held against it.
    executable : Executable or None
    """

    __slots__ = ("executable", "first")

    def __init__(self) -> None:
        self.first: Program | None = None
        self.executable: Executable | None = None


class Entry:
    """The calls of one signature.

    Attributes
    ----------
    receivers : list of Parameter
        Who gets a gradient. Whether it is begun or added to depends on whether it is fresh.
    variants : dict
        By which of them were fresh before the call.
    obstacle : str or None
        Why such calls stay eager.
    builds : int
        Programs that were made.
    changes : int
        Count of attribute changes at which the variants were captured.
    watch : Watch or None
        Of the last capture.
    parameters : list of Parameter
        Among the arguments; the signature knows them by identity.
    surroundings : Surroundings or None
        What the function referred to when it was captured.
    moves : int
        How often that had changed at the next capture.
    """

    __slots__ = ("builds", "changes", "moves", "obstacle", "parameters", "receivers",
                 "surroundings", "variants", "watch")  # fmt: skip

    def __init__(self, leaves: Sequence[Any] = ()) -> None:
        self.watch: Watch | None = None
        self.surroundings: Surroundings | None = None
        self.moves = 0
        self.parameters = [leaf for leaf in leaves if isinstance(leaf, Parameter)]
        self.receivers: list[Parameter] = []
        self.variants: dict[tuple[bool, ...], Variant] = {}
        self.obstacle: str | None = None
        self.builds = 0
        self.changes = CHANGES.count

    def executable(self) -> Executable | None:
        """The program for things as they are now, if there is one."""
        if self.changes != CHANGES.count:
            return None
        variant = self.variants.get(tuple([p.fresh for p in self.receivers]))
        if variant is None or variant.executable is None or variant.first is not None:
            return None
        if self.surroundings is not None and self.surroundings.changed() is not None:
            return None  # the next capture looks at that
        if variant.executable.fits():
            return variant.executable
        self.forget()
        return None

    def move(self, surroundings: Surroundings) -> str | None:
        """Note what the function refers to now; what has changed since it was captured last."""
        before, self.surroundings = self.surroundings, surroundings
        reason = before.changed() if before is not None else None
        if reason is not None:
            self.moves += 1
            self.forget()
        return reason

    def variant(self, program: Program) -> Variant:
        """The variant of a call that has just been captured."""
        receivers, fresh = program.receivers()
        if list(map(id, receivers)) != list(map(id, self.receivers)):
            self.receivers = receivers
            self.variants.clear()
        return self.variants.setdefault(fresh, Variant())

    def forget(self) -> None:
        """Drop the programs: they took for granted what has changed."""
        self.variants.clear()
        self.changes = CHANGES.count
