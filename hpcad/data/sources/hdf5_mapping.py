"""Existing HDF5 files of any layout: datasets, windows over series and constants become fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcad.data.manifest.contents import DTYPES, FieldSpec
from hpcad.data.sources.hdf5_fields import FieldMap
from hpcad.data.sources.hdf5_file import ForeignFile, open_foreign
from hpcad.data.sources.source import CHUNK_BYTES, Source, label_metadata, packable_dtype
from hpcad.errors import DataError

_FILES_TOLD = 1000


@dataclass(frozen=True)
class _Found:
    """What one file holds: its samples, the specs of its series, the values of its constants."""

    path: Path
    count: int
    series: dict[str, FieldSpec]
    constants: dict[str, str | np.generic]
    notes: list[str]
    others: list[Path]


def hdf5_source(
    paths: Sequence[str | Path], fields: Sequence[FieldMap], *, allow_links: bool = False
) -> Source:
    """Samples from HDF5 files, one file after the other.

    Parameters
    ----------
    paths
        The files. Each is opened once to see what it holds, and later by whoever reads from it.
    fields
        From :func:`~hpcad.data.sources.hdf5_fields.parse_fields` or ``read_mapping``. Texts that
        are constants of a file become classes, numbered in sorted order; the metadata have their
        names, those of a field ``y`` as ``class_names``, those of ``f`` as ``f_names``.
    allow_links
        Follow soft and external links, and read virtual datasets and external storage. What is
        read is then among the source's ``notes``.

    Raises
    ------
    DataError
        A file is missing, damaged, leads elsewhere, or differs from the first one; the fields of a
        file differ in their number of samples.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise DataError("at least one HDF5 file is needed")
    found = [_look(path, fields, allow_links) for path in files]
    for each in found:
        _check_equal(found[0], each)
    constants, metadata = _constants(found, fields)
    specs = {
        field.name: found[0].series[field.name]
        if field.name in found[0].series
        else FieldSpec((), constants[field.name].dtype)
        for field in fields
    }
    maps = [field for field in fields if field.name in found[0].series]
    stops = np.cumsum([each.count for each in found])
    rows = _rows(maps, specs)

    def chunks(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for k, each in enumerate(found):
            begin = int(stops[k]) - each.count
            first, last = max(start - begin, 0), min(stop - begin, each.count)
            if first >= last:
                continue
            with open_foreign(each.path, allow_links) as file:
                for low in range(first, last, rows):
                    high = min(low + rows, last)
                    given = {
                        name: np.full(high - low, array[k], array.dtype)
                        for name, array in constants.items()
                    }
                    for field in maps:
                        given[field.name] = _read(file, field, specs[field.name], low, high)
                    yield given

    origin = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    if len(files) <= _FILES_TOLD:
        metadata["files"] = [[each.path.name, each.count] for each in found]
    metadata["hdf5"] = [vars(field) for field in fields]
    return Source(
        origin,
        specs,
        int(stops[-1]),
        chunks,
        metadata=metadata | _classes(found, maps, specs, allow_links),
        files=tuple(dict.fromkeys([*files, *(other for each in found for other in each.others)])),
        options={"fields": [vars(field) for field in fields], "allow_links": allow_links},
        notes=tuple(note for each in found for note in each.notes),
    )


def _look(path: Path, fields: Sequence[FieldMap], allow_links: bool) -> _Found:
    series, constants, counts = {}, {}, {}
    with open_foreign(path, allow_links) as file:
        for field in fields:
            if field.attribute or file.dataset(field.path).shape == ():
                constants[field.name] = file.constant(field.path, field.attribute)
                continue
            dataset = file.dataset(field.path)
            series[field.name], counts[field.name] = _series(file, dataset, field)
        notes, others = file.notes, file.others
    if not counts:
        raise DataError(
            f"{path}: all fields are constants; one at least must be a series of samples"
        )
    if len(set(counts.values())) != 1:
        sizes = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise DataError(f"{path}: the fields differ in their number of samples ({sizes})")
    return _Found(path, next(iter(counts.values())), series, constants, notes, others)


def _series(file: ForeignFile, dataset: h5py.Dataset, field: FieldMap) -> tuple[FieldSpec, int]:
    """Spec and number of the samples of a dataset."""
    where, shape = f"{file.path}: {field.path}", dataset.shape
    if shape is None or not -len(shape) <= field.axis < len(shape):
        raise DataError(f"{where} of shape {shape} has no axis {field.axis}")
    axis = field.axis % len(shape)
    rest, length = shape[:axis] + shape[axis + 1 :], shape[axis]
    dtype = packable_dtype(dataset.dtype, where)
    if field.dtype:
        dtype = packable_dtype(np.dtype(field.dtype), where)
    if length < field.length or 0 in rest:
        raise DataError(
            f"{where} of shape {shape} holds no sample of {field.length} along axis {axis}"
        )
    count = (length - field.length) // field.step + 1
    if rest_of := length - (count - 1) * field.step - field.length:
        file.notes.append(f"{where}: the last {rest_of} of {length} are in no window")
    sample = (field.window, *rest) if field.window else rest
    return FieldSpec(sample, dtype), count


def _read(file: ForeignFile, field: FieldMap, spec: FieldSpec, start: int, stop: int) -> np.ndarray:
    """The samples from start to stop of one file."""
    dataset = file.dataset(field.path)
    axis = field.axis % dataset.ndim
    places = slice(start * field.step, (stop - 1) * field.step + field.length)
    try:
        stretch = dataset[(slice(None),) * axis + (places,)]
    except (OSError, RuntimeError) as error:
        raise DataError(f"{file.path}: {field.path} cannot be read ({error})") from error
    stretch = np.moveaxis(stretch, axis, 0)
    if field.window:
        windows = np.lib.stride_tricks.sliding_window_view(stretch, field.window, axis=0)
        stretch = np.moveaxis(windows[:: field.step], -1, 1)
    return stretch.astype(spec.dtype, order="C")


def _rows(maps: Sequence[FieldMap], specs: dict[str, FieldSpec]) -> int:
    """Samples of which the stretches in the files make about a chunk."""
    nbytes = 0
    for field in maps:
        spec = specs[field.name]
        place = prod(spec.shape[1:] if field.window else spec.shape) * spec.dtype.itemsize
        nbytes += place * max(field.step, field.length)
    return max(1, CHUNK_BYTES // nbytes)


def _check_equal(first: _Found, other: _Found) -> None:
    if (first.series, [*first.constants]) == (other.series, [*other.constants]):
        return
    for name, spec in first.series.items():
        if other.series.get(name) != spec:
            there = other.series.get(name, "a constant")
            raise DataError(
                f"{other.path}: samples of field {name!r} are {there}, those of {first.path} are "
                f"{spec}; pack them apart"
            )
    raise DataError(f"{other.path}: has other constants than {first.path}; pack them apart")


def _constants(
    found: Sequence[_Found], fields: Sequence[FieldMap]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """For every constant its value in each file, and what the manifest says of it."""
    arrays, metadata = {}, dict[str, Any]()
    for field in fields:
        if field.name not in found[0].constants:
            continue
        values = [each.constants[field.name] for each in found]
        texts = [value for value in values if isinstance(value, str)]
        if texts and len(texts) < len(values):
            raise DataError(f"field {field.name!r} is a text in some files and a number in others")
        if texts:
            names = sorted(set(texts))
            arrays[field.name] = np.array([names.index(text) for text in texts], DTYPES["int64"])
            label = field.name == "y"
            metadata |= {"classes": len(names)} if label else {}
            metadata["class_names" if label else f"{field.name}_names"] = names
            continue
        array = np.array(values)
        where = f"{found[0].path}: {field.path}"
        array = array.astype(packable_dtype(np.dtype(field.dtype or array.dtype), where))
        arrays[field.name] = array
        if field.name == "y" and array.dtype.kind in "iu" and array.min() >= 0:
            metadata |= label_metadata(array, where)
    return arrays, metadata


def _classes(
    found: Sequence[_Found],
    maps: Sequence[FieldMap],
    specs: dict[str, FieldSpec],
    allow_links: bool,
) -> dict[str, Any]:
    """How many classes a field ``y`` with an integer per sample has."""
    field = next((field for field in maps if field.name == "y"), None)
    if field is None or specs["y"].shape or specs["y"].dtype.kind not in "iu":
        return {}
    parts = []
    for each in found:
        with open_foreign(each.path, allow_links) as file:
            parts.append(_read(file, field, specs["y"], 0, each.count))
    labels = np.concatenate(parts)
    return {} if labels.min() < 0 else label_metadata(labels, found[0].path)
