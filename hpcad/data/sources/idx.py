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
from typing import IO, Any, NoReturn, cast

import numpy as np

from hpcad.data.manifest.contents import FieldSpec
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
    samples = _Samples(inputs, header)
    if labels is None:
        name = fields[0]
        return Source(
            str(inputs),
            {name: header.spec},
            header.count,
            lambda start, stop: samples.chunks(name, start, stop),
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
        for chunk in samples.chunks(x, start, stop):
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
    samples = _Samples(path, header)
    return np.concatenate([chunk["y"] for chunk in samples.chunks("y", 0, header.count)])


class _Samples:
    """The samples of a file, by ranges.

    To get to a place in a gzipped file, all before it must be unzipped, and packing asks for one
    range behind the other: so such a file stays open between them.
    """

    def __init__(self, path: Path, header: _Header) -> None:
        self._path, self._header = path, header
        self._raw: IO[bytes] | None = None
        self._file: IO[bytes] | None = None

    def chunks(self, name: str, first: int, last: int) -> Iterator[dict[str, np.ndarray]]:
        """A few MiB at a time; raises if the file has fewer or more than it says."""
        header, done = self._header, False
        rows, size = rows_per_chunk({name: header.spec}), header.spec.nbytes
        with _told(self._path):
            file = self._at(header.nbytes + first * size)
            try:
                for start in range(first, last, rows):
                    count = min(rows, last - start)
                    data = file.read(count * size)
                    if len(data) < count * size:
                        there = (file.seek(0, os.SEEK_END) - header.nbytes) // size
                        self._fail(
                            f"was cut short: it announces {header.count} samples and holds {there}"
                        )
                    array = np.frombuffer(data, header.stored).reshape(count, *header.spec.shape)
                    yield {name: array.astype(header.spec.dtype)}
                if last == header.count and file.read(1):
                    self._fail(f"goes on after the {header.count} samples it announces")
                done = True
            finally:
                if not done or last == header.count or file is self._raw:
                    self.close()

    def close(self) -> None:
        """Close the file, if it is open."""
        for file in (self._file, self._raw):
            if file is not None:
                file.close()
        self._file = self._raw = None

    def __del__(self) -> None:
        self.close()

    def _at(self, place: int) -> IO[bytes]:
        if self._file is not None and self._file.tell() > place:
            self.close()
        if self._file is None:
            self._raw = open(self._path, "rb")  # noqa: SIM115  # close() closes it
            self._file = _unzipped(self._raw)
        self._file.seek(place)
        return self._file

    def _fail(self, what: str) -> NoReturn:
        raise DataError(f"{self._path}: this IDX file {what}; download it again")


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unzipped."""
    with _told(path), open(path, "rb") as raw, _unzipped(raw) as file:
        yield file


def _unzipped(raw: IO[bytes]) -> IO[bytes]:
    zipped = raw.read(2) == _GZIP_MAGIC
    raw.seek(0)
    # A GzipFile is one, though its class does not say so.
    return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if zipped else raw


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong while a file is read, as a DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip file is damaged ({error}); download it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
