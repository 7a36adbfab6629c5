"""The common form of everything that can be packed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import DTYPES, FieldSpec
from hpcad.errors import DataError

CHUNK_BYTES = 16 * 2**20  # about what a source reads at once


@dataclass(frozen=True)
class Source:
    """Samples to pack.

    Attributes
    ----------
    origin : str
        Where they come from, for messages.
    fields : dict of str to FieldSpec
        Shape and dtype of every field of a sample.
    count : int
        Number of samples.
    chunks : callable
        ``chunks(start, stop)`` gives the samples from start to stop (excluded) in order, some at a
        time: arrays of shape ``(n, *shape)`` by field name, or a
        :class:`~hpcad.data.ragged.Ragged` of a ragged field. Several ranks ask for different
        ranges.
    kind : str
        ``"samples"`` or ``"tokens"``.
    metadata : dict
        JSON for the manifest.
    files : tuple of Path
        What is read. Their sizes and times tell whether the source is still the same; a source
        without files is packed in one go or not at all.
    options : dict
        JSON; whatever else decides what the samples are.
    notes : tuple of str
        Sentences for whoever packs it.
    sample_bytes : float
        Of a sample on average, where there are ragged fields and it is known; else 0.
    """

    origin: str
    fields: dict[str, FieldSpec]
    count: int
    chunks: Callable[[int, int], Iterator[dict[str, Any]]]
    kind: str = "samples"
    metadata: dict[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sample_bytes: float = 0


def rows_per_chunk(fields: Mapping[str, FieldSpec]) -> int:
    """Samples that make a chunk of about :data:`CHUNK_BYTES`."""
    return max(1, CHUNK_BYTES // sum(spec.nbytes for spec in fields.values()))


def packable_dtype(dtype: np.dtype[Any], where: str) -> np.dtype[Any]:
    """The little-endian dtype that ``dtype`` is packed as; booleans become uint8.

    Raises
    ------
    DataError
        If HDF5 shards cannot hold it (text, objects, dates, complex and extended numbers).
    """
    if dtype == np.bool_:
        return DTYPES["uint8"]
    if dtype.name not in DTYPES:
        raise DataError(
            f"{where}: numbers of dtype {dtype} cannot be packed; convert them to one of "
            f"{', '.join(DTYPES)}"
        )
    return DTYPES[dtype.name]


def label_metadata(
    labels: np.ndarray, where: str | Path, class_names: list[str] | None = None
) -> dict[str, Any]:
    """Check integer class labels and return ``classes`` and ``class_names`` for the manifest.

    Parameters
    ----------
    labels
        Integers of shape ``(n,)`` that count from 0.
    where
        The file they come from, for errors.
    class_names
        One name per class, if they are known.

    Raises
    ------
    DataError
        If a label is negative, or has no name.
    """
    if labels.size and (low := int(labels.min())) < 0:
        row = int(np.argmin(labels))
        raise DataError(f"{where}: label {low} of sample {row} is negative; classes count from 0")
    classes = int(labels.max()) + 1 if labels.size else 1
    if class_names is None:
        return {"classes": classes}
    if classes > len(class_names):
        raise DataError(
            f"{where}: label {classes - 1} has no name, there are only {len(class_names)} class "
            "names; give one for every class"
        )
    return {"classes": len(class_names), "class_names": list(class_names)}


def two_names(names: tuple[str, ...]) -> tuple[str, str]:
    """Field names for inputs and labels, checked to be two different ones."""
    if len(names) != 2 or names[0] == names[1]:
        raise DataError(f"two different field names are needed here, not {', '.join(names)!r}")
    return names[0], names[1]
