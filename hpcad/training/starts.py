"""How often a run was started, and whether that led anywhere: ``starts.json`` in its directory.

A batch system starts a job again after a failure, a preemption, or its time limit. A run that
fails each time before it has saved would be started for ever. So rank 0 notes every start with
the step at which it began, and a run that began too often at the same step is refused. The record
is a note: where it is lost or damaged a new one begins, and nothing else is.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from hpcad.errors import NoProgressError
from hpcad.parallel import World
from hpcad.parallel.slurm import job_name, restarts
from hpcad.training.result import Result

NAME = "starts.json"
_COUNTS = ("starts", "step", "in_vain")


@dataclass(frozen=True)
class Start:
    """What is known of the starts of a run.

    Attributes
    ----------
    starts : int
        How many there were.
    step : int
        Where the last one began; -1 where that does not count any more, as it ended well.
    in_vain : int
        Starts in a row that began at that step, without the first.
    settings : str
        Hash of the run's settings; others begin a new count.
    job : str
        The batch system's name of the last job that started it.
    restarts : int
        How often the batch system had started that job again.
    """

    starts: int
    step: int
    in_vain: int
    settings: str
    job: str = ""
    restarts: int = 0

    def next(self, step: int, settings: str, environ: Mapping[str, str], *, chosen: bool) -> Start:
        """Return the record with one more start.

        Parameters
        ----------
        step : int
            Where it begins.
        chosen : bool
            Whether a person has said where. Then it may be an earlier step than before.
        """
        advanced = step != self.step if chosen else step > self.step
        anew = advanced or self.step < 0 or settings != self.settings
        return Start(
            self.starts + 1,
            step if anew else self.step,
            0 if anew else self.in_vain + 1,
            settings,
            job_name(environ),
            restarts(environ),
        )


class StartRecord:
    """Note the start of a run, for the block, and its end where it is done; collective.

    Parameters
    ----------
    world : World
    directory : Path or None
        Of the run; without one nothing is noted.
    result : Result
        Of the run, kept up to date by its owner.
    settings : str
        A hash of the run's settings.
    tries : int or None
        How often a run may start at the same step.
    chosen : bool
        Whether a person has said from which checkpoint to start, or from none.

    Raises
    ------
    NoProgressError
        When entered, on all ranks alike: it has been started too often.
    """

    def __init__(
        self,
        world: World,
        directory: Path | None,
        result: Result,
        *,
        settings: str,
        tries: int | None,
        chosen: bool = False,
    ) -> None:
        self._world, self._result = world, result
        self._path = directory / NAME if directory is not None else None
        self._settings, self._tries, self._chosen = settings, tries, chosen
        self._start: Start | None = None

    def __enter__(self) -> StartRecord:
        if self._path is None:
            return self
        refusal = None
        if self._world.is_root:
            refusal = self._note(self._path)
        refusal = self._world.communicator.broadcast_json(refusal, name="starts")
        if refusal is not None:
            raise NoProgressError(refusal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._path is None or self._start is None:
            return
        done = kind is None and not self._result.stopped
        if done or kind is KeyboardInterrupt:  # a person will know what they do
            write(self._path, Start(**(asdict(self._start) | {"step": -1, "in_vain": 0})))

    def _note(self, path: Path) -> str | None:
        """Note the start; return why there must be none."""
        before = read(path) or Start(0, -1, 0, self._settings)
        step = self._result.step
        start = before.next(step, self._settings, os.environ, chosen=self._chosen)
        if self._tries is not None and start.in_vain >= self._tries:
            return (
                f"this run was started {self._tries} times at step {before.step}, and has never "
                "saved a later one; look into the log for what ended it, or save more often "
                f"([checkpoint] every). To try again: remove {path}, or change the job file, or "
                "set [checkpoint] tries"
            )
        self._start = start
        write(path, start)
        if start.starts > 1:
            print(_line(start), flush=True)
        return None


def read(path: Path) -> Start | None:
    """Return the record, or None where there is none that can be read."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        counts = {name: table[name] for name in (*_COUNTS, "restarts")}
        texts = {name: table[name] for name in ("settings", "job")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _unreadable(path, type(error).__name__)
    if not all(type(count) is int and count >= -1 for count in counts.values()):
        return _unreadable(path, "a count is no number")
    if not all(type(text) is str for text in texts.values()):
        return _unreadable(path, "a text is none")
    return Start(**counts, **texts)


def write(path: Path, start: Start) -> None:
    """Write the record, whole or not at all; a failure is told and costs nothing else."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(asdict(start), indent=1) + "\n", encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        print(
            f"hpcad: warning: {path} cannot be written ({error.strerror}); starts of this run "
            "without progress are not counted",
            file=sys.stderr,
            flush=True,
        )


def _unreadable(path: Path, reason: str) -> Start | None:
    print(
        f"hpcad: warning: {path} cannot be read ({reason}); the count of starts begins anew",
        file=sys.stderr,
        flush=True,
    )
    return None


def _line(start: Start) -> str:
    vain = ""
    if start.in_vain:
        vain = f"; none of the last {start.in_vain + 1} has begun later than step {start.step}"
    slurm = f" (job {start.job}, restart {start.restarts})" if start.job else ""
    return f"start {start.starts} of this run{slurm}{vain}"
