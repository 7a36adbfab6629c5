"""``hpcad data ...``: pack, split, merge, inspect, verify, stats and bench.

Each works alone and under ``mpirun``, where rank 0 speaks for all.
"""

from __future__ import annotations

import argparse

from hpcad.data.commands import bench, divide, look, pack


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Register ``data`` with its commands; each sets ``func(namespace) -> exit code``."""
    data = subparsers.add_parser("data", help="pack, split, merge, look at and measure datasets")
    commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    for room in (pack, divide, look, bench):
        room.add_parsers(commands)
