"""Version 1 of the format: one HDF5 file ``step-00000123.h5`` per step. Only read, not written.

::

    /                attributes format = "hpcad-checkpoint", version = 1
    /manifest        uint8 JSON text, attribute xxh3_128 = its checksum
    /state           uint8 JSON text: step, cursor, schedule, configuration, ...
    /arrays/...      one contiguous little-endian dataset per array, "a/b" in groups

The manifest names every array with shape, dtype and checksum. It is the whitelist of the reader:
nothing that it does not name is ever opened.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.checkpoint.format import (
    CHECKSUM,
    FORMAT,
    MAX_AXES,
    STORED_DTYPES,
    DamagedCheckpointError,
    check_json,
    check_names,
    count_of,
    text_of,
)
from hpcad.errors import CheckpointError

VERSION = 1


def file_name(step: int) -> str:
    """Return the file name of the checkpoint of `step`."""
    return f"step-{step:08d}.h5"


@dataclass(frozen=True)
class ArraySpec:
    """Name, dtype string (little-endian), shape and checksum of one array."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    checksum: str

    @property
    def nbytes(self) -> int:
        """Bytes of the array; exact, since Python integers do not overflow."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Manifest:
    """The table of contents of a checkpoint file."""

    step: int
    arrays: tuple[ArraySpec, ...]
    state_bytes: int
    state_checksum: str
    written: str
    host: str
    hpcad: str

    def encode(self) -> bytes:
        """Return the manifest as JSON text."""
        record = {
            "format": FORMAT,
            "version": VERSION,
            "step": self.step,
            "written": self.written,
            "host": self.host,
            "hpcad": self.hpcad,
            "state": {"bytes": self.state_bytes, CHECKSUM: self.state_checksum},
            "arrays": [
                {"name": a.name, "dtype": a.dtype, "shape": list(a.shape), CHECKSUM: a.checksum}
                for a in self.arrays
            ],
        }
        return json.dumps(record, indent=1).encode()

    @staticmethod
    def decode(text: bytes) -> Manifest:
        """Read a manifest; whatever does not fit is a `DamagedCheckpointError`."""
        try:
            check_json(text)
            record = json.loads(text)
            if record["format"] != FORMAT or record["version"] != VERSION:
                raise ValueError("its manifest is of another format than the file")
            manifest = Manifest(
                step=count_of(record["step"]),
                arrays=tuple(_array_spec(item) for item in record["arrays"]),
                state_bytes=count_of(record["state"]["bytes"]),
                state_checksum=text_of(record["state"][CHECKSUM]),
                written=text_of(record["written"]),
                host=text_of(record["host"]),
                hpcad=text_of(record["hpcad"]),
            )
            check_names([a.name for a in manifest.arrays])
        except (ValueError, TypeError, KeyError, RecursionError, CheckpointError) as error:
            raise DamagedCheckpointError(f"its manifest cannot be used ({error!r})") from error
        return manifest


def _array_spec(item: dict[str, Any]) -> ArraySpec:
    shape = tuple(count_of(extent) for extent in item["shape"])
    if item["dtype"] not in STORED_DTYPES or len(shape) > MAX_AXES:
        raise ValueError(f"array {item['name']!r} has dtype {item['dtype']!r}, {len(shape)} axes")
    return ArraySpec(text_of(item["name"]), item["dtype"], shape, text_of(item[CHECKSUM]))
