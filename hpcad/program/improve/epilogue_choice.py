"""Which products take elementwise work into their epilogues: a choice among forms.

A product that ends with a GELU saves a pass over memory, and a kernel of its own may still be
faster. Nobody knows before it is measured, so programs are built in a form that was measured
(:mod:`hpcad.program.device.trials`), or that somebody asked for, or else with kernels of their own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from hpcad.errors import ConfigError
from hpcad.program.instruction import Program

VARIABLE = "HPCAD_EPILOGUES"
SEPARATE = "separate"  # the form without epilogues, which every candidate has
FORMS = {
    SEPARATE: "elementwise kernels of their own",
    "forward": "product, bias and activation at once",
    "backward": "product and slope of the activation at once",
    "both": "forward and backward",
    "both_bgrad": "the same, and the gradient of the bias with it",
    "bgrad": "the gradient of a weight and that of its bias at once",
}


@dataclass(frozen=True)
class Candidate:
    """Instructions that can be done in several forms.

    Attributes
    ----------
    key : str
        By which the choice is kept.
    forms : tuple of str
        :data:`SEPARATE` first.
    sample : Program
        The instructions alone.
    """

    key: str
    forms: tuple[str, ...]
    sample: Program


@dataclass
class Epilogues:
    """The forms of a run's programs.

    Attributes
    ----------
    chosen : dict of str to str
        Key of a candidate -> form that was measured to be the fastest.
    wish : tuple of str
        Forms that are taken in any case: the first of them that a candidate has.
    met : dict of str to Candidate
        What programs were built with.
    """

    chosen: dict[str, str] = field(default_factory=dict)
    wish: tuple[str, ...] = field(default_factory=lambda: wished(os.environ.get(VARIABLE, "")))
    met: dict[str, Candidate] = field(default_factory=dict)

    def form(self, candidate: Candidate) -> str:
        """The form to build a candidate in."""
        self.met.setdefault(candidate.key, candidate)
        if self.wish:
            return next((form for form in self.wish if form in candidate.forms), SEPARATE)
        form = self.chosen.get(candidate.key, SEPARATE)
        return form if form in candidate.forms else SEPARATE

    @property
    def open(self) -> list[Candidate]:
        """What nobody has chosen for."""
        if self.wish:
            return []
        return [candidate for key, candidate in self.met.items() if key not in self.chosen]


def wished(text: str) -> tuple[str, ...]:
    """Forms that a text names, separated by commas.

    Raises
    ------
    ConfigError
        There is no such form.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in FORMS:
            known = "; ".join(f"{form} ({what})" for form, what in FORMS.items())
            raise ConfigError(f"{VARIABLE}={text!r}: there is no form {name!r}, but {known}")
    return names
