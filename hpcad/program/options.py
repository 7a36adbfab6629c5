"""How a captured program is to be built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """See :func:`hpcad.program.compiled.compile`."""

    strict: bool = False
    fuse: bool = True
    native: bool = True
