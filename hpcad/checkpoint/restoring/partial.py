"""Take some arrays of a checkpoint for another purpose: fine-tuning, inference, another optimizer.

The names may differ by a mapping, and the dtypes with permission; nothing is guessed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpcad.checkpoint.format import MANIFEST_NAME
from hpcad.checkpoint.reading.reader import Checkpoint
from hpcad.checkpoint.restoring.conversion import convert
from hpcad.checkpoint.restoring.match import Expected, require_match
from hpcad.checkpoint.restoring.restore import restore, restore_newest
from hpcad.checkpoint.restoring.together import from_root
from hpcad.errors import CheckpointError
from hpcad.parallel.communicator import Communicator

PARAMETERS = ("parameters/*",)


def restore_partial(
    path: str | Path,
    expected: Expected | None = None,
    *,
    patterns: Sequence[str] = PARAMETERS,
    renames: Mapping[str, str] | None = None,
    allow_conversion: bool = False,
    communicator: Communicator | None = None,
) -> Checkpoint:
    """Return some arrays of a checkpoint, by the names and dtypes of another model.

    Only these arrays are read and verified. Collective.

    Parameters
    ----------
    path
        A checkpoint, or a directory of checkpoints, whose newest whole one is taken.
    expected
        What the model holds: name -> (shape, dtype). When it is given, the chosen arrays must be
        exactly these. Without it they are returned as they are.
    patterns
        Which arrays of the checkpoint, as in a shell (``*`` stands for ``/`` as well); by default
        all parameters and nothing of the optimizer.
    renames
        Name in the checkpoint -> name in the model. A name that ends with ``/`` or ``.`` is a
        prefix: ``{"parameters/encoder.": "parameters/body."}``. The longest one that fits counts.
    allow_conversion
        Whether an array may have another dtype than its parameter; it is then converted as
        :func:`.conversion.convert` does.
    communicator
        Left out in a program of one process.

    Raises
    ------
    CheckpointError
        On all ranks: as for :func:`.restore.restore`; or the arrays are not those of the model;
        or a new name is one that another array has, or no array has an old one.
    """
    if communicator is None:
        from hpcad.parallel.serial import SerialCommunicator

        communicator = SerialCommunicator()
    checkpoint = _restore(Path(path), communicator, patterns)
    arrays = rename(checkpoint.arrays, renames or {}, checkpoint.path)
    if expected is not None:
        if allow_conversion:
            arrays = {
                name: convert(name, array, expected[name][1]) if name in expected else array
                for name, array in arrays.items()
            }
        require_match(arrays, expected, checkpoint.path)
    return replace(checkpoint, arrays=arrays)


def rename(
    arrays: Mapping[str, np.ndarray], renames: Mapping[str, str], where: Path
) -> dict[str, np.ndarray]:
    """Return `arrays` under the names that `renames` gives them; see :func:`restore_partial`.

    Raises
    ------
    CheckpointError
        Two arrays would have one name, or an entry fits no array.
    """
    unused = set(renames)
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        old = _entry(name, renames)
        new = name if old is None else renames[old] + name[len(old) :]
        unused.discard(old or "")
        if new in found:
            raise CheckpointError(
                f"two arrays of checkpoint {where} would have the name {new!r}; "
                "give them different ones"
            )
        found[new] = array
    if unused:
        raise CheckpointError(
            f"checkpoint {where} holds no array {sorted(unused)[0]!r} that could be renamed"
        )
    return found


def _entry(name: str, renames: Mapping[str, str]) -> str | None:
    """Return the key of the entry that renames an array."""
    fitting = [
        key for key in renames if key == name or (key.endswith(("/", ".")) and name.startswith(key))
    ]
    return max(fitting, key=len, default=None)


def _restore(path: Path, communicator: Communicator, patterns: Sequence[str]) -> Checkpoint:
    if not from_root(communicator, lambda: _holds_checkpoints(path), "checkpoint or directory"):
        return restore(path, communicator, patterns=patterns)
    newest = restore_newest(path, communicator, patterns=patterns)
    if newest is None:
        raise CheckpointError(f"there is no checkpoint in {path}")
    return newest


def _holds_checkpoints(path: Path) -> bool:
    """Whether that is a directory that is no checkpoint itself."""
    return os.path.isdir(path) and not os.path.lexists(path / MANIFEST_NAME)
