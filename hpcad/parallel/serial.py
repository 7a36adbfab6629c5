"""One process that is its own world. Needs no MPI library."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn

import numpy as np

from hpcad.backend import get_backend
from hpcad.parallel.buffer import flat_view, reducible
from hpcad.parallel.door import Door
from hpcad.parallel.payload import encode
from hpcad.parallel.serial_exchanges import SerialExchanges


class FinishedRequest:
    """A reduction that ended before it was asked for."""

    def test(self) -> bool:
        """Return true."""
        return True

    def wait(self) -> None:
        """Return at once."""


class SerialCommunicator(SerialExchanges):
    """A communicator of size 1: checks what it is given as the others do, and moves nothing."""

    kind = "serial"
    rank = 0
    size = 1

    def __init__(self, label: str = "serial") -> None:
        super().__init__()
        self._door = Door(label)
        self._messages = Door(f"messages of {label}")

    def barrier(self, name: str = "") -> None:
        """Return at once."""
        with self._door.enter("barrier", "", 0, name):
            pass

    def broadcast(self, array: np.ndarray, root: int = 0, name: str = "") -> None:
        """Leave ``array`` as it is."""
        flat = flat_view(array, "broadcast")
        with self._door.enter("broadcast", flat.dtype.str, flat.size, name, f"from {root}"):
            pass

    def allreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> None:
        """Leave ``array`` as it is."""
        flat = reducible(array, op, "allreduce")
        with self._door.enter("allreduce", flat.dtype.str, flat.size, name, op):
            pass

    def iallreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> FinishedRequest:
        """Leave ``array`` as it is; the request is complete."""
        flat = reducible(array, op, "iallreduce")
        with self._door.enter("iallreduce", flat.dtype.str, flat.size, name):
            return FinishedRequest()

    def broadcast_json(self, value: Any, root: int = 0, name: str = "") -> Any:
        """Return ``value`` as JSON gives it back."""
        text = encode(value)
        with self._door.enter("broadcast_json", "json", len(text), name):
            return json.loads(text)

    def gather_json(self, value: Any, name: str = "") -> list[Any]:
        """Return ``[value]`` as JSON gives it back."""
        text = encode(value)
        with self._door.enter("gather_json", "json", len(text), name):
            return [json.loads(text)]

    def allocate(self, nbytes: int) -> np.ndarray:
        """Return ``nbytes`` zeroed, 64-byte aligned bytes."""
        return get_backend("cpu").allocate(nbytes)

    def abort(self, code: int = 1) -> NoReturn:
        """End this process with exit code ``code``, without clean-up."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def agree(self, error: BaseException | None, name: str = "") -> None:
        """Raise ``error`` if there is one."""
        if error is not None:
            raise error
