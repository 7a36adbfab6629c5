"""A finished stage, as a path that knows what it cost and when it is to go."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hpcad.data.inspect import format_bytes
from hpcad.data.staging.record import read_record, remove_stage

if TYPE_CHECKING:
    from hpcad.parallel import Communicator


class Staged(os.PathLike[str]):
    """A copy of a dataset on this node: give it to :func:`~hpcad.data.open_dataset` as a path.

    Used in a ``with`` statement, it removes what is not to be kept when the block ends (all ranks
    must come there); otherwise that is done when the process ends.

    Attributes
    ----------
    path : Path
        The directory; each node has its own.
    node_bytes : int
        Bytes that were copied to a node in this call, on average over the nodes.
    read_bytes : int
        Bytes that all ranks together read from the shared file system.
    seconds : float
        Time that the call took.
    """

    def __init__(
        self,
        path: Path,
        node_bytes: int,
        read_bytes: int,
        seconds: float,
        communicator: Communicator,
        remove: bool,
    ) -> None:
        self.path, self.seconds = path, seconds
        self.node_bytes, self.read_bytes = node_bytes, read_bytes
        self._communicator, self._remove, self._process = communicator, remove, os.getpid()
        if remove:
            atexit.register(self.remove)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"<stage {self.path}: {self.describe()}>"

    def describe(self) -> str:
        """What was copied, and how fast."""
        if not self.read_bytes:
            return f"was there already, compared in {self.seconds:.2f} s"
        speed = format_bytes(self.node_bytes / max(self.seconds, 1e-9))
        return (
            f"{format_bytes(self.node_bytes)} a node in {self.seconds:.2f} s ({speed}/s), "
            f"{format_bytes(self.read_bytes)} read from the shared file system"
        )

    def remove(self) -> None:
        """Remove the copy from this node, if this process is the one that is to remove it."""
        atexit.unregister(self.remove)
        if self._remove and self._process == os.getpid() and (record := read_record(self.path)):
            remove_stage(self.path, record)
        self._remove = False

    def __enter__(self) -> Staged:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._communicator.barrier(name="stage")  # others of this node may still be reading
        self.remove()
