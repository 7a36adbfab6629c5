"""Kernels for GPUs, compiled by one rank and sent to all that need the same.

A thousand ranks that look into one directory of a parallel file system, all miss, and all compile
and write, are a storm. Here the ranks say what they need, the first that needs a piece of code
makes it (or has it in its cache), and the others get it by MPI.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

import numpy as np

from hpcad.errors import DeviceError
from hpcad.parallel.communicator import Communicator
from hpcad.program.cuda.compile import exchanging

NAME = "compilation of kernels"


class SharedCompilation:
    """A stretch of a program, entered and left by all ranks, in which they compile together.

    Inside, each may need any number of pieces of code, or none: whoever is done goes on serving
    the others until all are. Nobody may communicate in other ways meanwhile.

    Parameters
    ----------
    communicator : Communicator

    Raises
    ------
    DeviceError
        On all ranks, where one could not compile; it names that rank. At the end of the stretch, if
        something inside has caught it.
    """

    def __init__(self, communicator: Communicator) -> None:
        self.communicator = communicator
        self._own: Exception | None = None  # why this rank cannot go on
        self._told: Exception | None = None  # what all ranks know by now
        self._inside: AbstractContextManager[None] | None = None

    def __enter__(self) -> SharedCompilation:
        self._own = self._told = None
        if self.communicator.size > 1:
            self._inside = exchanging(self)
            self._inside.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._inside is None:
            return
        self._inside.__exit__(kind, error, trace)
        self._inside = None
        if error is not None and not isinstance(error, Exception):
            return  # it ends the program, and the job
        if self._told is None:
            self._own = self._own or error
            self._serve_until_all_are_done()
        elif error is not self._told:
            raise self._told

    # -- what compilation asks ----------------------------------------------------------------

    def code(self, key: str, make: Callable[[], bytes]) -> bytes:
        """See :class:`~hpcad.program.cuda.compile.Exchange`."""
        return self._share(self._makers(key), key, make)[key]

    def failed(self, error: Exception) -> None:
        """See :class:`~hpcad.program.cuda.compile.Exchange`."""
        self._own = error

    # -- turns, in which all ranks take part --------------------------------------------------

    def _serve_until_all_are_done(self) -> None:
        while makers := self._makers(None):
            self._share(makers)

    def _makers(self, key: str | None) -> dict[str, int]:
        """The pieces of code that are needed now, each with the rank that makes it."""
        self._agree(self._own)
        makers: dict[str, int] = {}
        for rank, name in enumerate(self.communicator.gather_json(key, NAME)):
            if name is not None:
                makers.setdefault(name, rank)
        return makers

    def _share(
        self, makers: dict[str, int], key: str = "", make: Callable[[], bytes] = bytes
    ) -> dict[str, bytes]:
        """Make what is this rank's to make; send and receive all."""
        made, error, rank = b"", None, self.communicator.rank
        if makers.get(key) == rank:
            try:
                made = make()
            except Exception as caught:  # noqa: BLE001  (all raise it)
                error = DeviceError(f"{key} cannot be compiled: {caught}")
        self._agree(error)
        sizes = self.communicator.gather_json(len(made), NAME)
        found = {}
        for name, maker in makers.items():
            data = np.empty(sizes[maker], np.uint8)
            if maker == rank:
                data[:] = np.frombuffer(made, np.uint8)
            self.communicator.broadcast(data, maker, NAME)
            found[name] = data.tobytes()
        return found

    def _agree(self, error: Exception | None) -> None:
        try:
            self.communicator.agree(error, NAME)
        except Exception as told:
            self._told = told
            raise
