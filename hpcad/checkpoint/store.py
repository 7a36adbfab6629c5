"""The checkpoints of one run: save, find the newest whole one, keep the last few."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.checkpoint.disk import DISK, Disk
from hpcad.checkpoint.find import find_checkpoints
from hpcad.checkpoint.reading.reader import Checkpoint
from hpcad.checkpoint.restoring.restore import restore, restore_newest
from hpcad.checkpoint.saving.background import Worker
from hpcad.checkpoint.saving.commit import Commit, Saved
from hpcad.checkpoint.saving.part_layout import PartLayout
from hpcad.checkpoint.saving.part_writer import Ring, Written, copied, streamed, write_part
from hpcad.checkpoint.saving.plan import Plan, make_plan
from hpcad.checkpoint.saving.second_buffer import SecondBuffer, require_finite
from hpcad.checkpoint.slices import SMALLEST_PART, Arrays, Piece, values
from hpcad.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator


class CheckpointStore:
    """Checkpoints in a directory; every method but `reclaim` is called by all ranks together.

    Every rank writes its share of the state, so all of them must see the directory. A checkpoint
    is there for all ranks or for none, and a failure of one rank is raised on all of them.

    Parameters
    ----------
    directory : path
        Where the directories ``step-00000123`` lie; made by the first save.
    keep : int
        How many of the newest checkpoints survive a save; at least 2, so that a damaged newest
        one never is the last one.
    communicator : Communicator, optional
        Left out in a program of one process.
    disk : Disk, optional
        Carries out everything that saving does to the file system.
    smallest_part : int
        Bytes that a rank writes at least, if there are as many; with fewer, only some ranks write.

    Attributes
    ----------
    waits : int
        How often a save had to wait for the one before it.

    Raises
    ------
    ConfigError
        `keep` is less than 2.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        keep: int = 2,
        communicator: Communicator | None = None,
        disk: Disk = DISK,
        smallest_part: int = SMALLEST_PART,
    ) -> None:
        if keep < 2:
            raise ConfigError(
                f"keep must be at least 2, not {keep}: with one checkpoint, damage to it is the "
                "end of the run"
            )
        if communicator is None:
            from hpcad.parallel.serial import SerialCommunicator

            communicator = SerialCommunicator()
        self.directory = Path(directory)
        self.keep = keep
        self.waits = 0
        self._communicator = communicator
        self._disk = disk
        self._smallest_part = smallest_part
        self._layout: PartLayout | None = None
        self._buffer: SecondBuffer | None = None
        self._ring = Ring()
        self._worker = Worker()
        self._commit: Commit | None = None
        self._rooted = False  # whether the name of the directory is on the disk
        self._saved: deque[Saved] = deque()

    def save(
        self,
        step: int,
        arrays: Arrays,
        state: Mapping[str, Any],
        *,
        wait: bool = True,
        lent: Collection[str] = (),
        finite: Collection[str] = (),
    ) -> Path:
        """Save the checkpoint of `step`, and remove what is older than the newest `keep`.

        All parts are on the disk before the manifest makes them a checkpoint, and it is on the
        disk before anything older is removed. Checkpoints of *later* steps belong to a future that
        this run has left (it went back to an older checkpoint): they are renamed to
        ``*.superseded``. Where an earlier save has not ended, it is waited for.

        Parameters
        ----------
        step : int
            Optimizer steps done; >= 0.
        arrays : mapping
            Name ("parameters/fc1.weight") -> array that is the same on all ranks, or the
            :class:`~hpcad.checkpoint.Slice` of this rank.
        state : mapping
            JSON values. Only those of rank 0 are used.
        wait : bool
            False: copy the arrays and return; the rest happens beside what follows. Then
            :meth:`poll` has to be called once a step, and :meth:`drain` in the end.
        lent : collection of str
            With ``wait=False``: names of arrays that the caller does not change before
            :meth:`reclaim` has returned. They are copied in the background.
        finite : collection of str
            Names of arrays that are refused when a number in them is not finite.

        Returns
        -------
        Path
            Of the checkpoint. With ``wait=False`` it is there when :meth:`poll` has said so.

        Raises
        ------
        CheckpointError
            On all ranks, when the file system refuses (disk full, no permission, ...) or an array
            or the state cannot be stored. Older checkpoints are as they were.
        """
        began = time.perf_counter()
        if self._commit is not None:
            self.waits += 1
            self._finish()
        plan = make_plan(self._communicator, step, arrays, state, self._smallest_part)
        share = plan.shares[self._communicator.rank]
        self._commit = commit = self._new_commit(plan, share, began)
        if wait:
            self._write_now(commit, arrays, share, finite)
        else:
            self._write_later(commit, arrays, share, lent, finite)
        commit.held += time.perf_counter() - began
        if wait:
            self._finish()
        return commit.directory

    def poll(self) -> Saved | None:
        """Bring a save that is under way forward; return what has ended since the last call.

        Costs nothing when no save is under way, and one very small reduction otherwise.

        Raises
        ------
        CheckpointError
            On all ranks: the save has failed; see :meth:`save`.
        """
        if self._commit is not None:
            self._advance(wait=False)
        return self._saved.popleft() if self._saved else None

    def reclaim(self) -> None:
        """Return when arrays that were lent may be changed again. Not collective."""
        if self._commit is not None and self._buffer is not None:
            began = time.perf_counter()
            self._buffer.wait_copied()
            self._commit.held += time.perf_counter() - began

    def drain(self) -> Saved | None:
        """Finish the save that is under way, if there is one, and return it.

        Raises
        ------
        CheckpointError
            On all ranks: it has failed; see :meth:`save`.
        """
        if self._commit is not None:
            self._finish()
        saved = self._saved[-1] if self._saved else None
        self._saved.clear()
        return saved

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint that verifies on all ranks, or None when there are none.

        A damaged one is skipped with a warning that names it.

        Raises
        ------
        CheckpointError
            There are checkpoints and all of them are damaged, or the newest cannot be opened.
        """
        return restore_newest(self.directory, self._communicator)

    def load(self, path: str | Path | None = None) -> Checkpoint:
        """Return the checkpoint at `path`, or the newest one that verifies.

        Raises
        ------
        CheckpointError
            It does not exist, is damaged, or was written by a newer hpcad.
        """
        if path is not None:
            return restore(Path(path), self._communicator)
        checkpoint = self.latest()
        if checkpoint is None:
            raise CheckpointError(f"there is no checkpoint in {self.directory}")
        return checkpoint

    def paths(self) -> list[Path]:
        """Return the checkpoints of the directory as this rank sees it, newest first."""
        return find_checkpoints(self.directory)

    # -- inside ---------------------------------------------------------------------------------

    def _new_commit(self, plan: Plan, share: Sequence[Piece], began: float) -> Commit:
        if share and (self._layout is None or self._layout.pieces != tuple(share)):
            self._layout, self._buffer = PartLayout(share), None
        layout = self._layout if share else None
        return Commit(
            self._communicator,
            self._disk,
            self.directory,
            plan,
            layout,
            self.keep,
            began,
            rooted=self._rooted,
        )

    def _write_now(
        self, commit: Commit, arrays: Arrays, share: Sequence[Piece], finite: Collection[str]
    ) -> None:
        sources: list[np.ndarray] = []

        def prepare() -> None:
            sources.extend(values(arrays, share))
            require_finite(share, sources, finite)

        def write(path: Path) -> Written:
            layout = self._require_layout()
            return write_part(self._disk, path, layout, streamed(layout, sources, self._ring))

        commit.start(prepare, write, None)

    def _write_later(
        self,
        commit: Commit,
        arrays: Arrays,
        share: Sequence[Piece],
        lent: Collection[str],
        finite: Collection[str],
    ) -> None:
        if not share:
            commit.start(_nothing, _no_part, self._worker)
            return
        try:
            buffer = self._buffer = self._buffer or SecondBuffer(self._require_layout())
            names = set(lent)
            indices = [index for index, piece in enumerate(share) if piece.name in names]
            buffer.take(values(arrays, share), indices)
        except Exception as error:  # noqa: BLE001  # the other ranks must hear of any
            commit.start(_raiser(error), _no_part, None)
            return

        def prepare() -> None:
            buffer.copy_lent()
            buffer.require_finite(finite)

        def write(path: Path) -> Written:
            return write_part(self._disk, path, buffer.layout, copied(buffer.image))

        commit.start(prepare, write, self._worker)

    def _require_layout(self) -> PartLayout:
        assert self._layout is not None  # made by _new_commit for every share
        return self._layout

    def _advance(self, *, wait: bool) -> None:
        commit = self._commit
        assert commit is not None  # asked by all callers
        began = time.perf_counter()
        try:
            saved = commit.advance(wait=wait)
        except BaseException:
            self._commit = None
            raise
        commit.held += time.perf_counter() - began
        if saved is not None:
            self._commit, self._rooted = None, True
            # The call that ends it holds the step as well.
            self._saved.append(replace(saved, held_seconds=commit.held))

    def _finish(self) -> None:
        while self._commit is not None:
            self._advance(wait=True)


def _nothing() -> None:
    """Prepare nothing."""


def _no_part(path: Path) -> Written:
    return Written(0, (), 0.0)


def _raiser(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail
