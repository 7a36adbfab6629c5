"""From a table of plain values to a dataclass, by walking its annotations.

The dataclass is the schema: its field names are the keys, its annotations the types, its defaults
the defaults, and `bounded` adds ranges. Nothing is written per key, so a new field of a section or
of a model's configuration is checked from the day it exists. Every error is one sentence with the
place of the value.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from hpcad.errors import ConfigError

#: Where a key stands, such as "jobs/digits.toml:12"; given the path of keys that leads to it.
Place = Callable[[tuple[str, ...]], str]
T = TypeVar("T")


class _MismatchError(Exception):
    """A value does not fit its annotation; says "must be ..." without naming key or place."""


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The range of a number, or of every number in a tuple."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def check(self, value: Any) -> None:
        if isinstance(value, tuple | list):
            for item in value:
                self.check(item)
        elif isinstance(value, int | float) and not self._holds(value):
            raise _MismatchError(f"must be {self}, not {value}")

    def _holds(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        words = {
            "at least": self.at_least,
            "above": self.above,
            "at most": self.at_most,
            "below": self.below,
        }
        return " and ".join(f"{word} {x}" for word, x in words.items() if x is not None)


def bounded(default: Any = dataclasses.MISSING, **limits: float) -> Any:
    """A dataclass field with a range: `at_least`, `above`, `at_most`, `below`."""
    return dataclasses.field(default=default, metadata={"bounds": Bounds(**limits)})


def build(cls: type[T], table: Mapping[str, Any], path: tuple[str, ...], place: Place) -> T:
    """Make a `cls` from `table`.

    Parameters
    ----------
    cls
        A dataclass. Annotations may use bool, int, float, str, Literal, None, unions, tuple, list,
        dict[str, ...] and dataclasses.
    table
        Values as `tomllib` or `json` give them.
    path
        Keys that lead to the table; ("optimizer",) reads as "[optimizer]".
    place
        For the messages.

    Raises
    ------
    ConfigError
        An unknown or missing key, a wrong type, a value out of range, or whatever `__post_init__`
        of `cls` finds wrong (it raises ConfigError or ValueError).
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]  # T is a dataclass
    for key in table:
        if key not in fields:
            raise ConfigError(unknown_key(key, list(fields), path, place))
    values: dict[str, Any] = {}
    for key, field in fields.items():
        if key in table:
            values[key] = _field_value(table[key], hints[key], field, (*path, key), place)
        elif _required(field):
            raise ConfigError(f"{place(path)}: {label(path)} lacks the key {key!r}")
    try:
        return cls(**values)
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{place(path)}: {label(path)}: {error}") from error


def unknown_key(key: str, known: Sequence[str], path: tuple[str, ...], place: Place) -> str:
    """Say that `key` is unknown and which key may have been meant."""
    return f"{place((*path, key))}: {label(path)} has no key {key!r}; {suggestion(key, known)}"


def suggestion(word: str, known: Sequence[str], form: str = "{!r}") -> str:
    """Return "did you mean 'x'?", or the list of `known` when none of them is near."""
    if near := difflib.get_close_matches(word, known, n=1):
        return f"did you mean {form.format(near[0])}?"
    return f"known: {', '.join(form.format(name) for name in known)}"


def label(path: tuple[str, ...]) -> str:
    """Return how a table is called in messages."""
    return f"[{'.'.join(path)}]" if path else "the top level of the job file"


def plain(value: Any) -> Any:
    """Return dataclasses as dicts and tuples as lists: what JSON and TOML can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _field_value(
    value: Any,
    annotation: Any,
    field: dataclasses.Field[Any],
    path: tuple[str, ...],
    place: Place,
) -> Any:
    section = _section(annotation)
    if section is not None:
        if isinstance(value, section):  # built before, where its schema depends on its content
            return value
        if isinstance(value, Mapping):
            return build(section, value, path, place)
    try:
        converted = convert(value, annotation)
        if "bounds" in field.metadata:
            field.metadata["bounds"].check(converted)
    except _MismatchError as error:
        section_path, key = path[:-1], path[-1]
        name = f"{label(section_path)} {key}" if section_path else key
        raise ConfigError(f"{place(path)}: {name} {error}") from None
    return converted


def _section(annotation: Any) -> type | None:
    """The dataclass of an annotation that is one, or one or None."""
    members = [m for m in typing.get_args(annotation) if m is not type(None)]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType) and len(members) == 1:
        annotation = members[0]
    return typing.cast(type, annotation) if dataclasses.is_dataclass(annotation) else None


def convert(value: Any, annotation: Any) -> Any:
    """Return `value` as `annotation` wants it: an int where a float is, a list where a tuple is."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _union(value, arguments)
    if origin is typing.Literal:
        return _literal(value, arguments)
    if dataclasses.is_dataclass(annotation):
        raise _MismatchError(f"must be a section, not {_describe(value)}")
    container = origin or annotation
    if container in (tuple, list):
        return _sequence(value, container, arguments)
    if container is dict:
        return _dict(value, arguments)
    return _scalar(value, annotation)


def _scalar(value: Any, annotation: Any) -> Any:
    if annotation is float and type(value) is int:
        return float(value)
    if annotation not in _NAMES:
        raise TypeError(f"a job file cannot hold values of type {annotation!r}")
    # `type` and not `isinstance`: to Python, True is an int.
    if type(value) is not annotation:
        raise _MismatchError(f"must be {_NAMES[annotation]}, not {_describe(value)}")
    if annotation is float and not math.isfinite(value):
        raise _MismatchError(f"must be finite, not {value}")
    return value


def _union(value: Any, members: tuple[Any, ...]) -> Any:
    # TOML has no null: the word none stands for it.
    if type(None) in members and (value is None or value == "none"):
        return None
    reasons = []
    for member in members:
        if member is type(None):
            continue
        try:
            return convert(value, member)
        except _MismatchError as error:
            reasons.append(str(error))
    raise _MismatchError(" or ".join(reasons))


def _literal(value: Any, choices: tuple[Any, ...]) -> Any:
    if value in choices and type(value) in {type(choice) for choice in choices}:
        return value
    names = [str(choice) for choice in choices]
    near = difflib.get_close_matches(str(value), names, n=1)
    question = f"; did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(repr(choice) for choice in choices)
    raise _MismatchError(f"must be one of {listed}, not {_describe(value)}{question}")


def _sequence(value: Any, container: Any, arguments: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        raise _MismatchError(f"must be a list, not {_describe(value)}")
    if not arguments:
        return container(value)
    if container is tuple and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise _MismatchError(f"must be a list of {len(arguments)} values, not {len(value)}")
        elements = arguments
    else:
        elements = arguments[:1] * len(value)
    converted = []
    for number, (item, element) in enumerate(zip(value, elements, strict=True), start=1):
        try:
            converted.append(convert(item, element))
        except _MismatchError as error:
            raise _MismatchError(f"(item {number}) {error}") from None
    return container(converted)


def _dict(value: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _MismatchError(f"must be a table, not {_describe(value)}")
    element = arguments[1] if arguments else Any
    return {key: convert(item, element) for key, item in value.items()}


_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
}


def _describe(value: Any) -> str:
    if isinstance(value, str):
        return f"the string {value!r}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a table"
    return f"the list {value!r}" if isinstance(value, list) else repr(value)
