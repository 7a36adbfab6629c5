"""`hpcad ckpt list|inspect|verify`: look at checkpoints without running a job."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcad.checkpoint.find import find_checkpoints
from hpcad.checkpoint.reading.reader import Reader, open_checkpoint
from hpcad.errors import CheckpointError

_STATE_WIDTH = 88


@dataclass(frozen=True)
class Row:
    """What a list shows of one checkpoint."""

    step: int
    nbytes: int
    arrays: int
    written: str


def list_checkpoints(arguments: argparse.Namespace) -> int:
    """Print one line per checkpoint; the manifest is checked, array bytes are not."""
    print(f"{'step':>10}  {'size':>10}  {'arrays':>6}  {'written':<25}  path")
    damaged = 0
    for path in chosen(arguments.path):
        try:
            with open_checkpoint(path) as reader:
                row = Row(reader.step, reader.nbytes, len(reader.arrays), reader.written)
        except CheckpointError as error:
            damaged += 1
            print(f"{'-':>10}  {'-':>10}  {'-':>6}  {'-':<25}  {path}: {error}")
        else:
            size = f"{row.nbytes / 1e6:.2f} MB"
            print(f"{row.step:>10}  {size:>10}  {row.arrays:>6}  {row.written:<25}  {path}")
    return CheckpointError.exit_code if damaged else 0


def inspect_checkpoint(arguments: argparse.Namespace) -> int:
    """Print contents and state of a checkpoint, or of the newest one of a directory."""
    path = chosen(arguments.path)[0]
    with open_checkpoint(path) as reader:
        lines = [str(path), f"  step {reader.step}, {reader.origin()}", f"  {_summary(reader)}", ""]
        lines += _array_lines(reader)
        lines += ["", "  state", *(f"    {line}" for line in state_lines(reader.state))]
    print("\n".join(lines))
    return 0


def verify_checkpoints(arguments: argparse.Namespace) -> int:
    """Read every checkpoint whole; the exit code is that of a `CheckpointError` if one is bad.

    Whatever their size, memory for one chunk is enough.
    """
    damaged = 0
    for path in chosen(arguments.path):
        begin = time.perf_counter()
        try:
            with open_checkpoint(path) as reader:
                reader.verify()
                step, total = reader.step, _total(reader)
        except CheckpointError as error:
            damaged += 1
            print(f"BAD  {error}")
        else:
            rate = total / 1e9 / max(time.perf_counter() - begin, 1e-9)
            print(f"ok   {path}: step {step}, {total / 1e6:.2f} MB of arrays, {rate:.2f} GB/s")
    return CheckpointError.exit_code if damaged else 0


def chosen(path: Path) -> list[Path]:
    """Return the checkpoints that the user means, newest first; at least one.

    Parameters
    ----------
    path
        A checkpoint, a directory of checkpoints, or the output directory above it.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise CheckpointError(f"there is no checkpoint and no directory {path}")
    if (path / "manifest.json").is_file():
        return [path]
    found = find_checkpoints(path) or find_checkpoints(path / "checkpoints")
    if not found:
        raise CheckpointError(f"there is no checkpoint in {path}")
    return found


def state_lines(state: dict[str, Any]) -> list[str]:
    """Return ``key = value`` of each entry, cut to the width of a terminal."""
    lines = []
    for key, value in state.items():
        text = json.dumps(value)
        shown = text if len(text) <= _STATE_WIDTH else f"{text[: _STATE_WIDTH - 3]}..."
        lines.append(f"{key} = {shown}")
    return lines


def _array_lines(reader: Reader) -> list[str]:
    width = max((len(spec.name) for spec in reader.arrays), default=0)
    lines = []
    for spec in reader.arrays:
        slices = len(getattr(spec, "slices", ())) or 1
        where = f"{slices} slices" if slices > 1 else ""
        lines.append(
            f"  {spec.name:<{width}}  {spec.dtype:>4}  {spec.shape!s:<20}  {where}".rstrip()
        )
    return lines


def _summary(reader: Reader) -> str:
    parameters = sum(
        math.prod(spec.shape) for spec in reader.arrays if spec.name.startswith("parameters/")
    )
    return f"{len(reader.arrays)} arrays, {parameters:,} parameters, {_total(reader) / 1e6:.2f} MB"


def _total(reader: Reader) -> int:
    return sum(spec.nbytes for spec in reader.arrays)
