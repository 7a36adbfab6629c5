"""Errors on one rank become errors on all: how the ranks learn of them without waiting for ever."""

from __future__ import annotations

import socket

import numpy as np

import hpcad.errors
from hpcad.errors import HpcadError
from hpcad.parallel.communicator import Communicator


def agree(communicator: Communicator, error: BaseException | None, name: str = "") -> None:
    """Do the work of :meth:`Communicator.agree` with one small reduction when all is well.

    Raises
    ------
    BaseException
        ``error`` itself on a rank that passed one; elsewhere the same class of
        :class:`HpcadError` (the base class for any other exception), naming the first rank that
        failed.
    """
    failed = np.array([error is not None], np.int32)
    communicator.allreduce(failed, "sum", name or "agree")
    if failed[0] == 0:
        return
    reports = communicator.gather_json(_describe(error), name or "agree")
    if error is not None:
        raise error
    rank, report = next((r, report) for r, report in enumerate(reports) if report)
    others = f" (and {failed[0] - 1} more ranks)" if failed[0] > 1 else ""
    raise _error_class(report["class"])(
        f"rank {rank} on {report['host']}: {report['message']}{others}"
    )


def _describe(error: BaseException | None) -> dict[str, str] | None:
    if error is None:
        return None
    message = str(error)
    if not isinstance(error, HpcadError):
        message = f"{type(error).__name__}: {message}"
    return {"class": type(error).__name__, "message": message, "host": socket.gethostname()}


def _error_class(name: str) -> type[HpcadError]:
    found = getattr(hpcad.errors, name, HpcadError)
    return found if isinstance(found, type) and issubclass(found, HpcadError) else HpcadError
