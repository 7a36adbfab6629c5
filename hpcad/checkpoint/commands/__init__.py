"""`hpcad ckpt ...`: what can be done with checkpoints without running a job."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcad.checkpoint.commands.difference import diff_checkpoints
from hpcad.checkpoint.commands.exchange import PREFIX, export_checkpoint, import_checkpoint
from hpcad.checkpoint.commands.inspection import (
    inspect_checkpoint,
    list_checkpoints,
    verify_checkpoints,
)
from hpcad.checkpoint.commands.pruning import prune_checkpoints

_WHERE = "a checkpoint, a directory of checkpoints, or the output directory above it"
_NEWEST = f"{_WHERE}; of a directory, the newest one"

Command = Callable[[argparse.Namespace], int]


def add_parsers(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Register `ckpt` with its commands; each sets `func(namespace) -> exit code`."""
    room = subparsers.add_parser(
        "ckpt", help="list, inspect, verify, compare, convert and prune checkpoints"
    )
    commands = room.add_subparsers(dest="ckpt_command", required=True, metavar="COMMAND")

    def add(name: str, function: Command, text: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        parser.set_defaults(func=function)
        return parser

    text = "the checkpoints of a directory, newest first"
    _path(add("list", list_checkpoints, text), _WHERE)
    text = "the arrays and the state of one checkpoint"
    _path(add("inspect", inspect_checkpoint, text), _NEWEST)
    text = "read everything and compare all checksums"
    _path(add("verify", verify_checkpoints, text), _WHERE)
    _add_diff(add("diff", diff_checkpoints, "where two checkpoints differ (exit code 1 if so)"))
    _add_export(add("export", export_checkpoint, "write arrays of a checkpoint as safetensors"))
    _add_import(add("import", import_checkpoint, "make a checkpoint of a safetensors file"))
    _add_prune(add("prune", prune_checkpoints, "remove all but the newest checkpoints"))


def _path(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("path", metavar="PATH", type=Path, help=text)


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="A", type=Path, help=_NEWEST)
    parser.add_argument("second", metavar="B", type=Path, help="the same")
    parser.add_argument("--arrays-only", action="store_true", help="do not compare the states")


def _add_export(parser: argparse.ArgumentParser) -> None:
    _path(parser, _NEWEST)
    parser.add_argument("output", metavar="FILE.safetensors", type=Path)
    parser.add_argument(
        "--arrays",
        metavar="PATTERN",
        action="append",
        help=f"which arrays, such as 'optimizer/*'; several times if need be; '{PREFIX}*' if not "
        f"given. A leading '{PREFIX}' is dropped from names",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.safetensors", type=Path)
    parser.add_argument("directory", metavar="DIRECTORY", type=Path, help="without checkpoints")
    parser.add_argument("--step", metavar="N", type=int, default=0, help="of the checkpoint; 0")
    parser.add_argument("--prefix", default=PREFIX, help=f"before all names; '{PREFIX}'")
    parser.add_argument(
        "--bfloat16-bits",
        action="store_true",
        help="keep bfloat16 as its bits in uint16; otherwise it becomes float32, which is exact",
    )


def _add_prune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="DIRECTORY", type=Path, help="of checkpoints, or above it")
    parser.add_argument("--keep", metavar="N", type=int, required=True, help="how many stay")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
