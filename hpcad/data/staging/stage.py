"""Staging: copying a dataset to the nodes' own disks or memories before a job reads it.

The shared file system gives every byte once, whatever the number of nodes; the nodes exchange the
rest. A copy gets its final name when it is complete, was compared with the manifest, and can be
found again by its record. How the work is divided stands in :mod:`hpcad.data.staging.plan`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hpcad.data.staging.source import told_source
from hpcad.data.staging.staged import Staged
from hpcad.data.staging.work import StageWork
from hpcad.errors import DataError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator

SHARES = ("all", "part")


def stage(
    dataset: str | os.PathLike[str],
    to: str | os.PathLike[str],
    communicator: Communicator,
    node: int | None = None,
    *,
    share: str = "all",
    keep: bool = True,
    sync: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Staged:
    """Copy a packed dataset to storage of each node. Collective.

    Parameters
    ----------
    dataset
        Its directory, which all ranks see, or its ``builtin:`` name.
    to
        A directory on each node, made if need be, in which the copy gets a directory of its own.
        Variables such as ``$TMPDIR`` are filled in on each node, by its first rank. ``"auto"``
        takes the first of :data:`~hpcad.data.staging.room.PLACES` with enough room.
    communicator
    node
        Number of this rank's node; that of :func:`hpcad.parallel.init` when left out.
    share
        ``"all"``: every node gets all shards. ``"part"``: each gets its part of them, and links to
        the others, so that any sample can be read: for sets larger than a node's disk.
    keep
        False removes the copy when the job ends, or the block of a ``with``. A copy that was there
        before stays.
    sync
        Flush the copy to the disk, so that it survives a power cut. Without it, too, a copy is
        compared again before it is used.
    progress
        Called on rank 0 with a line after each part of the work.

    Returns
    -------
    Staged
        A path, which :func:`~hpcad.data.open_dataset` takes.

    Raises
    ------
    DataError
        On every rank: the dataset is missing or damaged, a node cannot write or has too little
        room (:class:`~hpcad.data.staging.room.NoRoomError`), or something else is in the way. What
        was copied completely stays for the next try, unless ``keep`` is False.
    """
    if share not in SHARES:
        raise DataError(f"share={share!r} is unknown; it is 'all' or 'part'")
    began = time.perf_counter()
    source = told_source(dataset, communicator)
    number = node_number(communicator) if node is None else node
    work = StageWork(source, communicator, number, share == "all", keep, sync)
    try:
        work.find(to)
        read, copied = work.copy(progress)
    except BaseException:
        if work.leads:
            work.mine.give_up()
        raise
    seconds = time.perf_counter() - began
    removes = work.leads and work.mine.removes
    return Staged(work.mine.found.folder, copied, read, seconds, communicator, removes)


def node_number(communicator: Communicator) -> int:
    """The number of this rank's node, in the world that it belongs to."""
    if communicator.size == 1:
        return 0
    from hpcad.parallel import init  # only now: a process of its own needs no MPI

    return init().node
