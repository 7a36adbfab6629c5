"""Which compilers were seen to work, for the processes that come after this one.

To try one takes 0.15 to 0.5 seconds, to read what came of it less than a millisecond. A compiler is
known by its command and by the file behind that: where it is, how large, and when it was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpcad.backend.native.cache import cache_directory, content, seal


def recall(command: Sequence[str], tried: Sequence[Any]) -> dict[str, Any] | None:
    """What :func:`remember` was told about the same command, unchanged since, tried alike."""
    path = _path(command, tried)
    found = content(path) if path else None
    try:
        facts = json.loads(found) if found else None
    except ValueError:
        return None
    return facts if isinstance(facts, dict) else None


def remember(command: Sequence[str], tried: Sequence[Any], facts: dict[str, Any]) -> None:
    """Write down what came of trying ``command``; where that fails, nobody remembers.

    Parameters
    ----------
    command : sequence of str
    tried : sequence
        The options it was tried with; of JSON types.
    facts : dict
        Of JSON types.
    """
    path = _path(command, tried)
    if path is None:
        return
    mine = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
    with contextlib.suppress(OSError):
        mine.write_text(json.dumps(facts))
        seal(mine)
        mine.replace(path)
    with contextlib.suppress(OSError):
        mine.unlink(missing_ok=True)


def _path(command: Sequence[str], tried: Sequence[Any]) -> Path | None:
    """The file for this command in its present state; None where that cannot be told."""
    try:
        files = [_state(path) for path in _files(command)]
    except OSError:
        return None
    parts = [list(command), files, list(tried), platform.machine()]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    return cache_directory() / f"compiler-{key}.json"


def _files(command: Sequence[str]) -> list[str]:
    """The program, and the wheel that ``python -m ziglang`` runs."""
    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(command[0])
    wheel = find_spec("ziglang") if "ziglang" in command else None
    return [program, wheel.origin] if wheel is not None and wheel.origin else [program]


def _state(path: str) -> list[Any]:
    real = os.path.realpath(path)
    status = os.stat(real)
    return [real, status.st_size, status.st_mtime_ns]
