"""`hpcad ckpt list|inspect|verify`: look at checkpoints without running a job."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from hpcad.checkpoint.format_v1 import Manifest
from hpcad.checkpoint.reader import read_checkpoint, read_manifest
from hpcad.checkpoint.store import find_checkpoints
from hpcad.errors import CheckpointError

_STATE_WIDTH = 88


def add_parsers(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Register `ckpt` with its three commands; each sets `func(namespace) -> exit code`."""
    room = subparsers.add_parser("ckpt", help="list, inspect and verify checkpoints")
    commands = room.add_subparsers(dest="ckpt_command", required=True, metavar="COMMAND")
    for name, function, text in (
        ("list", list_checkpoints, "the checkpoints of a directory, newest first"),
        ("inspect", inspect_checkpoint, "the arrays and the state of one checkpoint"),
        ("verify", verify_checkpoints, "read everything and compare all checksums"),
    ):
        parser = commands.add_parser(name, help=text, description=text)
        parser.add_argument(
            "path",
            metavar="DIR",
            type=Path,
            help="a directory of checkpoints, the output directory above it, or one file",
        )
        parser.set_defaults(func=function)


def list_checkpoints(arguments: argparse.Namespace) -> int:
    """Print one line per checkpoint; structure and manifest are checked, array bytes are not."""
    print(f"{'step':>10}  {'size':>10}  {'arrays':>6}  {'written':<25}  file")
    damaged = 0
    for path in _chosen(arguments.path):
        size = f"{path.stat().st_size / 1e6:.2f} MB"
        try:
            manifest, _ = read_manifest(path)
        except CheckpointError as error:
            damaged += 1
            print(f"{'-':>10}  {size:>10}  {'-':>6}  {'-':<25}  {path}: {error}")
        else:
            print(
                f"{manifest.step:>10}  {size:>10}  {len(manifest.arrays):>6}  "
                f"{manifest.written:<25}  {path}"
            )
    return CheckpointError.exit_code if damaged else 0


def inspect_checkpoint(arguments: argparse.Namespace) -> int:
    """Print manifest and state of a file, or of the newest checkpoint of a directory."""
    path = _chosen(arguments.path)[0]
    manifest, state = read_manifest(path)
    print(f"{path}\n  step {manifest.step}, written {manifest.written} on {manifest.host}")
    print(f"  by hpcad {manifest.hpcad}; {_summary(manifest)}\n")
    width = max((len(spec.name) for spec in manifest.arrays), default=0)
    for spec in manifest.arrays:
        print(f"  {spec.name:<{width}}  {spec.dtype:>4}  {spec.shape!s:<20}  {spec.checksum}")
    print("\n  state")
    for key, value in state.items():
        text = json.dumps(value)
        shown = text if len(text) <= _STATE_WIDTH else text[: _STATE_WIDTH - 3] + "..."
        print(f"    {key} = {shown}")
    return 0


def verify_checkpoints(arguments: argparse.Namespace) -> int:
    """Read every checkpoint whole; the exit code is that of a `CheckpointError` if one is bad."""
    damaged = 0
    for path in _chosen(arguments.path):
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            damaged += 1
            print(f"BAD  {error}")
        else:
            total = sum(array.nbytes for array in checkpoint.arrays.values())
            print(f"ok   {path}: step {checkpoint.step}, {total / 1e6:.2f} MB of arrays")
    return CheckpointError.exit_code if damaged else 0


def _chosen(path: Path) -> list[Path]:
    """Return the files that the user means, newest first; at least one."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise CheckpointError(f"there is no checkpoint and no directory {path}")
    found = find_checkpoints(path) or find_checkpoints(path / "checkpoints")
    if not found:
        raise CheckpointError(f"there is no checkpoint in {path}")
    return found


def _summary(manifest: Manifest) -> str:
    parameters = sum(
        math.prod(spec.shape) for spec in manifest.arrays if spec.name.startswith("parameters/")
    )
    total = sum(spec.nbytes for spec in manifest.arrays)
    return f"{len(manifest.arrays)} arrays, {parameters:,} parameters, {total / 1e6:.2f} MB"
