"""What became of every run: a line of JSON each, appended when it ends.

A later line of the same run replaces an earlier one: what failed may be run again.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from hpcad.errors import DataError
from hpcad.scaling.study.plan import Run
from hpcad.scaling.study.point import Point

Status = Literal["good", "wrong", "failed"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    run : Run
    status : {"good", "wrong", "failed"}
        Wrong are runs whose results differ from those of the reference, or between ranks.
    reason : str
        Empty where it is good.
    file : str
        Of its samples, within the directory of the study; empty where there are none.
    median : float or None
        Of its timed steps, in seconds.
    seconds : float
        From start to end.
    """

    run: Run
    status: Status
    reason: str = ""
    file: str = ""
    median: float | None = None
    seconds: float = 0.0

    def line(self) -> str:
        """As JSON."""
        table = {key: value for key, value in asdict(self).items() if key != "run"}
        point, repeat = self.run.point.to_dict(), self.run.repeat
        return json.dumps({"name": self.run.name, "point": point, "repeat": repeat, **table})


def append(path: Path, outcome: Outcome) -> None:
    """Add a line; it is on the disk when this returns."""
    with path.open("ab+") as file:
        file.seek(0)
        before = file.read()
        file.truncate(before.rfind(b"\n") + 1)  # what a writer that was ended has left
        file.write(f"{outcome.line()}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def read_journal(path: Path, *, reference: bool) -> dict[Run, Outcome]:
    """The last outcome of every run; a line that was cut short is left out.

    Raises
    ------
    DataError
        A line is none of ours.
    """
    if not path.exists():
        return {}
    found: dict[Run, Outcome] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            table = json.loads(text)
        except ValueError:
            continue
        try:
            table.pop("name")
            run = Run(Point.from_dict(table.pop("point")), table.pop("repeat"), reference)
            found[run] = Outcome(run, **table)
        except (KeyError, TypeError, AttributeError, DataError) as error:
            raise DataError(
                f"line {number} of {path} describes no run ({error}); remove the line, and run "
                "the study again"
            ) from error
    return found
