"""What passes for ``cupyx.scipy.special``."""

from __future__ import annotations

from typing import Any

from scipy import special

from hpcad.backend.strict import tables
from hpcad.backend.strict.chapters import Chapter

_chapter = Chapter("special", special, (), tables.SPECIAL)


def __getattr__(name: str) -> Any:
    return _chapter.find(name)
