"""Parquet tables; needs pyarrow. Columns of numbers and of lists of numbers become fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import FieldSpec
from hpcad.data.ragged import Ragged
from hpcad.data.sources.source import Source, label_metadata, packable_dtype, rows_per_chunk
from hpcad.errors import DataError


def parquet_source(
    paths: Sequence[str | Path],
    *,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    dtype: str | None = None,
) -> Source:
    """Samples from the rows of Parquet files, one file after the other; a row group at a time.

    Parameters
    ----------
    paths
        Files with equal columns.
    columns
        Which to take; all if not given. Each is a field of its name: numbers are scalars, lists
        of a fixed size are vectors, other lists of numbers a ragged field.
    label
        A column that becomes ``y``; the others, which must then be plain numbers, become one vector
        ``x``, as for a CSV table. Texts are classes, numbered in sorted order.
    dtype
        To convert numbers to (not labels); those of the file if not given, and float32 for ``x``.

    Raises
    ------
    DataError
        pyarrow is absent; a file is missing, damaged, or has other columns than the first one; a
        column is neither of these, or has gaps.
    """
    files = [_File.open(Path(path)) for path in paths]
    if not files:
        raise DataError("at least one Parquet file is needed")
    names = _names(files, columns, label)
    kinds = {name: _kind(files, name, dtype) for name in names}
    labels, metadata = (None, {}) if label is None else _labels(files, label)
    specs = kinds if labels is None else _vector(files[0].path, kinds, labels, dtype)
    count = sum(file.count for file in files)
    if not count:
        raise DataError(f"{files[0].path}: has no rows")
    rows = rows_per_chunk(specs)

    def chunks(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for path, first, table in _tables(files, names, start, stop):
            for low in range(0, len(table), rows):
                part = table.slice(low, rows)
                found = {name: _array(path, part, name, kinds[name]) for name in names}
                if labels is None:
                    yield found
                    continue
                x = np.stack([found[name].astype(specs["x"].dtype) for name in names], axis=1)
                yield {"x": x, "y": labels[first + low : first + low + len(part)]}

    return Source(
        str(files[0].path) if len(files) == 1 else f"{files[0].path} and {len(files) - 1} more",
        specs,
        count,
        chunks,
        metadata=metadata,
        files=tuple(file.path for file in files),
        options={"columns": names, "label": label, "dtype": dtype},
        sample_bytes=sum(file.nbytes for file in files) / count if _ragged(specs) else 0,
    )


@dataclass(frozen=True)
class _File:
    path: Path
    parquet: Any  # a pyarrow.parquet.ParquetFile
    count: int

    @property
    def nbytes(self) -> int:
        """Before compression, of all columns."""
        about = self.parquet.metadata
        return sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))

    @classmethod
    def open(cls, path: Path) -> _File:
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise DataError(
                "packing Parquet needs pyarrow, which is not installed: pip install "
                "'hpcad[parquet]'"
            ) from error
        try:
            parquet = ParquetFile(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        except (ArrowException, ValueError) as error:
            raise DataError(f"{path}: is not a Parquet file, or damaged ({error})") from error
        return cls(path, parquet, parquet.metadata.num_rows)

    def read(self, group: int, columns: list[str]) -> Any:
        from pyarrow import ArrowException

        try:
            return self.parquet.read_row_group(group, columns)
        except (ArrowException, OSError, ValueError) as error:
            raise DataError(f"{self.path}: this Parquet file is damaged ({error})") from error


def _names(files: Sequence[_File], columns: Sequence[str] | None, label: str | None) -> list[str]:
    """The columns to take, without the label."""
    known = files[0].parquet.schema_arrow.names
    wanted = list(columns) if columns is not None else list(known)
    for file in files:
        for name in [*wanted, *([] if label is None else [label])]:
            if file.parquet.schema_arrow.names.count(name) != 1:
                raise DataError(
                    f"{file.path}: there is no one column {name!r}; the columns are "
                    f"{', '.join(file.parquet.schema_arrow.names[:20])}"
                )
    names = [name for name in wanted if name != label]
    if not names:
        raise DataError(f"{files[0].path}: no column is left for a field")
    return names


def _kind(files: Sequence[_File], name: str, dtype: str | None) -> FieldSpec:
    from pyarrow import types

    kinds = {str(file.parquet.schema_arrow.field(name).type) for file in files}
    if len(kinds) != 1:
        raise DataError(f"column {name!r} has other types in other files: {', '.join(kinds)}")
    kind = files[0].parquet.schema_arrow.field(name).type
    shape: tuple[int, ...] = ()
    ragged = False
    if types.is_fixed_size_list(kind):
        kind, shape = kind.value_type, (kind.list_size,)
    elif types.is_list(kind) or types.is_large_list(kind):
        kind, ragged = kind.value_type, True
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise DataError(
            f"{files[0].path}: column {name!r} holds {kind}, not numbers; leave it out by naming "
            "the others with --columns"
        )
    stored = np.dtype(kind.to_pandas_dtype())
    try:
        wanted = np.dtype(dtype) if dtype else stored
    except TypeError as error:
        raise DataError(f"{dtype!r} is not a dtype; use for example float32") from error
    return FieldSpec(shape, packable_dtype(wanted, f"{files[0].path}: column {name!r}"), ragged)


def _vector(
    path: Path, kinds: dict[str, FieldSpec], labels: np.ndarray, dtype: str | None
) -> dict[str, FieldSpec]:
    """Fields of a table with a label."""
    for name, spec in kinds.items():
        if spec.shape or spec.ragged:
            raise DataError(
                f"{path}: column {name!r} holds lists, which do not fit into a vector x"
            )
    wanted = packable_dtype(np.dtype(dtype or "float32"), str(path))
    return {"x": FieldSpec((len(kinds),), wanted), "y": FieldSpec((), labels.dtype)}


def _ragged(specs: dict[str, FieldSpec]) -> bool:
    return any(spec.ragged for spec in specs.values())


def _labels(files: Sequence[_File], label: str) -> tuple[np.ndarray, dict[str, Any]]:
    from pyarrow import types

    parts, path = [], files[0].path
    for file in files:
        for group in range(file.parquet.num_row_groups):
            column = _whole(file.read(group, [label]), label, file.path)
            if types.is_dictionary(column.type):
                column = column.dictionary_decode()
            parts.append(column.to_numpy(zero_copy_only=False))
    values = np.concatenate(parts) if parts else np.empty(0, np.int64)
    if values.dtype == object and all(isinstance(value, str) for value in values):
        names, numbers = np.unique(values.astype(str), return_inverse=True)
        metadata = {"classes": len(names), "class_names": names.tolist()}
        return numbers.astype(np.int64), metadata
    values = values.astype(packable_dtype(values.dtype, f"{path}: column {label!r}"))
    integers = values.dtype.kind in "iu" and values.size and values.min() >= 0
    return values, label_metadata(values, path) if integers else {}


def _tables(
    files: Sequence[_File], names: list[str], start: int, stop: int
) -> Iterator[tuple[Path, int, Any]]:
    """File, first sample, and rows of the row groups that hold the samples from start to stop."""
    begin = 0
    for file in files:
        for group in range(file.parquet.num_row_groups):
            count = file.parquet.metadata.row_group(group).num_rows
            low, high = max(start - begin, 0), min(stop - begin, count)
            if low < high:
                yield file.path, begin + low, file.read(group, names).slice(low, high - low)
            begin += count


def _array(path: Path, table: Any, name: str, spec: FieldSpec) -> Any:
    column = _whole(table, name, path)
    if not spec.shape and not spec.ragged:
        return column.to_numpy(zero_copy_only=False).astype(spec.dtype)
    values = column.flatten()
    if values.null_count:
        gaps = f"{values.null_count} gaps in its lists"
        raise DataError(f"{path}: column {name!r} has {gaps}; fill them first")
    numbers = values.to_numpy(zero_copy_only=False).astype(spec.dtype)
    if not spec.ragged:
        return numbers.reshape(-1, *spec.shape)
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    return Ragged(numbers, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))


def _whole(table: Any, name: str, path: Path) -> Any:
    """A column as one array without gaps."""
    column = table.column(name).combine_chunks()
    if column.null_count:
        raise DataError(f"{path}: column {name!r} has {column.null_count} gaps; fill them first")
    return column
