"""Names of datasets: a directory, or ``builtin:NAME`` for one that comes with hpcad."""

from __future__ import annotations

import os
from pathlib import Path

from hpcad.data.manifest.contents import FILE_NAME
from hpcad.errors import DataError

PREFIX = "builtin:"
# Streams of tokens that are made while they are read, and how many tokens they have.
SYNTHETIC = {"synthetic-tokens/test": 1 << 18, "synthetic-tokens/train": 1 << 33}
_ROOT = Path(__file__).resolve().parent / "builtin"


def builtin_names() -> list[str]:
    """The names that may follow ``builtin:``, for example ``digits/train``."""
    packed = (str(path.parent.relative_to(_ROOT)) for path in _ROOT.rglob(FILE_NAME))
    return sorted([*packed, *SYNTHETIC])


def synthetic(path: str | os.PathLike[str]) -> str | None:
    """The name in :data:`SYNTHETIC` that a path means, if it means one."""
    name = os.fspath(path).removeprefix(PREFIX)
    return name if os.fspath(path).startswith(PREFIX) and name in SYNTHETIC else None


def resolve(path: str | os.PathLike[str]) -> Path:
    """The directory of a dataset given by path or by ``builtin:`` name.

    Raises
    ------
    DataError
        If no dataset of that name comes with hpcad, or it has no directory.
    """
    text = os.fspath(path)
    if not text.startswith(PREFIX):
        return Path(text)
    name = text.removeprefix(PREFIX)
    if name not in builtin_names():
        known = ", ".join(PREFIX + known for known in builtin_names())
        raise DataError(f"{text!r} is not a dataset that comes with hpcad; there are: {known}")
    if name in SYNTHETIC:
        raise DataError(f"{text!r} is made while it is read: there are no files of it")
    return _ROOT / name
