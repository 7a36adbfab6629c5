"""What several commands share: options about shards, the sentence of provenance, and speaking."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hpcad.data.packing.pack import SHARD_MB, pack_all
from hpcad.data.packing.parallel import Provenance
from hpcad.data.packing.progress import Progress, shown
from hpcad.data.shards.writer import Layout
from hpcad.data.sources import Source
from hpcad.errors import HpcadError
from hpcad.parallel import World

T = TypeVar("T")


def add_shards(parser: argparse.ArgumentParser) -> None:
    """How a dataset is written."""
    shards = parser.add_argument_group("shards")
    shards.add_argument("--shard-samples", type=int, metavar="N", help="samples per shard")
    shards.add_argument("--shard-mb", type=float, default=SHARD_MB, help="MiB per shard")
    shards.add_argument("--layout", choices=("contiguous", "chunked"), default="contiguous")
    shards.add_argument("--compress", type=int, default=0, metavar="1-9", help="chunks, by deflate")
    shards.add_argument(
        "--force", action="store_true", help="replace a dataset, or an unfinished one, there"
    )
    shards.add_argument(
        "--resume",
        action="store_true",
        help="go on where an earlier one was broken off; keep what is finished if this one fails",
    )


def add_told(parser: argparse.ArgumentParser) -> None:
    """Sentences kept in the manifest."""
    told = parser.add_argument_group("sentences kept in the manifest")
    told.add_argument("--source", default="", help="where the data come from")
    told.add_argument("--licence", default="", help="how they may be used")
    told.add_argument("--attribution", default="", help="whom to name")


def write(
    options: argparse.Namespace,
    jobs: Sequence[tuple[Source, Path]],
    told: Provenance,
    world: World,
) -> int:
    """Pack sources as the options of :func:`add_shards` say."""
    progress = speaker(world)
    for note in [note for source, _ in jobs for note in source.notes]:
        progress.message(note)
    pack_all(
        jobs,
        shard_samples=options.shard_samples,
        shard_mb=options.shard_mb,
        layout=Layout(options.layout == "chunked", options.compress),
        provenance=told,
        force=options.force,
        resume=options.resume,
        communicator=world.communicator,
        progress=progress,
    )
    return 0


def agreed(world: World, work: Callable[[], T]) -> T:
    """What `work` gives on this rank, once it has gone well on all; an error on one is on all."""
    result, error = None, None
    try:
        result = work()
    except HpcadError as problem:
        error = problem
    world.communicator.agree(error, name="hpcad data")
    return result  # type: ignore[return-value]  # agree() has raised if there is none


def speaker(world: World) -> Progress:
    """Progress on rank 0, silence elsewhere."""
    return shown(say, world.is_root)


def say(line: str) -> None:
    """The one place in this room that prints."""
    print(line, flush=True)


def names(text: str | None) -> list[str] | None:
    """Names between commas."""
    return None if text is None else [name.strip() for name in text.split(",")]
