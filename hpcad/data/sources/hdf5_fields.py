"""The mapping of HDF5 datasets to fields of samples, as the user writes it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.sources.source import packable_dtype
from hpcad.errors import DataError


@dataclass(frozen=True)
class FieldMap:
    """Where one field comes from.

    Attributes
    ----------
    name : str
        Of the field.
    path : str
        Of a dataset in the file. One without dimensions is a constant: the same for all samples of
        its file.
    attribute : str
        Take this attribute of what is at ``path`` instead, a constant too.
    window : int
        Samples are so many places along the axis; 0: each place of the axis is a sample.
    stride : int
        Places from the beginning of a window to that of the next; 0: as long as the window.
    axis : int
        Which one is divided into samples; it becomes the first.
    dtype : str
        To convert numbers to; that of the file if empty.
    """

    name: str
    path: str
    attribute: str = ""
    window: int = 0
    stride: int = 0
    axis: int = 0
    dtype: str = ""

    def __post_init__(self) -> None:
        if self.window < 0 or self.stride < 0:
            raise DataError(f"field {self.name!r}: a window and a stride are positive numbers")
        if self.dtype:
            try:
                packable_dtype(np.dtype(self.dtype), f"field {self.name!r}")
            except TypeError as error:
                raise DataError(
                    f"field {self.name!r}: {self.dtype!r} is not a dtype; use for example float32"
                ) from error

    @property
    def length(self) -> int:
        """Places of the axis in a sample."""
        return self.window or 1

    @property
    def step(self) -> int:
        """Places from one sample to the next."""
        return (self.stride or self.window) if self.window else 1


def parse_fields(
    texts: Sequence[str], *, window: int = 0, stride: int = 0, axis: int = 0
) -> list[FieldMap]:
    """Fields as words: ``NAME=PATH[@ATTRIBUTE][,window=N][,stride=N][,axis=N][,dtype=TYPE]``.

    Parameters
    ----------
    texts
        One per field.
    window, stride, axis
        Of those that do not say it themselves.

    Raises
    ------
    DataError
        A text is not of this form.

    Examples
    --------
    >>> parse_fields(["x=/strain/Strain,window=4096"])[0].step
    4096
    """
    default = FieldMap("", "", "", window, stride, axis)
    return _checked([_parse(text, default) for text in texts])


def read_mapping(
    path: str | Path, *, window: int = 0, stride: int = 0, axis: int = 0
) -> list[FieldMap]:
    """Fields from a TOML file with a table ``[fields.NAME]`` for each, with ``path`` and the rest.

    Raises
    ------
    DataError
        The file is missing, not TOML, or has another key.
    """
    path = Path(path)
    try:
        value = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise DataError(f"{path}: is not a TOML file ({error})") from error
    tables = value.get("fields")
    if set(value) != {"fields"} or not isinstance(tables, dict):
        raise DataError(f"{path}: a mapping has tables [fields.NAME] and nothing else")
    found = []
    for name, table in tables.items():
        if not isinstance(table, dict) or not isinstance(table.get("path"), str):
            raise DataError(f"{path}: [fields.{name}] needs path, the name of a dataset")
        start = FieldMap(name, table["path"], "", window, stride, axis)
        others = {key: given for key, given in table.items() if key != "path"}
        found.append(_with(start, others, f"{path}: [fields.{name}]"))
    return _checked(found)


def _parse(text: str, default: FieldMap) -> FieldMap:
    first, *rest = text.split(",")
    name, _, place = first.partition("=")
    if not name.strip() or not place.strip():
        raise DataError(f"{text!r}: a field is NAME=PATH, for example x=/group/dataset")
    path, _, attribute = place.partition("@")
    path = path.strip() or "/"
    start = replace(default, name=name.strip(), path=path, attribute=attribute.strip())
    given: dict[str, Any] = {}
    for each in rest:
        key, _, value = each.partition("=")
        given[key.strip()] = int(value) if value.strip().lstrip("-").isdecimal() else value.strip()
    return _with(start, given, repr(text))


def _with(start: FieldMap, given: dict[str, Any], where: str) -> FieldMap:
    kinds = {each.name: type(each.default) for each in fields(FieldMap) if each.name != "name"}
    for key, value in given.items():
        if key not in kinds or key == "path":
            raise DataError(f"{where}: {key!r} is not one of {', '.join(list(kinds)[1:])}")
        if type(value) is not kinds[key]:
            raise DataError(f"{where}: {key} is {value!r}, expected {kinds[key].__name__}")
    return replace(start, **given)


def _checked(found: list[FieldMap]) -> list[FieldMap]:
    names = [field.name for field in found]
    if not names:
        raise DataError("at least one field is needed, for example --field x=/group/dataset")
    if len(set(names)) != len(names):
        raise DataError(f"a field is named twice among {', '.join(names)}")
    return found
