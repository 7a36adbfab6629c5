"""Names of datasets: a directory, or ``builtin:NAME`` for one that comes with hpcad."""

from __future__ import annotations

import os
from pathlib import Path

from hpcad.data.manifest.contents import FILE_NAME
from hpcad.errors import DataError

PREFIX = "builtin:"
_ROOT = Path(__file__).resolve().parent / "builtin"


def builtin_names() -> list[str]:
    """The names that may follow ``builtin:``, for example ``digits/train``."""
    return sorted(str(path.parent.relative_to(_ROOT)) for path in _ROOT.rglob(FILE_NAME))


def resolve(path: str | os.PathLike[str]) -> Path:
    """The directory of a dataset given by path or by ``builtin:`` name.

    Raises
    ------
    DataError
        If no dataset of that name comes with hpcad.
    """
    text = os.fspath(path)
    if not text.startswith(PREFIX):
        return Path(text)
    name = text.removeprefix(PREFIX)
    if name not in builtin_names():
        known = ", ".join(PREFIX + known for known in builtin_names())
        raise DataError(f"{text!r} is not a dataset that comes with hpcad; there are: {known}")
    return _ROOT / name
