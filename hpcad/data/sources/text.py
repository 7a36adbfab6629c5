"""Text: its characters become a stream of tokens, their sorted set the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hpcad.data.manifest import DTYPES, FieldSpec
from hpcad.data.sources.source import CHUNK_BYTES, Source
from hpcad.errors import DataError


def text_sources(path: str | Path, *, split: float | None = None) -> list[Source]:
    """One token stream of a UTF-8 file's characters, or two: the first part and the rest.

    Parameters
    ----------
    path
        Text file; line ends are kept as they are.
    split
        Share of the characters, between 0 and 1, that the first stream gets. Both streams have
        the vocabulary of the whole text.

    Returns
    -------
    list of Source
        One, or two with ``split``. Tokens are uint8, uint16 or int32, whichever is enough.

    Raises
    ------
    DataError
        If the file is missing, empty or not UTF-8, or the split leaves a part empty.
    """
    path = Path(path)
    if split is not None and not 0 < split < 1:
        raise DataError(f"a split must lie between 0 and 1, for example 0.9, not {split}")
    points = _read_code_points(path)
    symbols, tokens = np.unique(points, return_inverse=True)
    tokens = tokens.astype(_token_dtype(len(symbols)))
    vocabulary = [chr(point) for point in symbols]
    if split is None:
        return [_stream(str(path), tokens, vocabulary)]
    border = int(split * len(tokens))
    if not 0 < border < len(tokens):
        raise DataError(f"{path}: a split of {split} leaves nothing on one side of its text")
    first = f"{path} (first {split:.0%})"
    rest = f"{path} (the rest)"
    return [
        _stream(first, tokens[:border], vocabulary),
        _stream(rest, tokens[border:], vocabulary),
    ]


def _read_code_points(path: Path) -> np.ndarray:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not UTF-8 text (byte {error.start}: {error.reason}); convert it first, "
            "for example with iconv"
        ) from error
    if not text:
        raise DataError(f"{path}: is empty")
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _token_dtype(symbols: int) -> np.dtype[np.generic]:
    if symbols <= 2**8:
        return DTYPES["uint8"]
    return DTYPES["uint16"] if symbols <= 2**16 else DTYPES["int32"]


def _stream(origin: str, tokens: np.ndarray, vocabulary: list[str]) -> Source:
    rows = CHUNK_BYTES // tokens.dtype.itemsize

    def chunks() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(tokens), rows):
            yield {"tokens": tokens[start : start + rows]}

    fields = {"tokens": FieldSpec((), tokens.dtype)}
    metadata = {"vocabulary": vocabulary}
    return Source(origin, fields, len(tokens), chunks, "tokens", metadata)
