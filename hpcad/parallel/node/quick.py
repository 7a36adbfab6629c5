"""Reductions of a few numbers within a node: as quick as Python allows (``quick.c``)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mpi4py import MPI

from hpcad.backend.native.library import load
from hpcad.parallel.node.board import AHEAD, Board
from hpcad.parallel.node.window import SharedWindow, address
from hpcad.parallel.record import Call

# Bytes of a reduction. Every rank reads those of all, so with many ranks only short ones pay.
_OF_ALL, _LEAST, _MOST = 1 << 16, 1 << 12, 1 << 15
DONE, REFUSED = 0, 3
KNOWN = 1024  # kinds of calls that are remembered
_OPS = ("sum", "prod", "max", "min")
KINDS = {
    (dtype, op): 4 * i + j
    for i, dtype in enumerate(("float32", "float64", "int32", "int64"))
    for j, op in enumerate(_OPS)
}


class _Group(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("board", "slots", "numbers")),
        *((name, ctypes.c_long) for name in ("ranks", "mine", "slot_bytes", "number", "finished")),
    ]


class _Plan(ctypes.Structure):
    _fields_: ClassVar = [
        ("group", ctypes.c_void_p),
        ("print", ctypes.c_int64),
        *((name, ctypes.c_long) for name in ("kind", "count", "nbytes")),
    ]


class Plan:
    """One kind of call.

    Attributes
    ----------
    call : Call
    run : callable
        Takes part in the next call of the communicator with an array of the plan's dtype and
        shape: :data:`DONE`; or :data:`REFUSED`, an array that is not contiguous or not writable,
        and nothing has happened; or else a request has to do it, under the same number.
    """

    __slots__ = ("_struct", "call", "run")

    def __init__(
        self, call: Call, routine: Any, group: _Group, kind: int, count: int, nbytes: int
    ) -> None:
        self.call = call
        self._struct = _Plan(ctypes.addressof(group), call.code, kind, count, nbytes)
        self.run: Callable[[np.ndarray | None], int] = routine(ctypes.addressof(self._struct))


class Quick:
    """Slots of all ranks of a node, and the routine that reduces them.

    Collective.

    Parameters
    ----------
    comm : MPI.Intracomm
        The ranks of a node.
    board : Board
        Of the same ranks.

    Attributes
    ----------
    slot : int
        Bytes that a reduction may have; longer ones are worth a request.
    """

    def __init__(self, comm: MPI.Intracomm, board: Board) -> None:
        self.slot = min(max(_OF_ALL // comm.Get_size() & ~63, _LEAST), _MOST)
        self._window = SharedWindow(comm, AHEAD * self.slot)
        self._numbers = np.zeros(self.slot // 8, np.float64)
        blocks = self._window.blocks
        pointers = ctypes.c_void_p * len(blocks)
        self._board = pointers(*map(address, board.table))
        self._slots = pointers(*map(address, blocks))
        self._group = _Group(
            ctypes.addressof(self._board),
            ctypes.addressof(self._slots),
            address(self._numbers),
            *(len(blocks), comm.Get_rank(), self.slot, 0, 0),
        )
        self._routine = _routine()
        self._agreements: dict[Call, Plan] = {}

    def take_number(self) -> int:
        """Count a call that a request takes up."""
        number: int = self._group.number
        self._group.number = number + 1
        return number

    def plan(self, call: Call, op: str, array: np.ndarray) -> Plan | None:
        """How to reduce arrays like this one; None where there is no routine for them."""
        kind = KINDS.get((array.dtype.name, op))
        if kind is None or self._routine is None or array.nbytes > self.slot:
            return None
        return Plan(call, self._routine, self._group, kind, array.size, array.nbytes)

    def agree(self, call: Call) -> bool:
        """Whether all ranks have stated this call; if not, a request has to wait for them."""
        if self._routine is None:
            return False
        plan = self._agreements.get(call)
        if plan is None:
            if len(self._agreements) >= KNOWN:
                self._agreements.clear()
            plan = Plan(call, self._routine, self._group, -1, 0, 0)
            self._agreements[call] = plan
        return plan.run(None) == DONE

    def views(self, number: int, array: np.ndarray) -> list[np.ndarray]:
        """The slots of all ranks for a call, as flat arrays like this one."""
        return self._window.views(number % AHEAD * self.slot, array.dtype, array.size)


@functools.cache
def _routine() -> Any:
    library = load(Path(__file__).with_name("quick.c").read_text(), "quick")
    if library is None:
        return None
    # It holds Python's lock, for some microseconds at most: to give it away costs as much.
    try:
        routine = ctypes.PyDLL(library._name).hp_quick
    except OSError:  # an interpreter that hides its C functions
        return None
    routine.argtypes, routine.restype = (ctypes.c_void_p,), ctypes.py_object
    return routine
