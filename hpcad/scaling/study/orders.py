"""What a worker is told: one run, in a file of its own that every rank reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpcad.errors import ConfigError, DataError
from hpcad.scaling.study.files import write_whole
from hpcad.scaling.study.point import Point


@dataclass(frozen=True)
class Orders:
    """One run, for its ranks.

    Attributes
    ----------
    point : Point
    repeat : int
    steps, warmup : int
    threads : int
        Of a rank.
    pin : bool
        Whether the ranks give themselves cores of their own.
    checkpoint_every : int or None
    job : dict
        What :meth:`hpcad.training.job.Job.to_dict` returned: the job cannot change meanwhile.
    file : str
        Where the samples go; absolute.
    roofs : bool
        Whether to measure how fast the ranks can compute and read memory.
    code : dict
        Which version of the code this is.
    """

    point: Point
    repeat: int
    steps: int
    warmup: int
    threads: int
    pin: bool
    checkpoint_every: int | None
    job: dict[str, Any]
    file: str
    roofs: bool
    code: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write them as JSON."""
        table = {**asdict(self), "point": self.point.to_dict()}
        write_whole(path, json.dumps(table, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Orders:
        """Read what `write` wrote.

        Raises
        ------
        ConfigError
            There is no such file.
        DataError
            It is damaged, or of another version.
        """
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**table, "point": Point.from_dict(table["point"])})
        except FileNotFoundError:
            raise ConfigError(
                f"there is no file {path}; `hpcad scaling run` writes it, and starts this command"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} cannot be read ({error}); remove it, and run the study again"
            ) from error
