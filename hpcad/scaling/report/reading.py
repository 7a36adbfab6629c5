"""Reading the directory of a study: good runs with their samples, and what was refused.

A study directory holds ``study.toml``, ``runs.jsonl`` with a line for every finished run, and the
samples of each run in a file of its own. Later lines replace earlier ones of the same point and
repetition. Only runs whose results are right ("good") enter a report.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.errors import ConfigError, DataError
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import FACTS, Samples, read_samples

_KEYS = ("point", "repeat", "status")
_STATUS = ("good", "wrong", "failed")


@dataclass(frozen=True)
class Refused:
    """A run that enters no table.

    Attributes
    ----------
    point : Point
    repeat : int
    status : str
        ``"wrong"``: its results differ from those of the base; ``"failed"``: it did not end well.
    reason : str
    """

    point: Point
    repeat: int
    status: str
    reason: str


@dataclass(eq=False)
class Study:
    """What a study measured.

    Attributes
    ----------
    directory : Path
    name : str
    plan : str
        The text of ``study.toml``.
    runs : dict of Point to list of Samples
        Good runs by point, in the order of their repetitions.
    refused : list of Refused
    notices : list of str
        What a reader of the report must know about the files.
    """

    directory: Path
    name: str
    plan: str
    runs: dict[Point, list[Samples]]
    refused: list[Refused]
    notices: list[str]


def read_study(directory: Path) -> Study:
    """Read a study and its samples.

    Raises
    ------
    ConfigError
        The directory holds no study.
    DataError
        A file is missing or damaged, or no run is good.
    """
    if not directory.is_dir():
        raise ConfigError(f"there is no directory {directory}; name the directory of a study")
    missing = [name for name in ("study.toml", "runs.jsonl") if not (directory / name).is_file()]
    if missing:
        raise ConfigError(
            f"{directory} is no study: it holds no {' and no '.join(missing)}; name the directory "
            "that `hpcad scaling run` has written"
        )
    plan = (directory / "study.toml").read_text(encoding="utf-8", errors="replace")
    notices: list[str] = []
    lines = _finished(directory / "runs.jsonl", notices)
    runs: dict[Point, list[Samples]] = {}
    refused = []
    for (point, repeat), line in sorted(lines.items(), key=lambda item: _order(*item[0])):
        if line["status"] == "good":
            runs.setdefault(point, []).append(_samples(directory, point, repeat, line))
        else:
            reason = str(line.get("reason") or "no reason was noted")
            refused.append(Refused(point, repeat, line["status"], reason))
    if not runs:
        reasons = "; ".join(sorted({run.reason for run in refused})) or "no run has finished"
        raise DataError(f"{directory} has no good run to report: {reasons}")
    return Study(directory, _name(plan, directory), plan, runs, refused, notices)


def _order(point: Point, repeat: int) -> tuple[Any, ...]:
    controls = ("none", "communication off", "synthetic data")
    place = ("strong", "weak", "batch", "model").index(point.sweep)
    control = controls.index(point.control)
    return place, point.variant, control, point.ranks, point.batch, point.name, repeat


def _name(plan: str, directory: Path) -> str:
    """The study's own name, or that of its directory."""
    try:
        found = tomllib.loads(plan).get("name")
    except tomllib.TOMLDecodeError:
        found = None
    return found if isinstance(found, str) and found else directory.resolve().name


def _finished(path: Path, notices: list[str]) -> dict[tuple[Point, int], dict[str, Any]]:
    """The last line of every (point, repetition)."""
    found: dict[tuple[Point, int], dict[str, Any]] = {}
    for place, line in _lines(path, notices):
        missing = [key for key in _KEYS if key not in line]
        if missing:
            raise DataError(f"{place} lacks {', '.join(missing)}; run the study again")
        if line["status"] not in _STATUS:
            known = ", ".join(_STATUS)
            raise DataError(f"{place}: the status {line['status']!r} is none of {known}")
        found[Point.from_dict(line["point"]), int(line["repeat"])] = line
    return found


def _lines(path: Path, notices: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    texts = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        place = f"line {number} of {path}"
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            if number == len(texts):  # no newline after it: the writer was ended meanwhile
                notices.append(f"the last line of {path.name} is incomplete and was left out")
                return
            raise DataError(f"{place} is no JSON ({error}); remove it, and run again") from None
        if not isinstance(line, dict) or not isinstance(line.get("point", {}), dict):
            raise DataError(f"{place} describes no run; remove it, and run the study again")
        yield place, line


def _samples(directory: Path, point: Point, repeat: int, line: dict[str, Any]) -> Samples:
    name = f"{point.name}-r{repeat}"
    file = line.get("file")
    if not isinstance(file, str) or Path(file).is_absolute() or ".." in Path(file).parts:
        raise DataError(
            f"runs.jsonl names {file!r} as the samples of {name}; expected a path inside "
            f"{directory}, such as runs/{name}.h5"
        )
    path = directory / file
    if not path.is_file():
        raise DataError(f"the samples of {name} are missing: there is no {path}; run it again")
    samples = read_samples(path)
    if (samples.point, samples.repeat) != (point, repeat):
        raise DataError(f"{path} holds the samples of {samples.name}, not those of {name}")
    lacking = [key for key in FACTS if key not in samples.facts]
    if lacking:
        raise DataError(f"{path} lacks the facts {', '.join(lacking)}; run it again")
    if not (np.isfinite(samples.seconds).all() and (samples.seconds > 0).all()):
        raise DataError(f"{path} holds step times that are not positive; run it again")
    noted = line.get("median")
    if noted is not None and not math.isclose(noted, np.median(samples.step_seconds), rel_tol=1e-6):
        raise DataError(f"{path} is not what {name} has measured: its median differs; run it again")
    return samples
