"""Generated source: a program as a Python function that can be read, and that is what runs."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.program.emission.steps import Step

WIDTH = 40  # columns of statements before their comments


def source(name: str, steps: Sequence[Step], head: Sequence[str]) -> str:
    """The function as text: statements, shapes in comments, and the user's line per group."""
    lines = [f"def {name}():", *(f"    # {line}" for line in head)]
    last = None
    for step in steps:
        if step.line and step.line != last:
            lines.append(f"    # -- {_quoted(step.line)}")
            last = step.line
        comment = f"  # {step.comment}" if step.comment else ""
        lines.append(f"    {step.text:<{WIDTH}}{comment}".rstrip())
    if not steps:
        lines.append("    pass")
    return "\n".join(lines) + "\n"


def statements(text: str) -> list[int]:
    """The line number of each step in the text."""
    lines = enumerate(text.splitlines(), 1)
    return [i for i, line in lines if i > 1 and not line.lstrip().startswith("#")]


def _quoted(line: str) -> str:
    """``file:line`` and what stands there."""
    path, _, number = line.rpartition(":")
    text = linecache.getline(path, int(number)).strip() if number.isdigit() else ""
    return f"{Path(path).name}:{number}  {text}".rstrip()


def function(name: str, text: str, steps: Sequence[Step]) -> Callable[[], Any]:
    """The function itself."""
    scope: dict[str, Any] = {"np": np}
    for step in steps:
        for key, thing in step.scope.items():
            if callable(thing) and scope.setdefault(key, thing) is not thing:
                raise RuntimeError(f"the name {key} stands for two steps of {name}")
            scope[key] = thing
    exec(compile(text, f"<hpcad program {name}>", "exec"), scope)  # noqa: S102  (our own text)
    return scope[name]
