"""Errors that a user can act on.

Every one of them says what was wrong, what was expected and what to do. The command line prints
the sentence without a traceback and ends with :attr:`HpcadError.exit_code`; in a program of one's
own they are ordinary exceptions. Anything else that escapes is a defect of hpcad or of the user's
code, and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).parent) + os.sep
_ARRAY_ROOMS = tuple(
    f"{_PACKAGE}{room}{os.sep}" for room in ("autodiff", "nn", "numpy", "primitives")
)


def user_frame(frame: FrameType | None = None) -> FrameType | None:
    """The innermost frame outside this package, from ``frame`` (or the running one) outwards."""
    frame = frame or sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return frame


def _is_command(frame: FrameType) -> bool:
    """Whether that is the start of the command ``hpcad``, and no program of a user."""
    name = frame.f_code.co_filename
    return name.startswith("<frozen") or Path(name).name == "hpcad"


class HpcadError(Exception):
    """Base of all errors that hpcad raises on purpose."""

    exit_code = 1


class ConfigError(HpcadError):
    """A job file or command-line setting is wrong."""

    exit_code = 2


class DataError(HpcadError):
    """A dataset is missing, damaged, or does not fit the request."""

    exit_code = 3


class CheckpointError(HpcadError):
    """A checkpoint cannot be written, or does not fit the model."""

    exit_code = 4


class LaunchError(HpcadError):
    """The launcher, the MPI library and the program disagree, or one of them is absent."""

    exit_code = 5


class DeviceError(HpcadError):
    """A device was asked for that this machine does not have."""

    exit_code = 6


class ShapeError(HpcadError, ValueError):
    """Array shapes or dtypes do not fit an operation.

    Raised by an operation on arrays, it ends with the user's line that called the operation.
    """

    exit_code = 7

    def __init__(self, message: str) -> None:
        raiser = sys._getframe(1)
        if raiser.f_code.co_filename.startswith(_ARRAY_ROOMS):
            frame = user_frame(raiser)
            if frame is not None and not _is_command(frame):
                message += f" (at {frame.f_code.co_filename}:{frame.f_lineno})"
        super().__init__(message)


class OutOfBoundsError(ShapeError, IndexError):
    """An index or axis does not fit the shape of an array."""


class DifferentiationError(HpcadError):
    """A derivative was asked for that does not exist or whose record is gone."""

    exit_code = 8


class NonFiniteError(HpcadError, ArithmeticError):
    """An operation made a NaN or an infinity, and :func:`hpcad.anomaly` watched for it.

    Attributes
    ----------
    kind : str
        ``"value"``, ``"tangent"`` or ``"cotangent"``.
    primitive : str
        Name of the operation.
    file : str
    line : int
        Where the operation ran forwards.
    """

    exit_code = 9

    def __init__(self, message: str, kind: str, primitive: str, file: str, line: int) -> None:
        super().__init__(message)
        self.kind = kind
        self.primitive = primitive
        self.file = file
        self.line = line


class CollectiveError(HpcadError):
    """The ranks called different collectives, or one of them never came."""

    exit_code = 12


class NoProgressError(HpcadError):
    """A run was started again and again without getting further."""

    exit_code = 14


class CaptureError(HpcadError):
    """A function cannot become a program, or has not become one yet."""

    exit_code = 11


class ConvergenceError(HpcadError, ArithmeticError):
    """An iteration did not reach its tolerance.

    Attributes
    ----------
    residual : float
        How far off it was in the end.
    iterations : int
    """

    exit_code = 10

    def __init__(self, message: str, residual: float, iterations: int) -> None:
        super().__init__(message)
        self.residual = residual
        self.iterations = iterations
