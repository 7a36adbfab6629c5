"""Restore a checkpoint on all ranks together, whatever the number of ranks that wrote it.

Rank 0 reads the manifest, and all ranks get it. Then each rank reads and verifies its share of the
slices; when all of them are whole, the ranks exchange what they read, so the file system gives
every byte once. When one is not, all ranks know, and go on to the next older checkpoint together.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hpcad.checkpoint.find import find_checkpoints
from hpcad.checkpoint.format import DamagedCheckpointError
from hpcad.checkpoint.reading.opening import check_memory
from hpcad.checkpoint.reading.reader import Checkpoint
from hpcad.checkpoint.restoring.contents import Contents, common_contents
from hpcad.checkpoint.restoring.distribution import share
from hpcad.checkpoint.restoring.together import from_root, on_all
from hpcad.errors import CheckpointError
from hpcad.parallel.communicator import Communicator

log = logging.getLogger(__name__)

Wanted = Mapping[str, tuple[int, int]]


def restore_newest(
    directory: str | Path,
    communicator: Communicator,
    *,
    patterns: Sequence[str] | None = None,
    wanted: Wanted | None = None,
) -> Checkpoint | None:
    """Return the newest checkpoint of a directory that is whole on all ranks, or None.

    One that is damaged on any rank is skipped on all, with one line in the log of rank 0.

    Parameters
    ----------
    directory, communicator, patterns, wanted
        As for :func:`restore`.

    Raises
    ------
    CheckpointError
        On all ranks: there are checkpoints and all of them are damaged, or the newest one cannot
        be opened.
    """
    found = from_root(
        communicator, lambda: [p.name for p in find_checkpoints(Path(directory))], "checkpoints"
    )
    for name in found:
        try:
            return restore(Path(directory) / name, communicator, patterns=patterns, wanted=wanted)
        except DamagedCheckpointError as error:
            if communicator.rank == 0:
                log.warning("skipped: %s", error)
    if found:
        raise CheckpointError(
            f"none of the {len(found)} checkpoints in {directory} verifies "
            "(`hpcad ckpt verify` says why); start afresh with another directory"
        )
    return None


def restore(
    path: str | Path,
    communicator: Communicator,
    *,
    patterns: Sequence[str] | None = None,
    wanted: Wanted | None = None,
) -> Checkpoint:
    """Return the checkpoint at `path` on all ranks; collective.

    Parameters
    ----------
    path
        A checkpoint; that of rank 0 counts.
    communicator
        Any number of ranks.
    patterns
        Which arrays, as in a shell (``"parameters/*"``; ``*`` stands for ``/`` as well); the same
        on all ranks. By default all arrays; others are neither read nor verified.
    wanted
        Of these arrays this rank gets only a slice, as a flat array: name -> (start, count), in
        elements. Another slice on every rank, as a sharded state needs it. A rank reads slices
        of the file that it touches as a whole, so that it can verify them.

    Raises
    ------
    DamagedCheckpointError
        On all ranks, with the reason of the first rank that found one.
    CheckpointError
        On all ranks: it does not exist, may not be read, does not fit into memory, was written by
        a newer hpcad, or a pattern or a wanted slice is not in it.
    """
    path = Path(path)
    contents = common_contents(path, communicator).select(patterns)
    own = dict(wanted or {})
    sharded: set[str] = set().union(*communicator.gather_json(sorted(own), name="wanted slices"))
    arrays: dict[str, np.ndarray] = {}
    data: dict[str, np.ndarray] = {}
    direct = sharded if contents.manifest is not None else set()
    runs = [run for run in contents.runs(communicator.size) if run.array not in direct]

    def read() -> None:
        _check_wanted(contents, own, sharded)
        arrays.update(_allocate(contents, {n: own[n] for n in own if n in direct}))
        data.update({name: _flat_bytes(array) for name, array in arrays.items()})
        contents.read([run for run in runs if run.reader == communicator.rank], data)
        contents.read_slices({n: own.get(n, (0, 0))[0] for n in sorted(direct)}, data)

    on_all(communicator, path, read, "checkpoint restore")
    share(runs, data, communicator)
    for name in own.keys() - direct:
        start, count = own[name]
        arrays[name] = arrays[name].reshape(-1)[start : start + count].copy()
    return Checkpoint(path, contents.step, arrays, contents.state)


def _check_wanted(contents: Contents, wanted: Wanted, sharded: set[str]) -> None:
    sizes = {spec.name: spec.size for spec in contents.arrays}
    if missing := sorted(sharded - sizes.keys()):
        raise CheckpointError(f"does not hold {missing[0]!r}, of which a slice is wanted")
    for name, (start, count) in wanted.items():
        if not 0 <= start <= start + count <= sizes[name]:
            raise CheckpointError(
                f"holds {sizes[name]} elements of {name!r}; it has no slice of {count} elements "
                f"from {start} on"
            )


def _allocate(contents: Contents, slices: Wanted) -> dict[str, np.ndarray]:
    """Return uninitialised arrays. The parts were found to be as long as they must be."""
    shapes = {
        s.name: (slices[s.name][1],) if s.name in slices else s.shape for s in contents.arrays
    }
    dtypes = {spec.name: np.dtype(spec.dtype) for spec in contents.arrays}
    check_memory(sum(math.prod(shape) * dtypes[name].itemsize for name, shape in shapes.items()))
    return {name: np.empty(shape, dtypes[name]) for name, shape in shapes.items()}


def _flat_bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)
