"""IDX files, the format of MNIST and its family (http://yann.lecun.com/exdb/mnist/).

Two zero bytes, a byte for the type, a byte for the number of dimensions, the dimensions as
big-endian 32-bit integers, and the numbers, big-endian, the last dimension fastest. Often gzipped.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from hpcad.data.manifest import FieldSpec
from hpcad.data.sources.source import Source, label_metadata, rows_per_chunk, two_names
from hpcad.errors import DataError

_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_LARGEST_SAMPLE = 2**31  # bytes; more is a damaged header


def idx_source(
    inputs: str | Path,
    labels: str | Path | None = None,
    *,
    fields: tuple[str, ...] = ("x", "y"),
    class_names: list[str] | None = None,
) -> Source:
    """Samples from an IDX file, and their class labels from a second one.

    Parameters
    ----------
    inputs
        IDX file of shape ``(n, ...)``, gzipped or not.
    labels
        IDX file of n integers from 0.
    fields
        Names of the two fields.
    class_names
        One name per class.

    Raises
    ------
    DataError
        If a file is missing, not IDX, cut short or too long, or the counts differ.
    """
    inputs = Path(inputs)
    header = _read_header(inputs)
    if labels is None:
        name = fields[0]
        return Source(
            str(inputs),
            {name: header.spec},
            header.count,
            lambda start, stop: _chunks(inputs, header, name, start, stop),
            files=(inputs,),
        )
    x, y = two_names(fields)
    labels = Path(labels)
    values = _read_labels(labels)
    if len(values) != header.count:
        raise DataError(
            f"{inputs} has {header.count} samples, but {labels} has {len(values)} labels; they "
            "must belong together"
        )
    metadata = label_metadata(values, labels, class_names)

    def chunks(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for chunk in _chunks(inputs, header, x, start, stop):
            after = start + len(chunk[x])
            yield {x: chunk[x], y: values[start:after]}
            start = after

    specs = {x: header.spec, y: FieldSpec((), values.dtype)}
    origin, files = f"{inputs} and {labels}", (inputs, labels)
    return Source(origin, specs, header.count, chunks, metadata=metadata, files=files)


@dataclass(frozen=True)
class _Header:
    count: int
    spec: FieldSpec
    stored: np.dtype[Any]
    nbytes: int  # of the header itself


def _read_header(path: Path) -> _Header:
    with _open(path) as file:
        return _parse_header(path, file)


def _parse_header(path: Path, file: IO[bytes]) -> _Header:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES or not start[3]:
        raise DataError(f"{path}: is not an IDX file (it starts with {start.hex(' ')})")
    sizes = file.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise DataError(f"{path}: this IDX file was cut short in its header; download it again")
    count, *shape = (int(n) for n in np.frombuffer(sizes, ">u4"))
    stored = np.dtype(_TYPES[start[2]])
    sample_bytes = prod(shape) * stored.itemsize
    if not count or not 0 < sample_bytes <= _LARGEST_SAMPLE:
        raise DataError(f"{path}: {count} samples of shape {tuple(shape)} cannot be packed")
    spec = FieldSpec(tuple(shape), stored.newbyteorder("<"))
    return _Header(count, spec, stored, 4 + len(sizes))


def _read_labels(path: Path) -> np.ndarray:
    header = _read_header(path)
    if header.spec.shape or header.stored.kind not in "iu":
        raise DataError(f"{path}: labels must be integers of shape (n,), not {header.spec} each")
    return np.concatenate([chunk["y"] for chunk in _chunks(path, header, "y", 0, header.count)])


def _chunks(
    path: Path, header: _Header, name: str, first: int, last: int
) -> Iterator[dict[str, np.ndarray]]:
    """Some samples, a few MiB at a time; raises if the file has fewer or more than it says."""
    rows = rows_per_chunk({name: header.spec})
    with _open(path) as file:
        file.seek(header.nbytes + first * header.spec.nbytes)
        for start in range(first, last, rows):
            count = min(rows, last - start)
            data = file.read(count * header.spec.nbytes)
            if len(data) < count * header.spec.nbytes:
                there = (file.seek(0, os.SEEK_END) - header.nbytes) // header.spec.nbytes
                raise DataError(
                    f"{path}: this IDX file was cut short: it announces {header.count} samples "
                    f"and holds {there}; download it again"
                )
            array = np.frombuffer(data, header.stored).reshape(count, *header.spec.shape)
            yield {name: array.astype(header.spec.dtype)}
        if last == header.count and file.read(1):
            raise DataError(
                f"{path}: this IDX file goes on after the {header.count} samples it announces; "
                "download it again"
            )


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unzipped; what goes wrong while reading them becomes a DataError."""
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if not zipped:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as unzipped:
                yield cast("IO[bytes]", unzipped)  # it is one, though its class does not say so
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip file is damaged ({error}); download it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
