"""A program for a device is made ready before its first run, by all ranks together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcad.backend.device_backend import DeviceBackend
from hpcad.parallel.communicator import Communicator
from hpcad.program.compiled import Compiled
from hpcad.training.compilation import SharedCompilation
from hpcad.training.products import ProductChoices

CAPTURES = 2  # the second one is held against the first, and may lead to another program
ROUNDS = 3  # a form that was chosen may be the neighbour of what is chosen next


class Preparation:
    """What precedes the first full batches of a run on a device. Its calls are collective.

    Parameters
    ----------
    backend : DeviceBackend
    communicator : Communicator
    directory : Path or None
        Of the run.
    """

    def __init__(
        self, backend: DeviceBackend, communicator: Communicator, directory: Path | None
    ) -> None:
        self.choices = ProductChoices(backend, communicator, directory)
        self._together = SharedCompilation(communicator)
        self._recalled = False
        self._done = 0

    def recall(self) -> None:
        """Before the first step, also where that is eager: take what the run was begun with."""
        if not self._recalled:
            self._recalled = True
            self.choices.recall()

    def __call__(self, compiled: Compiled | None, arguments: tuple[Any, ...]) -> None:
        """Before a full batch: capture, compile, measure, and compile what was chosen.

        Parameters
        ----------
        compiled : Compiled or None
            None where steps are eager on this rank.
        arguments : tuple
            Of the call that comes next.
        """
        if self._done == CAPTURES:
            return
        self._done += 1
        self._compile(compiled, arguments)
        if self._done == 1:
            for _ in range(ROUNDS):
                if not self.choices.settle():
                    break
                if compiled is not None:
                    compiled.discard()
                self._compile(compiled, arguments)
            self.choices.tune(None if compiled is None else compiled.known)

    def _compile(self, compiled: Compiled | None, arguments: tuple[Any, ...]) -> None:
        with self._together:
            if compiled is not None:
                compiled.prepare(*arguments)
