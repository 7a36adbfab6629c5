"""Writing a manifest: only what can be read again, and onto the disk before it counts."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hpcad.data.manifest.contents import FILE_NAME, Manifest, manifest_text
from hpcad.data.manifest.destination import disk_error, sync_directory
from hpcad.data.manifest.reader import parse_manifest
from hpcad.errors import DataError


def write_manifest(manifest: Manifest, folder: Path, path: Path) -> None:
    """Write a manifest beside the shards in ``folder``, for a dataset that will be at ``path``.

    Raises
    ------
    DataError
        The metadata are not JSON, the manifest could not be read again, or the disk is full.
    """
    # Whatever is written must be readable: there is one definition of what a manifest may be.
    try:
        text = manifest_text(manifest)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: the metadata cannot be written as JSON: {error}") from error
    parse_manifest(json.loads(text), path / FILE_NAME)
    try:
        with open(folder / FILE_NAME, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(folder)
    except OSError as error:
        raise disk_error(path, error) from error
