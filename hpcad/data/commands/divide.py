"""``hpcad data split`` and ``merge``: datasets from datasets."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcad.data.commands.options import add_shards, agreed, names, write
from hpcad.data.dataset import open_dataset
from hpcad.data.packing.merge import merged_provenance, merged_source
from hpcad.data.packing.split import provenance, split_sources
from hpcad.errors import ConfigError

_PARTS = {1: ("train",), 2: ("train", "test"), 3: ("train", "valid", "test")}


def add_parsers(commands: argparse._SubParsersAction) -> None:
    """Register both commands."""
    split = commands.add_parser("split", help="divide a dataset at random, by fractions")
    split.add_argument("dataset", help="its directory, or builtin:NAME")
    split.add_argument("out", type=Path, help="directory for the parts")
    split.add_argument(
        "--fractions", required=True, metavar="NUMBERS", help="of the parts, such as 0.8,0.1,0.1"
    )
    split.add_argument(
        "--names", metavar="NAMES", help="of the parts (default train,test or train,valid,test)"
    )
    split.add_argument("--seed", type=int, default=0, help="which random division (default 0)")
    add_shards(split)
    split.set_defaults(func=_split)

    merge = commands.add_parser("merge", help="put datasets with equal fields one after the other")
    merge.add_argument("out", type=Path, help="directory to make")
    merge.add_argument("datasets", nargs="+", help="their directories")
    add_shards(merge)
    merge.set_defaults(func=_merge)


def _split(options: argparse.Namespace) -> int:
    from hpcad.parallel import init

    fractions = _fractions(options)
    world = init()
    dataset = open_dataset(options.dataset, world.communicator)
    found = agreed(world, lambda: split_sources(dataset, fractions, options.seed))
    jobs = [(source, options.out / name) for source, name in zip(found, fractions, strict=True)]
    return write(options, jobs, provenance(dataset), world)


def _merge(options: argparse.Namespace) -> int:
    from hpcad.parallel import init

    world = init()
    datasets = [open_dataset(path, world.communicator) for path in options.datasets]
    source = agreed(world, lambda: merged_source(datasets))
    return write(options, [(source, options.out)], merged_provenance(datasets), world)


def _fractions(options: argparse.Namespace) -> dict[str, float]:
    try:
        numbers = [float(text) for text in options.fractions.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--fractions takes numbers between commas, such as 0.8,0.1,0.1, not "
            f"{options.fractions!r}"
        ) from error
    parts = names(options.names) or _PARTS.get(len(numbers), ())
    if len(parts) != len(numbers) or len(set(parts)) != len(parts):
        raise ConfigError(
            f"{len(numbers)} fractions need as many different names; give them with --names"
        )
    if bad := [name for name in parts if Path(name).name != name or name in ("", ".", "..")]:
        raise ConfigError(f"--names: {bad[0]!r} is not the name of a directory")
    return dict(zip(parts, numbers, strict=True))
