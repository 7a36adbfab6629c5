"""Lines of the user's program."""

from __future__ import annotations

import linecache
from pathlib import Path
from typing import NamedTuple

from hpcad.errors import user_frame


class Line(NamedTuple):
    """One line of source: the innermost one outside this package when it was asked for."""

    file: str
    number: int

    @property
    def text(self) -> str:
        """What stands there; empty where the source is not to be had."""
        return linecache.getline(self.file, self.number).strip()

    @property
    def short(self) -> str:
        return f"{Path(self.file).name}:{self.number}" if self.number else self.file

    def __str__(self) -> str:
        return f"{self.file}:{self.number}" if self.number else self.file


NOWHERE = Line("an unknown line", 0)


def here() -> Line:
    """The line of the user's program that runs now."""
    frame = user_frame()
    return NOWHERE if frame is None else Line(frame.f_code.co_filename, frame.f_lineno)
