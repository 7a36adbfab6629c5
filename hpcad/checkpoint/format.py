"""What a checkpoint file is: names, dtypes, checksums, and the manifest.

One checkpoint is one HDF5 file ``step-00000123.h5``, readable with ``h5dump``::

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
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash

from hpcad.errors import CheckpointError

FORMAT = "hpcad-checkpoint"
VERSION = 1
CHECKSUM = "xxh3_128"

#: dtype of an array -> dtype of its dataset. HDF5 has no boolean; h5py's enum would be one more
#: datatype class for the strict reader to admit, so booleans are stored as bytes.
STORED_DTYPES = {code: code for code in ("<f2", "<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1")}
STORED_DTYPES |= {"<u2": "<u2", "<u4": "<u4", "<u8": "<u8", "|b1": "|u1"}

_FILE_NAME = re.compile(r"step-(\d{8,18})\.h5")
_MAX_NAME = 1024
_MAX_RANK = 32


class DamagedCheckpointError(CheckpointError):
    """The file is not what its manifest and checksums say; an older checkpoint may be whole."""


def file_name(step: int) -> str:
    """Return the file name of the checkpoint of `step`."""
    return f"step-{step:08d}.h5"


def step_of(name: str) -> int | None:
    """Return the step that a file name states, or None when it is not a checkpoint's name."""
    match = _FILE_NAME.fullmatch(name)
    return int(match.group(1)) if match else None


def raw_bytes(array: np.ndarray) -> memoryview:
    """View a contiguous array as bytes (also when it is 0-d or empty)."""
    return array.reshape(-1).view(np.uint8).data


def checksum(data: memoryview | bytes) -> str:
    """Return the xxh3_128 checksum of `data` as 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest(data)


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
            record = json.loads(text)
            if record["format"] != FORMAT or record["version"] != VERSION:
                raise ValueError("its manifest is of another format than the file")
            manifest = Manifest(
                step=_count(record["step"]),
                arrays=tuple(_array_spec(item) for item in record["arrays"]),
                state_bytes=_count(record["state"]["bytes"]),
                state_checksum=_text(record["state"][CHECKSUM]),
                written=_text(record["written"]),
                host=_text(record["host"]),
                hpcad=_text(record["hpcad"]),
            )
            check_names([a.name for a in manifest.arrays])
        except (ValueError, TypeError, KeyError, RecursionError, CheckpointError) as error:
            raise DamagedCheckpointError(f"its manifest cannot be used ({error!r})") from error
        return manifest


def encode_state(state: Mapping[str, Any]) -> bytes:
    """Return `state` as JSON text. NaN is kept: a diverged loss must not prevent a save."""
    try:
        return json.dumps(state).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"the state of a checkpoint must consist of JSON values ({error}); "
            "put NumPy arrays into `arrays` and numbers into int or float"
        ) from error


def check_names(names: list[str]) -> None:
    """Check that array names can be paths of HDF5 datasets and do not collide.

    Raises
    ------
    CheckpointError
        For an empty or repeated name, an empty, "." or ".." component, unprintable characters,
        or a name that is also the group of another.
    """
    seen: set[str] = set()
    groups: set[str] = set()
    for name in names:
        parts = name.split("/")
        if not name.isprintable() or len(name) > _MAX_NAME or {"", ".", ".."} & set(parts):
            raise CheckpointError(
                f"{name[:80]!r} cannot name an array of a checkpoint: use printable words "
                "joined by '/', such as 'parameters/fc1.weight'"
            )
        if name in seen:
            raise CheckpointError(f"the array name {name!r} is used twice in a checkpoint")
        seen.add(name)
        groups.update("/".join(parts[:i]) for i in range(1, len(parts)))
    if both := sorted(seen & groups):
        raise CheckpointError(f"{both[0]!r} names both an array and a group of arrays")


def _array_spec(item: dict[str, Any]) -> ArraySpec:
    shape = tuple(_count(extent) for extent in item["shape"])
    if item["dtype"] not in STORED_DTYPES or len(shape) > _MAX_RANK:
        raise ValueError(f"array {item['name']!r} has dtype {item['dtype']!r}, {len(shape)} axes")
    return ArraySpec(_text(item["name"]), item["dtype"], shape, _text(item[CHECKSUM]))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value
