"""What passes for ``cupyx.scipy.linalg``."""

from __future__ import annotations

from typing import Any

from scipy import linalg

from hpcad.backend.strict import tables
from hpcad.backend.strict.chapters import Chapter

_chapter = Chapter("linalg", linalg, (), tables.LINALG)


def __getattr__(name: str) -> Any:
    return _chapter.find(name)
