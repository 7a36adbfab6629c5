"""A dataset: its manifest, and samples by their global number.

Metadata operations are few by design: rank 0 alone reads the manifest and asks for the shards'
sizes, and a rank opens a shard when it first needs a sample of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.data.builtin import resolve, synthetic
from hpcad.data.manifest.contents import FILE_NAME, FieldSpec, Manifest
from hpcad.data.manifest.reader import parse_manifest, read_manifest_json
from hpcad.data.shards.contiguous import check_target
from hpcad.data.shards.opening import check_file, check_verify
from hpcad.data.shards.rows import ShardRows
from hpcad.errors import DataError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator

# Below this many bytes in all, a rank compares the checksum of every shard when it first touches
# it (a tenth of a second per GB). Above it the user runs `hpcad data verify` once instead: reading
# a hundred terabytes on every rank before the first step would help nobody.
VERIFY_BYTES = 2**30


class Dataset:
    """Samples of named fields, in HDF5 shards with a manifest. Made by :func:`open_dataset`.

    Attributes
    ----------
    directory : pathlib.Path
        Where the shards lie.
    manifest : Manifest
        What was packed.
    fields : dict of str to FieldSpec
        Shape and dtype of each field of one sample, as :meth:`read` gives it.
    metadata : dict
        Class names, vocabulary and whatever else was packed with the data.
    hash : str
        Identity of what :meth:`read` gives: hexadecimal hash of the manifest (and of the window).
    """

    def __init__(self, directory: Path, manifest: Manifest, *, verify: bool | str) -> None:
        self.directory = directory
        self.manifest = manifest
        self.fields: dict[str, FieldSpec] = dict(manifest.fields)
        self.metadata: dict[str, Any] = manifest.metadata
        self.hash = manifest.hash
        self._rows = ShardRows(directory, manifest, verify)

    def __len__(self) -> int:
        return self.manifest.count

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}: {spec}" for name, spec in self.fields.items())
        return f"<{type(self).__name__} of {len(self)} samples in {self.directory} ({fields})>"

    def read(
        self, ids: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """The samples with the numbers ``ids``, in that order. Any number of threads may read.

        Parameters
        ----------
        ids
            Integers from 0 to ``len(self) - 1``, of shape ``(n,)``; n may be 0.
        out
            Where to put them: for every field a C-contiguous array of shape ``(n, *shape)`` and
            the field's dtype, so that memory can be used again. New arrays when left out. Of
            ragged fields nothing is needed, and nothing used.

        Returns
        -------
        dict of str to numpy.ndarray
            For every field an array of shape ``(n, *shape)`` and the field's dtype: those of
            ``out``, or new ones. A ragged field gives a :class:`~hpcad.data.ragged.Ragged`.

        Raises
        ------
        DataError
            If an id does not exist, ``out`` does not fit, or a shard is missing, cut short or
            damaged.
        """
        ids = self._checked(ids)
        targets = self._targets(len(ids), out)
        self._rows.read(ids, targets)
        for name, field in self.fields.items():
            if field.ragged:
                targets[name] = self._rows.read_ragged(name, ids)  # type: ignore[assignment]
        return targets

    @property
    def requests(self) -> int:
        """Requests to the operating system for samples so far."""
        return self._rows.reads

    def _checked(self, ids: np.ndarray) -> np.ndarray:
        ids = np.asarray(ids)
        if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise DataError(
                f"sample ids must be integers of shape (n,), not {ids.dtype} {ids.shape}"
            )
        if ids.size and (ids.min() < 0 or ids.max() >= len(self)):
            raise DataError(
                f"sample ids from {ids.min()} to {ids.max()} were asked for, but {self.directory} "
                f"has the samples 0 to {len(self) - 1}"
            )
        return ids.astype(np.int64, copy=False)

    def _targets(self, n: int, out: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        """Where ``n`` samples go: new arrays, or those of ``out`` if they fit."""
        fields = {name: field for name, field in self.fields.items() if not field.ragged}
        if out is None:
            return {name: np.empty((n, *f.shape), f.dtype) for name, f in fields.items()}
        if not set(fields) <= set(out) <= set(self.fields):
            raise DataError(
                f"out= has the fields {sorted(out)}, the dataset has {sorted(self.fields)}"
            )
        for name, field in fields.items():
            check_target(out[name], (n, *field.shape), field.dtype)
        return {name: out[name] for name in fields}


def open_dataset(
    path: str | os.PathLike[str],
    communicator: Communicator | None = None,
    window: int | None = None,
    *,
    stride: int = 1,
    verify: bool | str | None = None,
) -> Dataset:
    """Open a packed dataset; collective if a communicator is given.

    Parameters
    ----------
    path
        The directory with ``manifest.json``, or ``"builtin:digits/train"`` and the like for a set
        that comes with hpcad (:func:`~hpcad.data.builtin_names`).
    communicator
        All its ranks call this together: rank 0 reads the manifest and looks for the shards, the
        others are told. The shards must be visible to every rank under the same path.
    window
        For a token stream: samples are ``x = tokens[i*stride : i*stride+window]`` and ``y``, the
        same one token later.
    stride
        Distance of the windows' starts, in tokens.
    verify
        ``"first"`` (or True) compares a shard's checksums when it is first touched, ``"read"`` the
        checksum of every block each time that it is read, False none. By default ``"first"`` for
        datasets up to 1 GiB and False for larger ones.

    Raises
    ------
    DataError
        On every rank, if the dataset is missing, incomplete or damaged, or the window does not fit.
    """
    if verify is not None:
        check_verify(verify)
    name = synthetic(path)
    if name is not None:
        from hpcad.data.synthetic_tokens import SyntheticTokens  # which stands on this file

        return SyntheticTokens(name, window, stride=stride)
    directory = resolve(path)
    manifest = _shared_manifest(directory, communicator)
    if verify is None:
        verify = manifest.data_bytes <= VERIFY_BYTES
    if window is None:
        if stride != 1:
            raise DataError("stride= is the distance of windows: give window= too")
        return Dataset(directory, manifest, verify=verify)

    from hpcad.data.windows import TokenWindows  # windows.py stands on this file

    return TokenWindows(directory, manifest, window, stride=stride, verify=verify)


def _shared_manifest(directory: Path, communicator: Communicator | None) -> Manifest:
    """The manifest, read and compared with the files by rank 0 alone."""
    if communicator is None:
        return parse_manifest(_checked_manifest_json(directory), directory / FILE_NAME)
    value, error = None, None
    if communicator.rank == 0:
        try:
            value = _checked_manifest_json(directory)
        except DataError as found:
            error = found
    communicator.agree(error, name="open dataset")
    value = communicator.broadcast_json(value, name="manifest")
    return parse_manifest(value, directory / FILE_NAME)


def _checked_manifest_json(directory: Path) -> Any:
    value = read_manifest_json(directory)
    for shard in parse_manifest(value, directory / FILE_NAME).shards:
        check_file(directory / shard.file, shard)
    return value
