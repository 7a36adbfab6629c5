"""Mistakes that a device notices: indices and labels that mean nothing.

A step cannot stop to look at its labels: that would synchronise. So kernels count what is wrong in
a few numbers in device memory; they are sent to the host behind every run, and looked at when they
have arrived.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.errors import ShapeError
from hpcad.program.device.pinned import Pinned
from hpcad.program.instruction import Instruction
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

MOST = 64  # steps that can complain


class Faults:
    """The numbers in which steps of a program complain.

    Parameters
    ----------
    xp : module
        CuPy, or the strict device.
    """

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._counts = xp.zeros(MOST, np.int64)
        self._what: list[str] = []
        self._slot: Pinned | None = None

    def address(self, instruction: Instruction, what: str) -> int:
        """Return the address of an int64, 0 as long as nothing is wrong; 0 where all are taken."""
        if len(self._what) == MOST:
            return 0
        self._what.append(f"{what} (at {instruction.line})")
        return self._counts.data.ptr + 8 * (len(self._what) - 1)

    def send(self) -> None:
        """Send the numbers to the host, behind the work of the current stream."""
        if not self._what:
            return
        if self._slot is None:
            self._slot = Pinned(self.xp, (MOST,), np.int64)
        elif not self._slot.idle:
            return  # those of the run before are still on their way
        stream = self.xp.cuda.get_current_stream()
        self._counts.get(stream=stream, out=self._slot.array, blocking=False)
        self._slot.copied(stream)

    def check(self, *, wait: bool = False) -> None:
        """Raise if something was wrong in a run whose numbers have arrived.

        Parameters
        ----------
        wait : bool
            Wait for those of the last run.

        Raises
        ------
        ShapeError
            Names the step and the user's line.
        """
        if self._slot is None:
            return
        if wait:
            self._slot.wait()
            self.send()
            self._slot.wait()
        elif not self._slot.idle:
            return
        if self._slot.array.any():
            i = int(np.flatnonzero(self._slot.array)[0])
            raise ShapeError(f"{self._what[i]}; found on the device after the step had begun")


def outside_kernel(size: int, dtype: str, classes: int) -> Kernel:
    """Adds to a number how many of ``size`` integers lie outside of ``[0, classes)``."""
    nodes = (
        Node("load", (), dtype, 0),
        Node("literal", (), dtype, 0),
        Node("less", (0, 1), "bool"),
        Node("literal", (), dtype, classes),
        Node("greater_equal", (0, 3), "bool"),
        Node("logical_or", (2, 4), "bool"),
        Node("cast", (5,), "int64"),
    )
    operands = (Operand(dtype, (1,)), Operand("int64", (0,)))
    return Kernel((size,), operands, (), nodes, (Store(6, 1, "sum", accumulate=True),))
