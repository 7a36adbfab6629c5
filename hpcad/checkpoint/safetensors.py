"""The safetensors file format: arrays under names, and nothing that could be executed.

::

    8 bytes     length n of the header, little-endian
    n bytes     JSON object: name -> {"dtype", "shape", "data_offsets": [begin, end]},
                and "__metadata__": text -> text; spaces may follow it
    the rest    the arrays, C order, little-endian, without gaps; offsets count from here

Format: https://github.com/huggingface/safetensors#format. This reader is as strict as that page:
offsets must cover the data exactly once, keys must not repeat. There are no checksums in it.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from hpcad.checkpoint.disk import DISK, Disk, write_all
from hpcad.checkpoint.format import (
    MAX_AXES,
    MAX_MANIFEST,
    check_json,
    count_of,
    raw_bytes,
    text_of,
    unique_keys,
)
from hpcad.checkpoint.reading.opening import check_memory, read_at
from hpcad.errors import CheckpointError

METADATA = "__metadata__"
_BFLOAT16 = "BF16"
#: Name in the file -> dtype. NumPy has no bfloat16: its bits are read as integers.
DTYPES = {"BOOL": "|b1", "U8": "|u1", "I8": "|i1", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
DTYPES |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (2, 4, 8)}
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_SIZE = 8
_ALIGNMENT = 8


@dataclass(frozen=True)
class Tensor:
    """An array of a file: its dtype there, its shape, its byte range in the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_safetensors(
    path: str | Path, *, bfloat16_bits: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the metadata of a safetensors file.

    Parameters
    ----------
    path
        Of the file; it may be a symbolic link, as caches of downloads are made of them.
    bfloat16_bits
        Return arrays of bfloat16 as their bits, in uint16. Otherwise they become float32, which
        holds every one of their values.

    Raises
    ------
    CheckpointError
        It does not exist, is not of this format, does not fit into memory, or holds a dtype that
        NumPy has not (8-bit floats).
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CheckpointError(f"cannot open {path}: {error.strerror}") from error
    try:
        tensors, metadata, start = _read_header(descriptor)
        check_memory(sum(tensor.end - tensor.begin for tensor in tensors))
        arrays = {t.name: _read_array(descriptor, t, start, bfloat16_bits) for t in tensors}
    except CheckpointError as error:
        raise CheckpointError(f"{path} is no usable safetensors file: it {error}") from error
    except Exception as error:
        reason = " ".join(f"{error}".split())[:300] or type(error).__name__
        raise CheckpointError(f"{path} is no usable safetensors file: {reason}") from error
    finally:
        os.close(descriptor)
    return arrays, metadata


def write_safetensors(
    path: str | Path,
    shapes: Mapping[str, tuple[str, tuple[int, ...]]],
    read: Callable[[str], np.ndarray],
    metadata: Mapping[str, str] | None = None,
    *,
    disk: Disk = DISK,
) -> int:
    """Write a safetensors file, one array at a time; return its length in bytes.

    It appears under its name when it is on the disk, in the place of one that was there.

    Parameters
    ----------
    shapes
        Name -> (dtype string such as "<f4", shape).
    read
        Returns the array of a name.
    metadata
        Texts that say what it is.

    Raises
    ------
    CheckpointError
        A name or dtype cannot be stored, or the file system refuses.
    """
    path = Path(path)
    header, order = _build_header(shapes, metadata or {})
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = disk.create(temporary)
        try:
            write_all(disk, descriptor, memoryview(header), 0)
            at = len(header)
            for name in order:
                data = raw_bytes(np.asarray(read(name), order="C"))
                write_all(disk, descriptor, data, at)
                at += len(data)
            disk.fsync(descriptor)
        finally:
            disk.close(descriptor)
        disk.rename(temporary, path)
        disk.fsync_directory(path.parent)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)  # there is none after the rename
    return at


def _build_header(
    shapes: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, list[str]]:
    for name, (dtype, _) in shapes.items():
        if dtype not in _CODES or name == METADATA:
            raise CheckpointError(f"a safetensors file cannot hold an array {name!r} of {dtype}")
    # Wide elements first: then all arrays are aligned to their elements.
    order = sorted(shapes, key=lambda name: (-np.dtype(shapes[name][0]).itemsize, name))
    record: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    at = 0
    for name in order:
        dtype, shape = shapes[name]
        end = at + math.prod(shape) * np.dtype(dtype).itemsize
        record[name] = {"dtype": _CODES[dtype], "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(record, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(_SIZE, "little") + text, order


def _read_header(descriptor: int) -> tuple[list[Tensor], dict[str, str], int]:
    """Return the arrays in the order of their data, the metadata, and where the data begins."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    length = int.from_bytes(_read_bytes(descriptor, 0, min(_SIZE, status.st_size)), "little")
    start = _SIZE + length
    if length > MAX_MANIFEST or start > status.st_size or status.st_size < _SIZE:
        raise ValueError(f"its header of {length} bytes is too long for {status.st_size} bytes")
    text = _read_bytes(descriptor, _SIZE, length)
    if not text.startswith(b"{"):
        raise ValueError("its header is no JSON object")
    check_json(text)
    record = json.loads(
        text.decode(), object_pairs_hook=unique_keys, parse_constant=_refuse_constant
    )
    metadata = record.pop(METADATA, {})
    if not isinstance(metadata, dict):
        raise ValueError("its metadata are no JSON object")
    tensors = sorted((_tensor(*item) for item in record.items()), key=lambda t: (t.begin, t.end))
    _check_cover(tensors, status.st_size - start)
    return tensors, {text_of(k): text_of(v) for k, v in metadata.items()}, start


def _tensor(name: str, item: dict[str, Any]) -> Tensor:
    if not isinstance(item, dict) or item.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"array {name[:80]!r} has not dtype, shape and data_offsets alone")
    dtype = text_of(item["dtype"])
    if dtype not in DTYPES and dtype != _BFLOAT16:
        raise ValueError(
            f"array {name[:80]!r} has the dtype {dtype[:80]!r}, which is not known here"
        )
    shape = tuple(count_of(extent) for extent in item["shape"])
    begin, end = (count_of(offset) for offset in item["data_offsets"])
    if len(shape) > MAX_AXES or end - begin != math.prod(shape) * _dtype(dtype).itemsize:
        raise ValueError(f"array {name[:80]!r} has a shape that does not fit its offsets")
    return Tensor(name, dtype, shape, begin, end)


def _check_cover(tensors: list[Tensor], length: int) -> None:
    at = 0
    for tensor in tensors:
        if tensor.begin != at:
            raise ValueError(f"array {tensor.name[:80]!r} overlaps another one, or leaves a hole")
        at = tensor.end
    if at != length:
        raise ValueError(f"its arrays have {at} bytes and its data {length}")


def _read_array(descriptor: int, tensor: Tensor, start: int, bits: bool) -> np.ndarray:
    array = np.empty(tensor.shape, _dtype(tensor.dtype))
    data = raw_bytes(array)
    read_at(descriptor, data, start + tensor.begin)
    if tensor.dtype == "BOOL" and (np.frombuffer(data, np.uint8) > 1).any():
        raise ValueError(f"array {tensor.name[:80]!r} holds what is no boolean")
    if tensor.dtype == _BFLOAT16 and not bits:
        # bfloat16 is the upper half of float32.
        return np.left_shift(array, 16, dtype=np.uint32).view(np.float32)
    return array


def _dtype(code: str) -> np.dtype[Any]:
    return np.dtype(DTYPES.get(code, "<u2"))


def _read_bytes(descriptor: int, offset: int, count: int) -> bytes:
    data = bytearray(count)
    read_at(descriptor, memoryview(data), offset)
    return bytes(data)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
