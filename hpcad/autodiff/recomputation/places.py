"""Where the states of a chain are kept: in memory or on disk, and when."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from hpcad.autodiff.recomputation.online import OnlineStates
from hpcad.autodiff.recomputation.revolve import SPILL, STORE, Action, kept_by, reversal, revolve
from hpcad.autodiff.recomputation.sealed import Sealed
from hpcad.autodiff.recomputation.spill import SpillDirectory
from hpcad.autodiff.recomputation.twolevel import TwoLevels


class Plan(Protocol):
    """Which states to keep on the way forwards, and in which order to go back."""

    def visit(self, state: int) -> tuple[str | None, int | None]:
        """What to do with a state on the way forwards: ``"store"``, ``"spill"`` or nothing; and
        which one to drop for it.
        """
        ...

    def reversal(self, kept: Mapping[int, bool], steps: int) -> Iterator[Action]:
        """Reverse the first steps; ``kept``: the states stored, and whether they are on disk."""
        ...


class Offline:
    """Revolve, for a known number of steps."""

    def __init__(self, steps: int, slots: int) -> None:
        self._slots = slots
        self._kept = kept_by(revolve(steps, slots))

    def visit(self, state: int) -> tuple[str | None, int | None]:
        return STORE if state in self._kept else None, None

    def reversal(self, kept: Mapping[int, bool], steps: int) -> Iterator[Action]:
        return reversal(list(kept), steps, self._slots)


class Online:
    """Revolve on states that were chosen without knowing the number of steps."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._states = OnlineStates(slots)

    def visit(self, state: int) -> tuple[str | None, int | None]:
        store, dropped = self._states.visit(state)
        return STORE if store else None, dropped

    def reversal(self, kept: Mapping[int, bool], steps: int) -> Iterator[Action]:
        return reversal(list(kept), steps, self._slots)


class Disk:
    """Two levels: memory, and files."""

    def __init__(self, steps: int, slots: int, disk_slots: int, write: float, read: float) -> None:
        self._levels = TwoLevels(steps, slots, disk_slots, write, read)
        self._kept = kept_by(self._levels.schedule())

    def visit(self, state: int) -> tuple[str | None, int | None]:
        on_disk = self._kept.get(state)
        return None if on_disk is None else SPILL if on_disk else STORE, None

    def reversal(self, kept: Mapping[int, bool], steps: int) -> Iterator[Action]:
        return self._levels.reversal(kept, steps)


class Places:
    """The states that are kept at a time.

    Parameters
    ----------
    directory : path, optional
        For the files.

    Attributes
    ----------
    first : Sealed
        The initial state, which is always there after :meth:`reset`.
    """

    def __init__(self, directory: str | os.PathLike[str] | None) -> None:
        self.first: Any = None
        self._states: dict[int, Sealed | _OnDisk] = {}
        self._parent = directory
        self._directory: SpillDirectory | None = None

    @property
    def kept(self) -> dict[int, bool]:
        """The numbers of the states, in ascending order, and whether they are on disk."""
        return {i: isinstance(s, _OnDisk) for i, s in sorted(self._states.items())}

    def put(self, kind: str, number: int, state: Sealed) -> None:
        """``kind``: store in memory or spill to disk."""
        if kind == STORE:
            self._states[number] = state
            return
        if self._directory is None:
            self._directory = SpillDirectory(self._parent)
        self._states[number] = _OnDisk(state, self._directory)

    def restore(self, number: int) -> Sealed:
        state = self._states[number]
        return state.load() if isinstance(state, _OnDisk) else state

    def drop(self, number: int) -> None:
        del self._states[number]

    def reset(self) -> None:
        """Forget all but the initial state; another pull starts from there."""
        self._states = {0: self.first}
        if self._directory is not None:
            self._directory.close()
            self._directory = None


class _OnDisk:
    """A state whose plain arrays are in a file; the rest stays where it is.

    Inside nested transforms the values are tensors of an outer tape, which holds them anyway.
    """

    def __init__(self, state: Sealed, directory: SpillDirectory) -> None:
        values = state.values()
        self._which = [i for i, x in enumerate(values) if _is_plain(x)]
        self._arrays = directory.write([values[i] for i in self._which])
        self._rest = state.with_values([None if _is_plain(x) else x for x in values])

    def load(self) -> Sealed:
        values = self._rest.values()
        for i, array in zip(self._which, self._arrays.read(), strict=True):
            values[i] = array
        return self._rest.with_values(values)


def _is_plain(x: Any) -> bool:
    if type(x) is np.ndarray:
        return x.dtype.kind in "biufc"
    return hasattr(x, "__cuda_array_interface__")
