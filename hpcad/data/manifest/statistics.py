"""The part of a manifest about statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hpcad.data.manifest.contents import FieldSpec
from hpcad.data.manifest.values import MOST, Values
from hpcad.data.statistics import channels_of

_KEYS = ("count", "mean", "std", "min", "max")


def check_statistics(values: Values, value: Any, fields: Mapping[str, FieldSpec]) -> None:
    """Refuse statistics of unknown fields, of another length than they have, or not numbers.

    Raises
    ------
    DataError
        By ``values``, which knows the file.
    """
    if not isinstance(value, dict):
        values.fail('"statistics" must be an object')
    for name, entry in value.items():
        if name not in fields:
            values.fail(f'"statistics" has the unknown field {name!r}')
        where = f"statistics of field {name!r}"
        values.keys(entry, _KEYS, where)
        channels = channels_of(fields[name].shape)
        for key in _KEYS:
            found = entry[key] if channels else [entry[key]]
            if not isinstance(found, list) or len(found) != max(channels, 1):
                values.fail(f"{where}: {key!r} must have {channels} numbers")
            for number in found:
                _check_number(values, number, key, where)


def _check_number(values: Values, number: Any, key: str, where: str) -> None:
    if key == "count":
        values.integer(number, f"{where}: {key!r}", 0, MOST)
    elif number is not None and (
        not isinstance(number, int | float)
        or isinstance(number, bool)
        or not math.isfinite(number)
        or (key == "std" and number < 0)
    ):
        values.fail(f"{where}: {key!r} must be a finite number or null, not {number!r}")
