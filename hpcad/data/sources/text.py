"""Text becomes a stream of tokens: its characters, its bytes, or words of a vocabulary file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import DTYPES, FieldSpec
from hpcad.data.sources.source import CHUNK_BYTES, Source
from hpcad.data.sources.vocabulary import as_tokens, read_vocabulary, token_dtype, tokenize
from hpcad.errors import DataError

CHARACTERS, BYTES = "characters", "bytes"


def text_sources(
    path: str | Path, *, split: float | None = None, tokenizer: str | Path = CHARACTERS
) -> list[Source]:
    """One token stream of a file of text, or two: the first part and the rest.

    Parameters
    ----------
    path
        Text file; line ends are kept as they are. It must be UTF-8, except for bytes.
    split
        Share of the tokens, between 0 and 1, that the first stream gets. Both streams have the
        vocabulary of the whole text.
    tokenizer
        ``"characters"``: the sorted characters of the text are the vocabulary. ``"bytes"``: the
        256 bytes are; token i stands there as the character with code point i. Otherwise a
        vocabulary file, see :mod:`hpcad.data.sources.vocabulary`.

    Returns
    -------
    list of Source
        One, or two with ``split``. Tokens are uint8, uint16 or int32, whichever is enough. The
        metadata have the ``vocabulary``, a list of strings, and for others than characters the
        ``tokenizer``: ``"bytes"`` or ``"longest match"``.

    Raises
    ------
    DataError
        If a file is missing, empty or not UTF-8, a part of the text is not in the vocabulary, or
        the split leaves a part empty.
    """
    path = Path(path)
    if split is not None and not 0 < split < 1:
        raise DataError(f"a split must lie between 0 and 1, for example 0.9, not {split}")
    tokens, metadata, files = _tokens(path, tokenizer)
    if split is None:
        return [_stream(str(path), tokens, metadata, files, [0, len(tokens)])]
    border = int(split * len(tokens))
    if not 0 < border < len(tokens):
        raise DataError(f"{path}: a split of {split} leaves nothing on one side of its text")
    first = f"{path} (first {split:.0%})"
    rest = f"{path} (the rest)"
    return [
        _stream(first, tokens, metadata, files, [0, border]),
        _stream(rest, tokens, metadata, files, [border, len(tokens)]),
    ]


def _tokens(
    path: Path, tokenizer: str | Path
) -> tuple[np.ndarray, dict[str, Any], tuple[Path, ...]]:
    data = _read(path)
    if tokenizer == BYTES:
        metadata = {"vocabulary": [chr(number) for number in range(256)], "tokenizer": BYTES}
        return np.frombuffer(data, np.uint8), metadata, (path,)
    text = _decoded(path, data)
    if tokenizer == CHARACTERS:
        points = np.frombuffer(text.encode("utf-32-le"), "<u4")
        symbols, tokens = np.unique(points, return_inverse=True)
        vocabulary = [chr(point) for point in symbols]
        return tokens.astype(token_dtype(len(symbols))), {"vocabulary": vocabulary}, (path,)
    file = Path(tokenizer)
    vocabulary = read_vocabulary(file)
    tokens = as_tokens(tokenize(text, vocabulary, str(path)), len(vocabulary))
    return tokens, {"vocabulary": vocabulary, "tokenizer": "longest match"}, (path, file)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not data:
        raise DataError(f"{path}: is empty")
    return data


def _decoded(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not UTF-8 text (byte {error.start}: {error.reason}); convert it first, "
            "for example with iconv, or pack its bytes"
        ) from error
    if not text:
        raise DataError(f"{path}: is empty")
    return text


def _stream(
    origin: str,
    tokens: np.ndarray,
    metadata: dict[str, Any],
    files: tuple[Path, ...],
    part: list[int],
) -> Source:
    """The tokens from part[0] to part[1]."""
    kind = DTYPES[tokens.dtype.name]
    rows = CHUNK_BYTES // kind.itemsize
    begin, end = part

    def chunks(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for first in range(begin + start, begin + stop, rows):
            yield {"tokens": tokens[first : min(first + rows, begin + stop)].astype(kind)}

    fields = {"tokens": FieldSpec((), kind)}
    # The size of the part is told too: the other part has the same files.
    return Source(
        origin, fields, end - begin, chunks, "tokens", metadata, files, {"part": [begin, end]}
    )
