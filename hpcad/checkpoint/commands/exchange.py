"""`hpcad ckpt export|import`: checkpoints for other programs, and theirs for hpcad."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcad import __version__
from hpcad.checkpoint.commands.inspection import chosen
from hpcad.checkpoint.find import find_checkpoints
from hpcad.checkpoint.reading.reader import open_checkpoint
from hpcad.checkpoint.restoring.contents import match_names
from hpcad.checkpoint.restoring.partial import PARAMETERS
from hpcad.checkpoint.safetensors import read_safetensors, write_safetensors
from hpcad.checkpoint.store import CheckpointStore
from hpcad.errors import CheckpointError

PREFIX = "parameters/"


def export_checkpoint(arguments: argparse.Namespace) -> int:
    """Write arrays of a checkpoint, or of the newest one of a directory, as safetensors."""
    output: Path = arguments.output
    if output.suffix != ".safetensors":
        raise CheckpointError(f"the name of {output} must end with .safetensors")
    if output.exists() and not arguments.force:
        raise CheckpointError(f"{output} is there already; remove it, or say --force")
    path = chosen(arguments.path)[0]
    with open_checkpoint(path) as reader:
        specs = {spec.name: spec for spec in reader.arrays}
        names = match_names(list(specs), arguments.arrays or PARAMETERS, path)
        stored = {name.removeprefix(PREFIX): name for name in names}
        if len(stored) != len(names):
            raise CheckpointError(f"holds two arrays that differ only by {PREFIX!r}: export one")
        size = write_safetensors(
            output,
            {short: (specs[name].dtype, specs[name].shape) for short, name in stored.items()},
            lambda short: reader.read(stored[short]),
            {"hpcad": __version__, "step": str(reader.step)},
        )
    print(f"{output}: {len(names)} arrays, {size / 1e6:.2f} MB, from {path}")
    return 0


def import_checkpoint(arguments: argparse.Namespace) -> int:
    """Make a checkpoint of the parameters in a safetensors file."""
    directory: Path = arguments.directory
    if found := find_checkpoints(directory):
        raise CheckpointError(
            f"{directory} holds checkpoints, {found[0].name} among them; name a directory of its "
            "own for the imported one"
        )
    arrays, metadata = read_safetensors(arguments.file, bfloat16_bits=arguments.bfloat16_bits)
    state = {"step": arguments.step, "imported": {"file": str(arguments.file), **metadata}}
    named = {f"{arguments.prefix}{name}": array for name, array in arrays.items()}
    path = CheckpointStore(directory).save(arguments.step, named, state)
    total = sum(array.nbytes for array in arrays.values())
    print(f"{path}: {len(arrays)} arrays, {total / 1e6:.2f} MB, from {arguments.file}")
    return 0
