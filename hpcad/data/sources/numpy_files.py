"""NumPy arrays: in memory, from ``.npy`` files, or from an ``.npz`` archive."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import FieldSpec
from hpcad.data.sources.source import (
    Source,
    label_metadata,
    packable_dtype,
    rows_per_chunk,
)
from hpcad.errors import DataError

_NUMPY_ERRORS = (ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, MemoryError)


def array_source(
    arrays: Mapping[str, np.ndarray],
    *,
    origin: str = "arrays",
    class_names: list[str] | None = None,
    files: Sequence[str | Path] = (),
    options: Mapping[str, Any] | None = None,
) -> Source:
    """Samples from arrays by field name, all of shape ``(n, ...)`` with the same n.

    A field ``y`` of integers from 0, one per sample, is taken as class labels: the manifest then
    says how many classes there are. ``files`` and ``options`` are those of a
    :class:`~hpcad.data.sources.Source`, if the arrays come from files.

    Raises
    ------
    DataError
        If the counts differ, an array has no samples, or a dtype cannot be packed.
    """
    if not arrays:
        raise DataError(f"{origin}: there is no array to pack")
    counts = {name: np.shape(array)[:1] for name, array in arrays.items()}
    for name, leading in counts.items():
        if leading in ((), (0,)) or 0 in arrays[name].shape:
            raise DataError(f"{origin}: {name!r} of shape {arrays[name].shape} holds no samples")
    if len(set(counts.values())) != 1:
        sizes = ", ".join(f"{name!r} has {count[0]}" for name, count in counts.items())
        raise DataError(f"{origin}: the arrays differ in their number of samples ({sizes})")
    fields = {
        name: FieldSpec(array.shape[1:], packable_dtype(array.dtype, f"{origin}: {name!r}"))
        for name, array in arrays.items()
    }
    count = len(next(iter(arrays.values())))
    rows = rows_per_chunk(fields)

    def chunks(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for first in range(start, stop, rows):
            last = min(first + rows, stop)
            yield {
                name: np.asarray(array[first:last]).astype(fields[name].dtype)
                for name, array in arrays.items()
            }

    return Source(
        origin,
        fields,
        count,
        chunks,
        metadata=_classes(arrays.get("y"), origin, class_names),
        files=tuple(Path(file) for file in files),
        options=dict(options or {}),
    )


def _classes(labels: np.ndarray | None, origin: str, names: list[str] | None) -> dict[str, Any]:
    integers = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"
    if labels is None or not integers:
        if names is not None:
            raise DataError(f"{origin}: class names need a field 'y' with one integer per sample")
        return {}
    if names is None and int(labels.min()) < 0:
        return {}  # numbers, not classes
    return label_metadata(labels, origin, names)


def npy_source(
    *paths: str | Path,
    fields: tuple[str, ...] = ("x", "y"),
    class_names: list[str] | None = None,
) -> Source:
    """One field per ``.npy`` file, named in order; the files are mapped, not read at once.

    Raises
    ------
    DataError
        If a file is missing or not a plain array, or there are more files than names.
    """
    if len(paths) > len(fields):
        raise DataError(f"{len(paths)} .npy files need as many field names, not {len(fields)}")
    arrays = {name: _load_npy(Path(path)) for name, path in zip(fields, paths, strict=False)}
    origin = ", ".join(str(path) for path in paths)
    return array_source(arrays, origin=origin, class_names=class_names, files=paths)


def npz_source(path: str | Path, *, class_names: list[str] | None = None) -> Source:
    """One field per array of an ``.npz`` archive, under its name there.

    Raises
    ------
    DataError
        If the file is missing or damaged, or holds objects.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:  # ours to close: np.load leaves a damaged archive open
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: is not an .npz archive; give single arrays with --npy")
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except _NUMPY_ERRORS as error:
        raise DataError(f"{path}: NumPy cannot read this archive ({error})") from error
    return array_source(arrays, origin=str(path), class_names=class_names, files=[path])


def _load_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except _NUMPY_ERRORS as error:
        raise DataError(f"{path}: NumPy cannot read this array ({error})") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: is an archive of several arrays; give it with --npz")
    return array
