"""`hpcad ckpt ...`: what can be done with checkpoints without running a job."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hpcad.checkpoint.inspection import inspect_checkpoint, list_checkpoints, verify_checkpoints

_WHERE = "a checkpoint, a directory of checkpoints, or the output directory above it"


def add_parsers(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Register `ckpt` with its commands; each sets `func(namespace) -> exit code`."""
    room = subparsers.add_parser("ckpt", help="list, inspect and verify checkpoints")
    commands = room.add_subparsers(dest="ckpt_command", required=True, metavar="COMMAND")
    for name, function, text in (
        ("list", list_checkpoints, "the checkpoints of a directory, newest first"),
        ("inspect", inspect_checkpoint, "the arrays and the state of one checkpoint"),
        ("verify", verify_checkpoints, "read everything and compare all checksums"),
    ):
        parser = commands.add_parser(name, help=text, description=text)
        parser.add_argument("path", metavar="PATH", type=Path, help=_WHERE)
        parser.set_defaults(func=function)
