"""The directory of a study.

=====================  ==========================================================================
``study.toml``         the study file, as it was when the study last ran
``study.json``         what its runs have in common; another study is not mixed in
``runs.jsonl``         a line for every run that has ended (:mod:`hpcad.scaling.study.journal`)
``references.jsonl``   the same for the runs that tell which losses are right
``samples/``           the samples of good runs, and of references
``refused/``           the samples of runs with wrong results: no report reads them
``logs/``              what every run printed
``orders/``            what every run was told
=====================  ==========================================================================
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from hpcad.errors import ConfigError
from hpcad.scaling.study.plan import Run
from hpcad.scaling.study.study import LoadedStudy, to_dict

FORMAT = "hpcad scaling study 1"


@dataclass(frozen=True)
class StudyFiles:
    """Names of the files of a study."""

    root: Path

    @property
    def plan(self) -> Path:
        return self.root / "study.toml"

    @property
    def identity(self) -> Path:
        return self.root / "study.json"

    def journal(self, *, reference: bool) -> Path:
        """The record of runs, or that of references."""
        return self.root / ("references.jsonl" if reference else "runs.jsonl")

    def samples(self, run: Run) -> Path:
        return self.root / "samples" / f"{run.name}.h5"

    def refused(self, run: Run) -> Path:
        return self.root / "refused" / f"{run.name}.h5"

    def pending(self, run: Run) -> Path:
        """Where a worker writes; what is checked moves on."""
        return self.root / "pending" / f"{run.name}.h5"

    def log(self, run: Run) -> Path:
        return self.root / "logs" / f"{run.name}.log"

    def orders(self, run: Run) -> Path:
        return self.root / "orders" / f"{run.name}.json"


def open_directory(loaded: LoadedStudy, *, fresh: bool = False) -> StudyFiles:
    """Make the directory of a study, or go on with it.

    Parameters
    ----------
    fresh : bool
        Rename what an earlier study has left there.

    Raises
    ------
    ConfigError
        It holds another study, or something else, or cannot be written.
    """
    files = StudyFiles(Path(loaded.study.output.directory))
    try:
        if fresh and files.root.exists():
            set_aside(files.root)
        files.root.mkdir(parents=True, exist_ok=True)
        _check_identity(files, loaded)
        identity = {"format": FORMAT, "hash": loaded.hash, "study": to_dict(loaded.study)}
        write_whole(files.plan, loaded.text)
        write_whole(files.identity, json.dumps(identity, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(
            f"the study cannot be kept in {files.root}: {error.strerror}; set [output] directory "
            "to one that can be written"
        ) from error
    return files


def _check_identity(files: StudyFiles, loaded: LoadedStudy) -> None:
    if not files.identity.exists():
        if any(files.root.iterdir()):
            raise ConfigError(
                f"{files.root} holds files, but no study; set [output] directory to an empty or "
                "new directory, or say --fresh to rename it"
            )
        return
    try:
        found = json.loads(files.identity.read_text(encoding="utf-8"))["hash"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{files.identity} cannot be read ({error}); say --fresh to rename the directory"
        ) from error
    if found != loaded.hash:
        raise ConfigError(
            f"{files.root} holds samples of another study: since then the job, its steps, or the "
            f"way of starting it have changed in {loaded.path} or {loaded.job_path}. Samples of "
            "both cannot be compared. Say --fresh to rename the directory and start anew, or set "
            "another [output] directory (repetitions, ranks and controls may be added freely)"
        )


def set_aside(directory: Path) -> Path:
    """Rename a directory to itself plus a time stamp; return the new path."""
    base = f"{directory.name}.{time.strftime('%Y%m%d-%H%M%S')}"
    names = [base, *(f"{base}-{number}" for number in range(1, 1000))]
    target = next(path for name in names if not (path := directory.with_name(name)).exists())
    return directory.rename(target)


def write_whole(path: Path, text: str) -> None:
    """Write a file; after a crash it is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
