"""What is to be staged, as rank 0 found it and told the others."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcad.data.builtin import resolve
from hpcad.data.manifest.contents import FILE_NAME, Manifest
from hpcad.data.manifest.reader import parse_manifest, read_manifest_json
from hpcad.data.shards.opening import check_file
from hpcad.errors import DataError

if TYPE_CHECKING:
    from hpcad.parallel import Communicator


@dataclass(frozen=True)
class Source:
    """A dataset on the shared file system.

    Attributes
    ----------
    directory : Path
        Absolute.
    manifest : Manifest
    nonce : str
        16 hexadecimal digits that no other call has.
    """

    directory: Path
    manifest: Manifest
    nonce: str

    @property
    def names(self) -> list[str]:
        """Of the shards."""
        return [shard.file for shard in self.manifest.shards]

    @property
    def sizes(self) -> list[int]:
        """Bytes of the shards."""
        return [shard.nbytes for shard in self.manifest.shards]


def told_source(path: str | os.PathLike[str], communicator: Communicator) -> Source:
    """Look at a dataset on rank 0 alone, and tell all ranks; DataError on all if it is not there.

    Its manifest is read and every shard's size compared, which is all that the shared file system's
    directory is asked for.
    """
    told, error = None, None
    if communicator.rank == 0:
        try:
            told = _look(path)
        except DataError as found:
            error = found
    communicator.agree(error, name="stage")
    directory, value, nonce = communicator.broadcast_json(told, name="stage")
    return Source(Path(directory), parse_manifest(value, Path(directory) / FILE_NAME), nonce)


def _look(path: str | os.PathLike[str]) -> tuple[str, Any, str]:
    directory = Path(os.path.abspath(resolve(path)))
    value = read_manifest_json(directory)
    for shard in parse_manifest(value, directory / FILE_NAME).shards:
        check_file(directory / shard.file, shard)
    return os.fspath(directory), value, secrets.token_hex(8)
