"""Measurements that need a fresh process: a program starts itself again and reads what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

FLAG = "--child"


class ChildError(RuntimeError):
    """The process failed; the message is the end of what it said."""


def ask_child(program: str, what: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    """Run a program with a request, and return its answer.

    Parameters
    ----------
    program : str
        Path of a program that passes ``sys.argv`` to :func:`answer` first.
    what : mapping
        JSON-able.
    environment : mapping
        Variables set on top of those of this process.

    Raises
    ------
    ChildError
    """
    done = subprocess.run(
        [sys.executable, program, FLAG, json.dumps(what)],
        capture_output=True,
        text=True,
        env=os.environ | dict(environment),
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join(done.stderr.splitlines()[-20:])
        raise ChildError(f"{program} ended with code {done.returncode}:\n{said}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(arguments: list[str], measure: Callable[..., Any]) -> bool:
    """Where this process was started by :func:`ask_child`: print what ``measure`` returns."""
    if arguments[:1] != [FLAG]:
        return False
    print(json.dumps(measure(**json.loads(arguments[1]))))
    return True
