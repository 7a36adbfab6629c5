"""One point of a study: what is run, and how often it is repeated is another matter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from hpcad.errors import DataError

Sweep = Literal["strong", "weak", "batch", "model"]
#: What is left out on purpose, to tell causes apart: "communication off" reduces no gradients (so
#: its losses are those of one rank's data), "synthetic data" repeats batches that lie in memory.
Control = Literal["none", "communication off", "synthetic data"]

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Point:
    """What one run of a study is.

    Attributes
    ----------
    sweep : {"strong", "weak", "batch", "model"}
        Fixed global batch; fixed batch per rank; several batches at fixed ranks; several models
        at fixed ranks.
    ranks : int
    batch : int
        Samples of a step, of all ranks together.
    variant : str
        Name of the model's variant; empty for the job's own model.
    control : {"none", "communication off", "synthetic data"}
    overrides : tuple of str
        Settings of the job that make the variant, such as ``"model.width=256"``.
    """

    sweep: Sweep
    ranks: int
    batch: int
    variant: str = ""
    control: Control = "none"
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.sweep not in get_args(Sweep):
            raise DataError(f"sweep is {self.sweep!r}; it is one of {', '.join(get_args(Sweep))}")
        if self.control not in get_args(Control):
            known = ", ".join(get_args(Control))
            raise DataError(f"control is {self.control!r}; it is one of {known}")
        if self.ranks < 1 or self.batch < self.ranks:
            raise DataError(
                f"a batch of {self.batch} cannot be divided among {self.ranks} ranks; give every "
                "rank a sample or more"
            )
        if self.variant and not _NAME.fullmatch(self.variant):
            raise DataError(
                f"the variant {self.variant!r} becomes a part of file names; use letters, digits, "
                "'.', '-' and '_' only"
            )

    @property
    def name(self) -> str:
        """A name that no other point of the study has, for files: ``strong-p4-b256``."""
        parts = [self.sweep, f"p{self.ranks}", f"b{self.batch}"]
        parts += [self.variant] if self.variant else []
        parts += [self.control.replace(" ", "-")] if self.control != "none" else []
        return "-".join(parts)

    @property
    def series(self) -> tuple[str, str, str]:
        """What points have in common that differ in scale only: sweep, variant, control."""
        return self.sweep, self.variant if self.sweep != "model" else "", self.control

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "overrides": list(self.overrides)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Point:
        """From what `to_dict` gave.

        Raises
        ------
        DataError
            Something is missing or unknown.
        """
        try:
            return cls(**{**found, "overrides": tuple(found.get("overrides", ()))})
        except TypeError as error:
            raise DataError(f"this is no point of a study: {found!r} ({error})") from None
