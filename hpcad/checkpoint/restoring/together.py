"""What fails on one rank fails on all, as the same `CheckpointError`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hpcad.checkpoint.format import DamagedCheckpointError
from hpcad.checkpoint.reading.opening import naming
from hpcad.errors import CheckpointError
from hpcad.parallel.communicator import Communicator

T = TypeVar("T")

_FINE, _DAMAGED, _UNUSABLE = range(3)


def from_root(communicator: Communicator, action: Callable[[], T], name: str) -> T:
    """Run `action` on rank 0 and return its JSON value on all ranks; collective.

    Raises
    ------
    CheckpointError
        On all ranks, when `action` raised one; damage stays a `DamagedCheckpointError`.
    """
    if communicator.size == 1:
        return action()
    answer: dict[str, Any] | None = None
    failure: CheckpointError | None = None
    if communicator.rank == 0:
        try:
            answer = {"value": action()}
        except (CheckpointError, OSError) as error:
            failure = error if isinstance(error, CheckpointError) else CheckpointError(str(error))
            answer = {"damaged": _code(failure) == _DAMAGED, "text": str(failure)}
    answer = communicator.broadcast_json(answer, name=name)
    assert answer is not None
    if "value" not in answer:
        raise _error(answer["damaged"], answer["text"]) from failure
    return answer["value"]


def on_all(communicator: Communicator, path: Path, action: Callable[[], None], name: str) -> None:
    """Run `action` on every rank and return when it succeeded on all; collective.

    Parameters
    ----------
    path
        The checkpoint that errors are about.

    Raises
    ------
    DamagedCheckpointError
        On all ranks: the checkpoint is damaged on some of them, and nothing worse happened.
    CheckpointError
        On all ranks: it cannot be used on some of them, for another reason.
    """
    failure: CheckpointError | None = None
    try:
        with naming(path):
            action()
    except CheckpointError as error:
        failure = error
    worst = np.array([_code(failure)], np.int32)
    communicator.allreduce(worst, "max", name)
    if worst[0] == _FINE:
        return
    report = {"code": _code(failure), "text": str(failure), "host": socket.gethostname()}
    reports = communicator.gather_json(report, name=name)
    rank, told = next((r, x) for r, x in enumerate(reports) if x["code"] == worst[0])
    prefix = f"rank {rank} on {told['host']}: " if communicator.size > 1 else ""
    raise _error(worst[0] == _DAMAGED, prefix + told["text"]) from failure


def _code(error: CheckpointError | None) -> int:
    if error is None:
        return _FINE
    return _DAMAGED if isinstance(error, DamagedCheckpointError) else _UNUSABLE


def _error(damaged: bool, text: str) -> CheckpointError:
    return DamagedCheckpointError(text) if damaged else CheckpointError(text)
