"""``hpcad data inspect``, ``verify`` and ``stats``."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcad.data.commands.options import agreed, say, speaker
from hpcad.data.dataset import open_dataset
from hpcad.data.inspect import format_bytes, summary
from hpcad.data.stats import BINS, draw, survey, table
from hpcad.data.verify import verify_dataset
from hpcad.errors import DataError


def add_parsers(commands: argparse._SubParsersAction) -> None:
    """Register the three commands."""
    inspect = commands.add_parser("inspect", help="say what a dataset holds")
    inspect.add_argument("dataset", help="its directory, or builtin:NAME")
    inspect.set_defaults(func=_inspect)

    verify = commands.add_parser("verify", help="compare every byte with the checksums")
    verify.add_argument("dataset", help="its directory, or builtin:NAME")
    verify.set_defaults(func=_verify)

    stats = commands.add_parser("stats", help="mean, spread, gaps and histogram of every field")
    stats.add_argument("dataset", help="its directory, or builtin:NAME")
    stats.add_argument("--bins", type=int, default=BINS, help=f"of a histogram (default {BINS})")
    stats.add_argument("--plot", type=Path, metavar="FILE", help="a picture too, .png or .svg")
    stats.set_defaults(func=_stats)


def _inspect(options: argparse.Namespace) -> int:
    say(summary(options.dataset))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from hpcad.parallel import init

    world = init()  # under mpirun the ranks take the shards in turn
    report = verify_dataset(options.dataset, say, world.communicator)
    if not world.is_root:
        return 0 if report.ok else DataError.exit_code
    for problem in report.problems:
        say(problem)
    rate = format_bytes(report.nbytes / max(report.seconds, 1e-9))
    say(
        f"{report.shards - len(report.problems)} of {report.shards} shards are good; "
        f"{format_bytes(report.nbytes)} in {report.seconds:.2f} s, {rate}/s"
    )
    return 0 if report.ok else DataError.exit_code


def _stats(options: argparse.Namespace) -> int:
    from hpcad.parallel import init

    world = init()
    dataset = open_dataset(options.dataset, world.communicator, verify=False)
    progress = speaker(world)
    found = survey(dataset, world.communicator, bins=options.bins, progress=progress)
    progress.message(table(found))
    if options.plot is not None:
        agreed(world, lambda: draw(found, options.plot) if world.is_root else None)
        progress.message(f"drawn: {options.plot}")
    return 0
