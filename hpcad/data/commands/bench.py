"""``hpcad data bench``."""

from __future__ import annotations

import argparse

from hpcad.data.bench import bench, report
from hpcad.data.builtin import resolve
from hpcad.data.commands.options import say
from hpcad.data.dataset import open_dataset
from hpcad.errors import ConfigError


def add_parsers(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = commands.add_parser("bench", help="measure how fast a dataset can be read here")
    parser.add_argument("dataset", help="its directory, or builtin:NAME")
    parser.add_argument("--batch", type=int, default=64, help="samples of all ranks (default 64)")
    parser.add_argument("--batches", type=int, default=100, help="how many at most (default 100)")
    parser.add_argument("--window", type=int, metavar="N", help="of a token stream")
    parser.add_argument("--seed", type=int, default=0, help="of the random order")
    parser.add_argument(
        "--step-ms", type=float, metavar="T", help="say what a training step of T ms needs"
    )
    parser.add_argument(
        "--cold", action="store_true", help="have the files dropped from memory before each time"
    )
    parser.set_defaults(func=_bench)


def _bench(options: argparse.Namespace) -> int:
    from hpcad.parallel import init

    if options.step_ms is not None and not options.step_ms > 0:
        raise ConfigError(f"--step-ms must be above 0, not {options.step_ms}")
    world = init()
    resolve(options.dataset)  # complains of what has no files
    dataset = open_dataset(options.dataset, world.communicator, window=options.window, verify=False)
    ways = bench(
        dataset,
        options.batch,
        world.communicator,
        batches=options.batches,
        seed=options.seed,
        cold=options.cold,
    )
    if world.is_root:
        ranks = "1 rank" if world.size == 1 else f"{world.size} ranks"
        where = "dropped from memory before" if options.cold else "read once before"
        say(f"{dataset.directory}: batches of {options.batch} on {ranks}, files {where}")
        say(report(ways, options.batch, options.step_ms))
    return 0
