"""The text of a job file: TOML, overrides from the command line, and the line of every key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpcad.errors import ConfigError

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")
_QUOTES = re.compile(r'"""|' + r"'''")


class JobSource:
    """A parsed job file that knows where each of its values comes from.

    Parameters
    ----------
    kind
        What messages call the file.

    Attributes
    ----------
    table
        The values, with overrides applied.
    """

    def __init__(self, path: str | Path, overrides: Sequence[str] = (), kind: str = "job") -> None:
        self._path = Path(path)
        text = _read(self._path, kind)
        self.table = _parse(text, self._path)
        self._lines = key_lines(text)
        self._overrides: dict[tuple[str, ...], str] = {}
        for override in overrides:
            self._apply(override)

    def place(self, path: tuple[str, ...]) -> str:
        """Return "file:line" of a key, or "--set key=value" where that gave it.

        A key inside an inline table has the line of that table; an absent key that of its section.
        """
        for length in range(len(path), 0, -1):
            if path[:length] in self._overrides:
                return f"--set {self._overrides[path[:length]]}"
            if path[:length] in self._lines:
                return f"{self._path}:{self._lines[path[:length]]}"
        return str(self._path)

    def _apply(self, override: str) -> None:
        key, equals, text = override.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not equals or not all(path):
            raise ConfigError(
                f"--set takes section.key=value, such as training.epochs=3, not {override!r}"
            )
        node = self.table
        for depth, part in enumerate(path[:-1], start=1):
            if part not in node:
                self._overrides[path[:depth]] = override
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {override}: {part!r} is a value, not a section")
        node[path[-1]] = parse_value(text)
        self._overrides[path] = override


def parse_value(text: str) -> Any:
    """Return a TOML value; what is not one is a string, so that quotes are not needed."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    # A line break could smuggle in further keys.
    return table["value"] if len(table) == 1 else text.strip()


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of each header and key of a valid TOML text, by path of keys."""
    lines: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ()
    inside = ""  # the quotes of the multi-line string that we are in
    for number, line in enumerate(text.splitlines(), start=1):
        if not inside:
            if header := _HEADER.match(line):
                section = _split(header.group(1))
                lines.setdefault(section, number)
            elif assignment := _ASSIGNMENT.match(line):
                path = section + _split(assignment.group(1))
                for length in range(len(section) + 1, len(path) + 1):
                    lines.setdefault(path[:length], number)
        for quotes in _QUOTES.findall(line):
            inside = "" if quotes == inside else (inside or quotes)
    return lines


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in re.findall(_KEY, dotted))


def _read(path: Path, kind: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {kind} file {path} (relative paths start from {Path.cwd()})"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{kind} file {path} is not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"{kind} file {path} cannot be read: {error.strerror}") from error


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = re.search(r"\(at line (\d+), column \d+\)", message)
        line = int(at.group(1)) if at else max(len(text.splitlines()), 1)
        reason = message.partition(" (at ")[0]
        raise ConfigError(f"{path}:{line}: this is not valid TOML: {reason}") from error
