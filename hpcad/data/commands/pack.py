"""``hpcad data pack``."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcad.data.commands.inputs import add_inputs, read_inputs
from hpcad.data.commands.options import add_shards, add_told, agreed, write
from hpcad.data.packing.parallel import Provenance


def add_parsers(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = commands.add_parser("pack", help="make HDF5 shards of your files")
    parser.add_argument("out", type=Path, help="directory to make")
    add_inputs(parser)
    add_shards(parser)
    add_told(parser)
    parser.set_defaults(func=_pack)


def _pack(options: argparse.Namespace) -> int:
    from hpcad.parallel import init

    world = init()  # under mpirun the ranks write the shards in turn
    found = agreed(world, lambda: read_inputs(options))
    places = [options.out]
    if len(found) == 2:
        places = [options.out / "train", options.out / "val"]
    told = Provenance(options.source, options.licence, options.attribution)
    return write(options, list(zip(found, places, strict=True)), told, world)
