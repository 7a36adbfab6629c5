"""CSV tables: numeric columns become the input vector, one column the label."""

from __future__ import annotations

import csv
import math
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.sources.numpy_files import array_source
from hpcad.data.sources.source import Source, label_metadata, packable_dtype, two_names
from hpcad.errors import DataError

LABEL_TYPES = ("auto", "class", "number")


def csv_source(
    path: str | Path,
    *,
    label: str | int | None = None,
    label_type: str = "auto",
    delimiter: str = ",",
    dtype: str = "float32",
    fields: tuple[str, ...] = ("x", "y"),
    class_names: list[str] | None = None,
) -> Source:
    """Samples from a CSV file, one per line.

    Parameters
    ----------
    path
        UTF-8 file. Its first line is taken as a header if a cell outside the label column is not
        a number, or if ``label`` is a name.
    label
        Column with the labels, by name or by index from 0 (negative from the end); ``None`` if
        there is none.
    label_type
        ``"class"``: integers from 0 are classes as they are, anything else is numbered in sorted
        order and its names kept. ``"number"``: a value to regress. ``"auto"``: class if the cells
        are integers or not numbers, else number.
    delimiter
        One character.
    dtype
        Of the inputs, and of labels to regress.
    fields
        Names of the two fields.
    class_names
        One name per class, for integer labels.

    Raises
    ------
    DataError
        With file, line and column, if a cell is not a finite number or a line has another length.
    """
    if label_type not in LABEL_TYPES:
        raise DataError(f"label_type {label_type!r} is not one of {', '.join(LABEL_TYPES)}")
    path = Path(path)
    kind = packable_dtype(_dtype(dtype), str(path))
    table = _Table.read(path, label, delimiter)
    x = np.frombuffer(table.values, np.float64).reshape(len(table.lines), -1).astype(kind)
    told: dict[str, Any] = {"files": [path]}
    told["options"] = {
        "label": label,
        "label_type": label_type,
        "delimiter": delimiter,
    }
    if label is None:
        return array_source({fields[0]: x}, origin=str(path), **told)
    x_name, y_name = two_names(fields)
    y, metadata = _labels(table, label_type, kind, class_names)
    source = array_source({x_name: x, y_name: y}, origin=str(path), **told)
    source.metadata.update(metadata)
    return source


@dataclass
class _Table:
    """The cells of a CSV file: inputs as numbers, labels as text."""

    path: Path
    values: array[float]
    labels: list[str]
    lines: list[int]
    label_name: str

    @classmethod
    def read(cls, path: Path, label: str | int | None, delimiter: str) -> _Table:
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                return _parse(path, csv.reader(file, delimiter=delimiter, strict=True), label)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is not UTF-8 text ({error.reason})") from error
        except (csv.Error, TypeError) as error:
            raise DataError(f"{path}: is not a valid CSV file ({error})") from error


def _parse(path: Path, reader: Any, label: str | int | None) -> _Table:
    first = next(reader, None)
    while first is not None and not first:
        first = next(reader, None)
    if first is None:
        raise DataError(f"{path}: is empty")
    width = len(first)
    column = _label_column(path, first, label)
    has_header = isinstance(label, str) or any(
        not _is_number(cell) for index, cell in enumerate(first) if index != column
    )
    names = first if has_header else [str(index) for index in range(width)]
    if width == (column is not None):
        raise DataError(f"{path}: has no column beside the label; is the delimiter right?")
    table = _Table(path, array("d"), [], [], names[column] if column is not None else "")
    if not has_header:
        _add(table, first, column, names, reader.line_num)
    for row in reader:
        if row:  # blank lines are common at the end
            _add(table, row, column, names, reader.line_num)
    if not table.lines:
        raise DataError(f"{path}: has a header but no samples")
    return table


def _label_column(path: Path, first: list[str], label: str | int | None) -> int | None:
    if label is None:
        return None
    if isinstance(label, int):
        if not -len(first) <= label < len(first):
            raise DataError(
                f"{path}: there is no column {label}, the columns are 0 to {len(first) - 1}"
            )
        return label % len(first)
    names = [name.strip() for name in first]
    if names.count(label) != 1:
        raise DataError(
            f"{path}: the label column {label!r} stands {names.count(label)} times in the header, "
            f"expected once; the columns are {', '.join(names[:20])}"
        )
    return names.index(label)


def _add(table: _Table, row: list[str], column: int | None, names: list[str], line: int) -> None:
    where = f"{table.path}, line {line}"
    if len(row) != len(names):
        raise DataError(f"{where}: {len(row)} cells, expected {len(names)}")
    for index, cell in enumerate(row):
        if index == column:
            if not (cell := cell.strip()):
                raise DataError(f"{where}, column {names[index]!r}: the label is empty")
            table.labels.append(cell)
        elif _is_number(cell):
            table.values.append(float(cell))
        else:
            what = f"{cell!r} is not a finite number" if cell.strip() else "the cell is empty"
            raise DataError(f"{where}, column {names[index]!r}: {what}")
    table.lines.append(line)


def _labels(
    table: _Table, label_type: str, dtype: np.dtype[Any], class_names: list[str] | None
) -> tuple[np.ndarray, dict[str, Any]]:
    integers = all(_is_integer(cell) for cell in table.labels)
    numbers = integers or all(_is_number(cell) for cell in table.labels)
    if label_type == "number" or (label_type == "auto" and numbers and not integers):
        return _regressed(table, dtype), {}
    if integers:
        y = np.array([int(cell) for cell in table.labels], np.int64)
        where = f"{table.path}, column {table.label_name!r}"
        return y, label_metadata(y, where, class_names)
    names = sorted(set(table.labels))
    if class_names is not None and class_names != names:
        raise DataError(
            f"{table.path}: column {table.label_name!r} holds names itself ({', '.join(names[:10])}"
            "); leave the class names out"
        )
    number = {name: index for index, name in enumerate(names)}
    y = np.array([number[cell] for cell in table.labels], np.int64)
    return y, {"classes": len(names), "class_names": names}


def _regressed(table: _Table, dtype: np.dtype[Any]) -> np.ndarray:
    for line, cell in zip(table.lines, table.labels, strict=True):
        if not _is_number(cell):
            raise DataError(
                f"{table.path}, line {line}, column {table.label_name!r}: {cell!r} is not a finite "
                "number"
            )
    return np.array([float(cell) for cell in table.labels]).astype(dtype)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _is_integer(cell: str) -> bool:
    try:
        return abs(int(cell)) < 2**63
    except ValueError:
        return False


def _dtype(name: str) -> np.dtype[Any]:
    try:
        return np.dtype(name)
    except TypeError as error:
        raise DataError(f"{name!r} is not a dtype; use for example float32") from error
