"""Does a checkpoint belong to this model? Say how it differs, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from hpcad.errors import CheckpointError

_NAMED = 3  # how many names a message lists

Arrays = Mapping[str, np.ndarray]
Expected = Mapping[str, tuple[tuple[int, ...], DTypeLike]]


def require_match(arrays: Arrays, expected: Expected, where: Path) -> None:
    """Check that names, shapes and dtypes of a checkpoint are those of the model.

    Parameters
    ----------
    arrays
        The arrays of the checkpoint, by name such as "parameters/fc1.weight".
    expected
        What the model holds: name -> (shape, dtype).
    where
        The checkpoint, for the message.

    Raises
    ------
    CheckpointError
        Naming the first differing shape or dtype and the first few missing and unexpected names.
    """
    common = [name for name in expected if name in arrays]
    differences = _shapes(arrays, expected, common) or _dtypes(arrays, expected, common)
    if missing := [name for name in expected if name not in arrays]:
        differences.append(f"missing: {_list(missing)}")
    if unexpected := [name for name in arrays if name not in expected]:
        differences.append(f"unexpected: {_list(unexpected)}")
    if not differences:
        return
    first, *others = differences
    also = f"; also {', '.join(others)}" if others else ""
    raise CheckpointError(
        f"checkpoint {where} holds another model: {first}{also}; "
        "start afresh with another directory, or use the job file it was made with"
    )


def _shapes(arrays: Arrays, expected: Expected, common: list[str]) -> list[str]:
    wrong = [name for name in common if arrays[name].shape != tuple(expected[name][0])]
    if not wrong:
        return []
    name = wrong[0]
    return [
        f"{_label(name)} has shape {arrays[name].shape} in the checkpoint "
        f"and {tuple(expected[name][0])} in the model{_more(wrong)}"
    ]


def _dtypes(arrays: Arrays, expected: Expected, common: list[str]) -> list[str]:
    wrong = [name for name in common if arrays[name].dtype != np.dtype(expected[name][1])]
    if not wrong:
        return []
    name = wrong[0]
    return [
        f"{_label(name)} has dtype {arrays[name].dtype} in the checkpoint "
        f"and {np.dtype(expected[name][1])} in the model{_more(wrong)}"
    ]


def _label(name: str) -> str:
    kind, _, rest = name.partition("/")
    return f"parameter {rest!r}" if kind == "parameters" and rest else f"array {name!r}"


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _list(names: list[str]) -> str:
    shown = ", ".join(_label(name) for name in names[:_NAMED])
    hidden = len(names) - _NAMED
    return f"{shown} and {hidden} more" if hidden > 0 else shown
