"""Two-phase commit: a checkpoint is there when all parts are on the disk, and not before.

First every rank writes its part, and all learn whether all succeeded; then rank 0 publishes the
manifest. A save moves through its stages in :meth:`Commit.advance`, which all ranks call together,
and which never waits unless it is told to; what takes long runs in a :class:`~.background.Job`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad import __version__
from hpcad.checkpoint.disk import Disk
from hpcad.checkpoint.find import has_manifest
from hpcad.checkpoint.format import MANIFEST_NAME, directory_name, part_name
from hpcad.checkpoint.manifest import Manifest, PartSpec
from hpcad.checkpoint.saving.background import Job, Worker
from hpcad.checkpoint.saving.part_layout import PartLayout
from hpcad.checkpoint.saving.part_writer import Written
from hpcad.checkpoint.saving.plan import Plan
from hpcad.checkpoint.saving.prune import tidy
from hpcad.checkpoint.saving.publish import (
    flush_names,
    host_name,
    make_directories,
    make_step_directory,
    owner_name,
    point_to,
    publish,
)
from hpcad.errors import CheckpointError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator

log = logging.getLogger(__name__)

Write = Callable[[Path], Written]


@dataclass(frozen=True)
class Saved:
    """A checkpoint that is on the disk.

    Attributes
    ----------
    path : Path
        Its directory.
    step : int
    bytes : int
        Of all arrays, on all ranks.
    held_seconds : float
        For which this rank could do nothing else.
    write_seconds : float
        From the first byte to the end of `fsync`, on the slowest rank.
    seconds : float
        From the call of `save` until the checkpoint was published.
    """

    path: Path
    step: int
    bytes: int
    held_seconds: float
    write_seconds: float
    seconds: float

    def __str__(self) -> str:
        rate = self.bytes / self.write_seconds / 1e9 if self.write_seconds else 0.0
        return (
            f"checkpoint: held the step {1e3 * self.held_seconds:.1f} ms, written in "
            f"{1e3 * self.write_seconds:.0f} ms at {rate:.2f} GB/s"
        )


class Commit:
    """One save, on its way to the disk.

    Parameters
    ----------
    communicator, disk, root
        Of the store.
    plan : Plan
    layout : PartLayout or None
        Of this rank's part; None where it writes none.
    keep : int
        How many checkpoints the pruning leaves.
    began : float
        When the save was asked for, by `time.perf_counter`.
    rooted : bool
        The name of `root` is known to be on the disk.

    Attributes
    ----------
    held : float
        Seconds for which this rank did nothing else; whoever calls adds to them.
    """

    def __init__(
        self,
        communicator: Communicator,
        disk: Disk,
        root: Path,
        plan: Plan,
        layout: PartLayout | None,
        keep: int,
        began: float,
        *,
        rooted: bool,
    ) -> None:
        self._communicator, self._disk, self._root = communicator, disk, root
        self._plan, self._layout, self._keep = plan, layout, keep
        self._directory = root / directory_name(plan.step)
        self._part = self._directory / part_name(plan.nonce, communicator.rank)
        self._began, self._rooted = began, rooted
        self._stage: Callable[[], Saved | None] = self._after_writing
        self._job: Job[Any] = Job(lambda: None)
        self._worker: Worker | None = None
        self._published = False
        self._write_seconds = 0.0
        self.held = 0.0

    @property
    def directory(self) -> Path:
        """Where the checkpoint will be."""
        return self._directory

    def start(self, prepare: Callable[[], None], write: Write, worker: Worker | None) -> None:
        """Write this rank's part: now, or beside what follows.

        Parameters
        ----------
        prepare : callable
            Done first.
        write : callable
            Writes the part to a path; not called where there is none.
        worker : Worker or None
            Who does it, and what follows; None: the caller.
        """

        def work() -> Written:
            prepare()
            return self._write(write)

        self._worker = worker
        self._job = Job(work)
        self._job.start(worker)

    def advance(self, *, wait: bool) -> Saved | None:
        """Take the next stage if all ranks are ready for it; collective.

        Parameters
        ----------
        wait : bool
            Wait for this rank's own work first.

        Returns
        -------
        Saved or None
            When the checkpoint is on the disk.

        Raises
        ------
        CheckpointError
            On all ranks: one of them failed. What the save had written is removed again, and
            older checkpoints are as they were.
        """
        if wait:
            self._job.wait()
        ready = self._job.done
        if self._communicator.size > 1:  # a poll of one process costs nothing at all
            together = np.array([ready], np.int64)
            self._communicator.allreduce(together, "min", "checkpoint stage")
            ready = bool(together[0])
        return self._stage() if ready else None

    # -- first phase: the parts -----------------------------------------------------------------

    def _write(self, write: Write) -> Written:
        make_directories(self._disk, self._root)
        root = self._communicator.rank == 0
        if root and not self._rooted:
            flush_names(self._disk, self._root)
        make_step_directory(self._disk, self._directory, self._plan.nonce, owner=root)
        return write(self._part) if self._layout is not None else Written(0, (), 0.0)

    def _after_writing(self) -> None:
        written = self._job.result or Written(0, (), 0.0)
        report = {
            "failed": self._job.error is not None,
            "bytes": written.bytes,
            "checksums": written.checksums,
            "offsets": self._layout.offsets if self._layout else [],
            "seconds": written.seconds,
            "host": host_name(),
        }
        reports = self._communicator.gather_json(report, name="checkpoint parts")
        self._require_all(any(report["failed"] for report in reports), published=False)
        self._write_seconds = max(report["seconds"] for report in reports)
        self._stage = self._after_commit
        if self._communicator.rank == 0:
            self._job = Job(lambda: self._commit(reports))
            self._job.start(self._worker)

    # -- second phase: the manifest -------------------------------------------------------------

    def _commit(self, reports: Sequence[Mapping[str, Any]]) -> None:
        """Publish the checkpoint; older ones may go only after that."""
        manifest = self._manifest(reports)
        try:
            publish(self._disk, self._root, manifest)
        finally:
            # Published and not flushed: it may be there after a crash, so its parts have to be.
            self._published = self._is_in_place(manifest)
        try:
            point_to(self._disk, self._root, manifest)
        except OSError as error:
            log.warning("cannot name the newest checkpoint in %s: %s", self._root, error)
        tidy(self._disk, self._root, self._directory, self._plan.nonce, self._keep)

    def _manifest(self, reports: Sequence[Mapping[str, Any]]) -> Manifest:
        plan = self._plan
        return Manifest(
            step=plan.step,
            nonce=plan.nonce,
            world_size=self._communicator.size,
            written=datetime.now(UTC).isoformat(timespec="seconds"),
            hosts=tuple(dict.fromkeys(report["host"] for report in reports)),
            hpcad=__version__,
            state=plan.state,
            arrays=plan.specs(
                [report["offsets"] for report in reports],
                [report["checksums"] for report in reports],
            ),
            parts=tuple(
                PartSpec(part_name(plan.nonce, rank), report["bytes"])
                for rank, report in enumerate(reports)
                if report["bytes"]
            ),
        )

    def _after_commit(self) -> Saved:
        report = {"failed": self._job.error is not None, "published": self._published}
        reports = self._communicator.gather_json(report, name="checkpoint commit")
        failed = any(report["failed"] for report in reports)
        self._require_all(failed, published=reports[0]["published"])
        return Saved(
            path=self._directory,
            step=self._plan.step,
            bytes=self._plan.nbytes,
            held_seconds=self.held,
            write_seconds=self._write_seconds,
            seconds=time.perf_counter() - self._began,
        )

    def _is_in_place(self, manifest: Manifest) -> bool:
        """Whether the manifest has its name, however publishing ended."""
        try:
            return (self._directory / MANIFEST_NAME).read_bytes() == manifest.encode()
        except FileNotFoundError:
            return False
        except OSError:
            return True  # nobody knows, so its parts stay

    # -- failure --------------------------------------------------------------------------------

    def _require_all(self, failed: bool, *, published: bool) -> None:
        """Where a rank failed, undo the save and raise on all of them."""
        if not failed:
            return
        if not published:
            self._undo()
        self._communicator.agree(self._failure(), name="checkpoint save")

    def _undo(self) -> None:
        with contextlib.suppress(OSError):
            self._disk.unlink(self._part)
        self._communicator.barrier("checkpoint undo")
        if self._communicator.rank == 0:
            with contextlib.suppress(OSError):
                self._disk.unlink(self._directory / owner_name(self._plan.nonce))
            if not has_manifest(self._directory):
                with contextlib.suppress(OSError):
                    self._disk.rmdir(self._directory)

    def _failure(self) -> BaseException | None:
        """This rank's failure, as the one class that all ranks can raise."""
        error = self._job.error
        if error is None or not isinstance(error, Exception):
            return error  # Ctrl-C stays what it is
        if isinstance(error, CheckpointError):
            found = CheckpointError(str(error))
        else:
            found = CheckpointError(self._refusal(error))
        found.__cause__ = error
        return found

    def _refusal(self, error: BaseException) -> str:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        message = f"cannot save the checkpoint of step {self._plan.step} in {self._root}: {reason}"
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            message += f" ({self._plan.nbytes / 1e6:.1f} MB needed"
            with contextlib.suppress(OSError):
                message += f", {shutil.disk_usage(self._root).free / 1e6:.1f} MB free"
            message += "); make room or set [output] directory to another file system"
        return f"{message}; older checkpoints are untouched"
