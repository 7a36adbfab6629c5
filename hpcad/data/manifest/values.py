"""Single values of a manifest, each checked for its type and its bounds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from hpcad.data.manifest.contents import DTYPES
from hpcad.errors import DataError

MOST = 2**62  # samples, bytes, offsets: sums of two of them still fit into 64 bits
_MAX_DIMENSIONS = 16
_LONGEST = 500  # characters
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SHARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.h5")
_CHECKSUM = re.compile(r"[0-9a-f]{32}")


class Values:
    """Checks values, and says in which file something is not as it must be.

    Parameters
    ----------
    where : Path
        The manifest, for errors.

    Raises
    ------
    DataError
        From each method, if the value is not what it must be.
    """

    def __init__(self, where: Path) -> None:
        self.where = where

    def fail(self, what: str) -> NoReturn:
        """Refuse the manifest, in a sentence of bounded length."""
        raise DataError(
            f"{self.where}: {shortened(what)}; the manifest is damaged or not from hpcad: copy it "
            "again or pack the data again"
        )

    def keys(self, value: Any, expected: tuple[str, ...], where: str) -> None:
        """An object with exactly these keys."""
        if not isinstance(value, dict):
            self.fail(f"{where} must be a JSON object")
        if missing := [key for key in expected if key not in value]:
            self.fail(f"{where} lacks {missing[0]!r}")
        if unknown := [key for key in value if key not in expected]:
            self.fail(f"{where} has the unknown key {unknown[0]!r}")

    def text(self, value: Any, where: str) -> str:
        """A string."""
        if not isinstance(value, str):
            self.fail(f"{where} must be a string")
        return value

    def integer(self, value: Any, where: str, low: int, high: int) -> int:
        """An integer within bounds."""
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fail(f"{where} must be an integer from {low} to {high}, not {value!r}")
        return value

    def shape(self, value: Any, where: str, low: int = 1) -> tuple[int, ...]:
        """A list of lengths, the first of them at least ``low``."""
        if not isinstance(value, list) or len(value) > _MAX_DIMENSIONS:
            self.fail(f'{where}: "shape" must be a list of at most {_MAX_DIMENSIONS} integers')
        lows = [low] + [1] * len(value)
        return tuple(
            self.integer(n, f'{where}: "shape"', least, MOST)
            for n, least in zip(value, lows, strict=False)
        )

    def dtype(self, value: Any, where: str) -> np.dtype[Any]:
        """The name of a dtype that shards may hold."""
        if not isinstance(value, str) or value not in DTYPES:
            self.fail(f"{where}: dtype {value!r} is not one of {', '.join(DTYPES)}")
        return DTYPES[value]

    def checksum(self, value: Any, where: str) -> str:
        """An XXH3-128 in hexadecimal."""
        if not _CHECKSUM.fullmatch(self.text(value, f'{where}: "xxh3"')):
            self.fail(f'{where}: "xxh3" must be 32 hexadecimal digits')
        return value

    def is_field_name(self, name: str) -> bool:
        """Whether a field may be called so."""
        return _FIELD_NAME.fullmatch(name) is not None

    def is_shard_name(self, name: str) -> bool:
        """Whether a shard may be called so: a plain file name, which cannot leave its folder."""
        return _SHARD_NAME.fullmatch(name) is not None and ".." not in name


def shortened(text: str) -> str:
    """Text from a file, cut where it would fill the screen."""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."
