"""From what a worker has left to the outcome of its run: the same for all launchers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpcad.errors import DataError
from hpcad.scaling.study.correctness import what_is_wrong
from hpcad.scaling.study.files import StudyFiles
from hpcad.scaling.study.journal import Outcome, append, read_journal
from hpcad.scaling.study.orders import Orders
from hpcad.scaling.study.plan import Run, checked_by, order
from hpcad.scaling.study.samples import Samples, read_samples
from hpcad.scaling.study.study import LoadedStudy
from hpcad.scaling.study.surroundings import code_version

_LOG_LINES = 3  # of a failed run, that its reason quotes


class Book:
    """Which runs of a study have ended, and how.

    Parameters
    ----------
    loaded : LoadedStudy
    files : StudyFiles
    """

    def __init__(self, loaded: LoadedStudy, files: StudyFiles) -> None:
        self.loaded, self.files = loaded, files
        self.code = code_version()
        self.outcomes: dict[Run, Outcome] = {}
        for reference in (True, False):
            self.outcomes |= read_journal(files.journal(reference=reference), reference=reference)

    def done(self, run: Run) -> bool:
        """Whether a run is good and its samples are there; then it is not run again."""
        found = self.outcomes.get(run)
        if found is None or found.status != "good":
            return False
        try:
            return read_samples(self.files.samples(run)).point == run.point
        except DataError:
            return False

    def in_order(self) -> list[Outcome]:
        """The outcomes of the runs that have ended, in the order of the plan."""
        runs = order(self.loaded.study)
        return [self.outcomes[run] for run in runs if run in self.outcomes]

    def write_orders(self, run: Run, *, threads: int, pin: bool) -> Path:
        """Write what the worker of a run is told; return the file."""
        study = self.loaded.study
        path, pending = self.files.orders(run), self.files.pending(run)
        # What an earlier start has left must not pass for the samples of this one.
        pending.unlink(missing_ok=True)
        Orders(
            point=run.point,
            repeat=run.repeat,
            steps=study.correctness.steps if run.reference else study.steps,
            warmup=0 if run.reference else study.warmup,
            threads=threads,
            pin=pin,
            checkpoint_every=None if run.reference else study.checkpoint_every,
            job=self.loaded.job_with(run.point.overrides).to_dict(),
            file=str(pending.absolute()),
            roofs=not run.reference,
            code=self.code,
        ).write(path)
        return path

    def ended(self, run: Run, failure: str, seconds: float) -> Outcome:
        """Note that a run has ended, and what became of it.

        Parameters
        ----------
        failure : str
            Why it did not end well, as far as the launcher knows; empty where it did.
        """
        outcome = self._judged(run, failure, seconds)
        append(self.files.journal(reference=run.reference), outcome)
        self.outcomes[run] = outcome
        return outcome

    def _judged(self, run: Run, failure: str, seconds: float) -> Outcome:
        pending = self.files.pending(run)
        if failure:
            reason = f"{failure}; {_last_lines(self.files.log(run))}"
            return Outcome(run, "failed", reason, seconds=seconds)
        try:
            samples = read_samples(pending)
        except DataError as error:
            return Outcome(run, "failed", f"it left no samples: {error}", seconds=seconds)
        wrong = self._wrong(run, samples)
        kept = self.files.refused(run) if wrong else self.files.samples(run)
        kept.parent.mkdir(parents=True, exist_ok=True)
        pending.replace(kept)
        return Outcome(
            run,
            "wrong" if wrong else "good",
            wrong,
            str(kept.relative_to(self.files.root)),
            float(np.median(samples.step_seconds)),
            seconds,
        )

    def _wrong(self, run: Run, samples: Samples) -> str:
        wanted, right = self.loaded.study.correctness, None
        reference = checked_by(run, wanted.ranks)
        if reference is not None:
            if not self.done(reference):
                return (
                    f"there is nothing to check it against: {reference.name}, the same training on "
                    f"{wanted.ranks} rank{'s' if wanted.ranks > 1 else ''}, has not ended well"
                )
            right = read_samples(self.files.samples(reference))
        return what_is_wrong(samples, right, wanted)


def _last_lines(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    told = [line.strip() for line in lines if "hpcad: error:" in line] or lines[-_LOG_LINES:]
    return f"{' / '.join(told[:_LOG_LINES])} ({log})" if told else f"nothing was printed ({log})"
