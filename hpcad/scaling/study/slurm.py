"""Run a study by Slurm: one job for a point (or for a start), each after the end of the last.

Submitting returns at once. What was submitted is noted in ``jobs.jsonl``; the next call looks at
what has ended since, checks it as a local run is checked, and tells what is still queued.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpcad.errors import ConfigError, DataError, LaunchError
from hpcad.launch.batch.profile import load_profile
from hpcad.scaling.study.batch import PointRequest, point_script, request_for, threads_of
from hpcad.scaling.study.files import write_whole
from hpcad.scaling.study.journal import Outcome
from hpcad.scaling.study.local import describe
from hpcad.scaling.study.outcomes import Book
from hpcad.scaling.study.plan import Run, checked_by, order

RECORD = "jobs.jsonl"
_SECONDS = 60  # that a command of Slurm may take
Tell = Callable[[str], None]


@dataclass
class Jobs:
    """Which runs were submitted, and not looked at since.

    Attributes
    ----------
    path : Path
        Of the record: a line for every run that was submitted, or collected (job null).
    of : dict of str to str
        Name of a run -> job, in the order of submission.
    """

    path: Path
    of: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.path.exists():
            return
        for number, text in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                line = json.loads(text)
                name, job = line["run"], line["job"]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"line {number} of {self.path} names no run and job ({error}); remove the line"
                ) from error
            self._note(name, job)

    def note(self, name: str, job: str | None) -> None:
        """Note that a run was submitted, or (None) that it was collected."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"run": name, "job": job}) + "\n")
        self._note(name, job)

    def _note(self, name: str, job: str | None) -> None:
        self.of.pop(name, None)
        if job is not None:
            self.of[name] = job


def run_by_slurm(book: Book, tell: Tell = print, *, retry: bool = False) -> list[Outcome]:
    """Collect what has ended, and submit what was not submitted yet; return what was collected.

    Parameters
    ----------
    retry : bool
        Submit also what has failed, or was wrong.

    Raises
    ------
    LaunchError
        Slurm does not answer, or takes no job.
    """
    runs = order(book.loaded.study)
    jobs = Jobs(book.files.root / RECORD)
    collected = collect(book, jobs, runs, queued() if jobs.of else {}, tell)
    left = [
        run
        for run in runs
        if run.name not in jobs.of
        and not book.done(run)
        and (retry or run not in book.outcomes or book.outcomes[run].status == "good")
    ]
    waiting = sorted(set(jobs.of.values()))
    if waiting:
        tell(f"{len(jobs.of)} runs are still queued or running, in jobs {', '.join(waiting)}")
    submit(book, jobs, left, tell)
    return collected


def refuse_while_queued(root: Path) -> None:
    """Refuse to rename the directory of a study whose jobs would still run, beside new ones.

    Raises
    ------
    ConfigError
    """
    jobs = Jobs(root / RECORD)
    left = sorted(set(jobs.of.values()) & set(queued())) if jobs.of else []
    if left:
        raise ConfigError(
            f"jobs {', '.join(left)} of the study in {root} are still queued or running; end them "
            f"first: scancel {' '.join(left)}"
        )


def collect(
    book: Book, jobs: Jobs, runs: Sequence[Run], states: Mapping[str, str], tell: Tell
) -> list[Outcome]:
    """Look at the runs that have ended since they were submitted, references first.

    Parameters
    ----------
    states : mapping
        Job -> its state, of all that Slurm still knows as queued or running.
    """
    found = []
    for run in runs:
        job = jobs.of.get(run.name)
        if job is None or _waits_for_reference(book, jobs, run):
            continue
        ended = _status(book.files.orders(run).with_suffix(".status"))
        if ended is None and job in states:
            continue
        failure, seconds = _failure(job, ended)
        outcome = book.ended(run, failure, seconds)
        jobs.note(run.name, None)
        tell(describe(outcome))
        found.append(outcome)
    return found


def submit(book: Book, jobs: Jobs, runs: Sequence[Run], tell: Tell) -> None:
    """Submit runs, each job after the end of the one before, however that ends."""
    loaded = book.loaded
    previous = next(reversed(jobs.of.values()), None)
    threads = threads_of(loaded, load_profile(str(loaded.study.launch.site)))
    for group in groups(runs, together=loaded.study.launch.job == "point"):
        request = request_for(loaded, group[0].point)
        script = script_path(book.files.root, request)
        write_whole(script, point_script(loaded, request))
        orders = []
        for run in group:
            path = book.write_orders(run, threads=threads, pin=False)
            path.with_suffix(".status").unlink(missing_ok=True)
            book.files.log(run).parent.mkdir(exist_ok=True)
            orders.append(str(path.absolute()))
        after = [f"--dependency=afterany:{previous}"] if previous else []
        output = f"--output={book.files.root.absolute() / 'logs' / '%x-%j.log'}"
        told = _slurm(["sbatch", "--parsable", *after, output, str(script), *orders])
        previous = told.split(";")[0].strip()
        for run in group:
            jobs.note(run.name, previous)
        names = ", ".join(run.name for run in group)
        tell(f"job {previous}: {request.nodes} nodes x {request.ranks_per_node} ranks: {names}")


def groups(runs: Sequence[Run], *, together: bool) -> list[list[Run]]:
    """What shares a job: the repetitions of a point, or nothing; in the order of the runs."""
    found: dict[object, list[Run]] = {}
    for run in runs:
        key = (run.point, run.reference) if together else run
        found.setdefault(key, []).append(run)
    return list(found.values())


def script_path(root: Path, request: PointRequest) -> Path:
    """Where the script for a number of nodes lies."""
    return root / "scripts" / f"nodes-{request.nodes}-ranks-{request.ranks}.sbatch"


def queued() -> dict[str, str]:
    """Job -> state, of this user's jobs that have not ended."""
    told = _slurm(["squeue", "--noheader", "--me", "--format=%i %T"])
    return dict(line.split()[:2] for line in told.splitlines() if len(line.split()) >= 2)


def _waits_for_reference(book: Book, jobs: Jobs, run: Run) -> bool:
    reference = checked_by(run, book.loaded.study.correctness.ranks)
    return reference is not None and reference.name in jobs.of


def _status(path: Path) -> tuple[int, float] | None:
    """Exit code and seconds of a start, as its job has noted them."""
    try:
        code, seconds = path.read_text(encoding="ascii").split()
        return int(code), float(seconds)
    except (OSError, ValueError):
        return None


def _failure(job: str, ended: tuple[int, float] | None) -> tuple[str, float]:
    if ended is None:
        return f"job {job} ended before it (a time limit, a failure, or scancel)", 0.0
    code, seconds = ended
    if code == 124:
        return f"it did not end within {seconds:g} s ([launch] timeout), and was ended", seconds
    return (f"it ended with code {code} in job {job}" if code else ""), seconds


def _slurm(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except FileNotFoundError:
        raise LaunchError(
            f"there is no {words[0]} here; start this on a machine that submits to Slurm, or set "
            "[launch] launcher = 'mpirun'"
        ) from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{words[0]} gave no answer within {_SECONDS} s; try again") from None
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise LaunchError(
            f"{' '.join(words[:3])} ... ended with code {done.returncode}: "
            f"{reason[-1] if reason else 'no reason was told'}"
        )
    return done.stdout
