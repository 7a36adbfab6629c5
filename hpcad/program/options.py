"""How a captured program is to be built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Options:
    """See :func:`hpcad.program.compiled.compile`.

    Attributes
    ----------
    ahead : bool
        Capture a call without its effects, and let the program have them: then the first call
        already computes what all later ones do, to the bit, and what cannot be captured has done
        nothing yet. After an effect that writes parameters nothing may be computed.
    memory : int or None
        Bytes that the plan should not exceed.
    log : bool
        Whether to say why a function stays eager.
    epilogues : ~hpcad.program.improve.epilogue_choice.Epilogues or None
        Which products of a device take elementwise work into their epilogues.
    """

    strict: bool = False
    fuse: bool = True
    native: bool = True
    ahead: bool = False
    log: bool = True
    memory: int | None = None
    epilogues: Any = None
