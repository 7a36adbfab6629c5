"""`hpcad scaling ...`: run a study, report it, compare two, and predict larger ones."""

from __future__ import annotations

import argparse
from typing import Any


def add_parsers(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Register `scaling` with its commands; each is in the file of its name."""
    room = subparsers.add_parser("scaling", help="run, report, compare and predict scaling studies")
    room.add_subparsers(dest="scaling_command", required=True, metavar="COMMAND")
