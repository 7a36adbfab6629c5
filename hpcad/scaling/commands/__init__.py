"""`hpcad scaling ...`: run a study, report it, compare two, and predict larger ones."""

from __future__ import annotations

import argparse
from typing import Any

from hpcad.scaling.commands.compare import add_compare
from hpcad.scaling.commands.point import add_point
from hpcad.scaling.commands.report import add_report
from hpcad.scaling.commands.run import add_run
from hpcad.scaling.commands.simulate import add_simulate


def add_parsers(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Register `scaling` with its commands; each is in the file of its name."""
    room = subparsers.add_parser("scaling", help="run, report, compare and predict scaling studies")
    commands = room.add_subparsers(dest="scaling_command", required=True, metavar="COMMAND")
    add_run(commands)
    add_point(commands)
    add_report(commands)
    add_compare(commands)
    add_simulate(commands)
