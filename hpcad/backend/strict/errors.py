"""The errors of the strict device."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hpcad.errors import HpcadError

_INSIDE = (str(Path(__file__).parent), str(Path(np.__file__).parent))


class StrictDeviceError(HpcadError, RuntimeError):
    """Code would be wrong on a GPU.

    It says what was done, where (stream, memory and the line that made it) and what to do. Nothing
    that a user of hpcad did is the cause: it is a defect of device code.
    """


def line_of_caller() -> str:
    """``file:line`` of the code that uses the strict device."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno}"
