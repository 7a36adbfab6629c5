"""What a checkpoint is on the disk: names, dtypes, checksums (version 2 of the format).

One checkpoint is one directory, and its manifest makes it one::

    step-00000123/
        manifest.json               what the parts hold, and the state: :mod:`.manifest`
        9f86d081884c7d65-0000.h5    the part of rank 0: HDF5, readable with h5dump
        9f86d081884c7d65-0001.h5    the part of rank 1

A directory without ``manifest.json`` is no checkpoint. The manifest is the whitelist of the reader:
no file that it does not name is ever opened, and every byte of an array is found by the offsets in
it, so that HDF5 need not parse anything in order to load. Version 1 was one file
(:mod:`.reading.format_v1`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xxhash

from hpcad.errors import CheckpointError

FORMAT = "hpcad-checkpoint"
VERSION = 2
CHECKSUM = "xxh3_128"
MANIFEST_NAME = "manifest.json"
#: A text file with the name of the newest checkpoint's directory. For people; never relied on.
LATEST_NAME = "latest"
MAX_AXES = 32
#: Of a manifest, in bytes: some 350,000 slices. A reader allocates no more on a file's own word.
MAX_MANIFEST = 1 << 26

#: dtype of an array -> dtype of its dataset. HDF5 has no boolean; h5py's enum would be one more
#: datatype class for readers to admit, so booleans are stored as bytes.
STORED_DTYPES = {code: code for code in ("<f2", "<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1")}
STORED_DTYPES |= {"<u2": "<u2", "<u4": "<u4", "<u8": "<u8", "|b1": "|u1"}

_MAX_CONTAINERS = 1 << 20  # objects and lists in a manifest; a slice is one
_MAX_VALUES = 1 << 22

_DIRECTORY_NAME = re.compile(r"step-([0-9]{8,18})(\.h5)?")
PART_NAME = re.compile(r"([0-9a-f]{16})-[0-9]{4,9}\.h5")
_MAX_NAME = 1024
_MAX_DEPTH = 64


class DamagedCheckpointError(CheckpointError):
    """It is not what its manifest and checksums say; an older checkpoint may be whole."""


def directory_name(step: int) -> str:
    """Return the name of the directory of the checkpoint of `step`."""
    return f"step-{step:08d}"


def step_of(name: str) -> int | None:
    """Return the step that a name states, or None when it is not a checkpoint's name.

    Both versions count: the directory ``step-00000123`` and the file ``step-00000123.h5``.
    """
    match = _DIRECTORY_NAME.fullmatch(name)
    if match is None:
        return None
    step = int(match.group(1))
    # One step has one name: with more zeros in front it would be another checkpoint of that step.
    return step if name.startswith(directory_name(step)) else None


def part_name(nonce: str, rank: int) -> str:
    """Return the file name of the part that `rank` writes in the save `nonce`."""
    return f"{nonce}-{rank:04d}.h5"


def nonce_of(name: str) -> str | None:
    """Return the nonce in a part's file name, or None when it is not a part's name."""
    match = PART_NAME.fullmatch(name)
    return match.group(1) if match else None


def raw_bytes(array: np.ndarray) -> memoryview:
    """View a contiguous array as bytes (also when it is 0-d or empty)."""
    return array.reshape(-1).view(np.uint8).data


def checksum(data: memoryview | bytes) -> str:
    """Return the xxh3_128 checksum of `data` as 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest(data)


def encode_state(state: Mapping[str, Any]) -> str:
    """Return `state` as JSON text. NaN is kept: a diverged loss must not prevent a save."""
    try:
        text = json.dumps(state)
        json.loads(text, object_pairs_hook=unique_keys)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"the state of a checkpoint must consist of JSON values ({error}); "
            "put NumPy arrays into `arrays` and numbers into int or float"
        ) from error
    return text


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
        too_long = len(name) > _MAX_NAME or len(parts) > _MAX_DEPTH
        if not name.isprintable() or too_long or {"", ".", ".."} & set(parts):
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


def check_json(text: bytes) -> None:
    """Check that JSON text is of a size that a parser can bear.

    A few bytes of text become a hundred of memory, and many containers hours of collecting garbage
    (64 MiB of ``[[[[]]]],`` took 25 s and 2.9 GB).

    Raises
    ------
    ValueError
        It is longer than `MAX_MANIFEST`, or has too many brackets or commas.
    """
    containers, values = text.count(b"[") + text.count(b"{"), text.count(b",")
    if len(text) > MAX_MANIFEST or containers > _MAX_CONTAINERS or values > _MAX_VALUES:
        raise ValueError(
            f"JSON text of {len(text)} bytes with {containers} lists and objects and {values} "
            f"commas; at most {MAX_MANIFEST}, {_MAX_CONTAINERS} and {_MAX_VALUES} are read"
        )


def count_of(value: Any) -> int:
    """Return `value` if it is an integer from 0 to 2**63 - 1; else raise `ValueError`."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is not a count")
    return value


def text_of(value: Any, pattern: re.Pattern[str] | None = None) -> str:
    """Return `value` if it is text (that matches as a whole); else raise `ValueError`."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    if pattern is not None and not pattern.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is not of the form {pattern.pattern}")
    return value


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON (an `object_pairs_hook`); a repeated key is a `ValueError`."""
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key occurs twice in an object")
    return record
