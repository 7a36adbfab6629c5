"""`hpcad scaling run STUDY.toml`: measure what a study plans."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcad.scaling.study.journal import Outcome

WRONG = 15  # exit code where a run was refused or has failed


def add_run(commands: argparse._SubParsersAction[Any]) -> None:
    """Register the command."""
    text = "run a scaling study; what has ended well before is not run again"
    parser = commands.add_parser(
        "run",
        help=text,
        description=f"Run a scaling study: {text}. Ends with {WRONG} where a run has failed or "
        "computed something wrong; such runs enter no report, and the next call runs them again.",
        allow_abbrev=False,
    )
    parser.add_argument("study", metavar="STUDY.toml", type=Path)
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="replace values of the study file, e.g. --set repeats=10 launch.threads=2",
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start over; the directory of an earlier study is renamed, not removed",
    )
    parser.add_argument(
        "--launcher",
        choices=("mpirun", "slurm"),
        help="mpirun: run here, one after another; slurm: submit a job for every point, and "
        "collect what earlier ones have left (default: what the study file says)",
    )
    parser.add_argument(
        "--retry", action="store_true", help="with slurm: submit again what has failed"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan, and run nothing")
    parser.set_defaults(func=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hpcad.scaling.study.files import open_directory
    from hpcad.scaling.study.local import run_locally
    from hpcad.scaling.study.outcomes import Book
    from hpcad.scaling.study.study import load_study

    overrides = list(arguments.overrides)
    if arguments.launcher is not None:
        overrides.append(f"launch.launcher={arguments.launcher}")
    loaded = load_study(arguments.study, overrides)
    if arguments.dry_run:
        from hpcad.scaling.study.plan_text import plan_text

        print(plan_text(loaded))
        return 0
    from hpcad.scaling.study.slurm import refuse_while_queued, run_by_slurm

    if arguments.fresh:
        refuse_while_queued(Path(loaded.study.output.directory))
    book = Book(loaded, open_directory(loaded, fresh=arguments.fresh))
    if loaded.study.launch.launcher == "mpirun":
        return _closing(run_locally(book, tell), book.files.root)
    run_by_slurm(book, tell, retry=arguments.retry)
    return _closing(book.in_order(), book.files.root)


def tell(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def _closing(outcomes: Sequence[Outcome], root: Path) -> int:
    """Say what became of the runs; return the exit code."""
    bad = [outcome for outcome in outcomes if outcome.status != "good"]
    good = sum(1 for outcome in outcomes if outcome.status == "good")
    print(f"{good} of {len(outcomes)} runs that have ended are good; samples are in {root}")
    for status, what in (("wrong", "REFUSED, results are wrong"), ("failed", "FAILED")):
        for outcome in bad:
            if outcome.status == status:
                print(f"{what}: {outcome.run.name}: {outcome.reason}", file=sys.stderr)
    return WRONG if bad else 0
