"""Vocabularies from a file, and text cut into their tokens by greedy longest match.

The file is one JSON object, token -> id, with the ids 0 to n - 1. From the beginning of the text
on, the longest token that fits is taken, then the longest one that fits behind it, and so on. This
is what WordPiece does within a word; it is not byte-pair encoding, whose merges have an order that
such a file does not hold.
"""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.errors import DataError

UNKNOWN = ("<unk>", "[UNK]", "<|unk|>")
_MOST_BYTES = 64 * 2**20  # of a vocabulary; the largest in use have a few MiB


def read_vocabulary(path: Path) -> list[str]:
    """The tokens of a vocabulary file, each at the place of its id.

    Raises
    ------
    DataError
        The file is missing, too large, not such an object, or its ids are not 0 to n - 1.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path}: has more than {_MOST_BYTES >> 20} MiB; is it a vocabulary?")
        value = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not a JSON file in UTF-8 ({error})") from error
    if not isinstance(value, dict) or not value:
        raise DataError(f"{path}: a vocabulary is one JSON object, token -> id, with ids from 0")
    tokens: list[Any] = [None] * len(value)
    for token, number in value.items():
        if not isinstance(number, int) or isinstance(number, bool):
            raise DataError(f"{path}: the id of token {token!r} is {number!r}, not an integer")
        if not 0 <= number < len(tokens) or tokens[number] is not None:
            raise DataError(
                f"{path}: {len(tokens)} tokens need the ids 0 to {len(tokens) - 1}, each once; "
                f"{token!r} has {number}"
            )
        tokens[number] = token
    if "" in value:
        raise DataError(f"{path}: the empty string cannot be a token")
    return tokens


def tokenize(text: str, vocabulary: list[str], where: str) -> array[int]:
    """The ids of the tokens of a text.

    Where no token fits, one character becomes the token for what is unknown, if the vocabulary has
    one (:data:`UNKNOWN`).

    Parameters
    ----------
    text, vocabulary
        What to cut, and :func:`read_vocabulary`'s list.
    where
        The text's file, for the error.

    Raises
    ------
    DataError
        No token fits, and there is none for what is unknown.

    Examples
    --------
    >>> list(tokenize("tomato", ["o", "t", "to", "tom", "a"], "here"))
    [3, 4, 2]
    """
    ids = {token: number for number, token in enumerate(vocabulary)}
    unknown = next((ids[token] for token in UNKNOWN if token in ids), None)
    found: defaultdict[str, set[int]] = defaultdict(set)
    for token in vocabulary:
        found[token[0]].add(len(token))
    # By first character only the lengths that tokens with it have, the longest first.
    lengths = {first: sorted(each, reverse=True) for first, each in found.items()}
    tokens, place = array("i"), 0
    while place < len(text):
        for length in lengths.get(text[place], ()):
            number = ids.get(text[place : place + length])
            if number is not None:
                tokens.append(number)
                place += length
                break
        else:
            if unknown is None:
                raise DataError(_no_token(text, place, where))
            tokens.append(unknown)
            place += 1
    return tokens


def token_dtype(symbols: int) -> str:
    """The smallest of uint8, uint16 and int32 that holds the ids of so many symbols."""
    kinds = {"uint8": 2**8, "uint16": 2**16}
    return next((kind for kind, most in kinds.items() if symbols <= most), "int32")


def as_tokens(ids: array[int], symbols: int) -> np.ndarray:
    """Ids as an array of :func:`token_dtype`."""
    return np.frombuffer(ids, np.intc).astype(token_dtype(symbols))


def _no_token(text: str, place: int, where: str) -> str:
    line = text.count("\n", 0, place) + 1
    return (
        f"{where}, line {line}: no token of the vocabulary fits {text[place : place + 10]!r}; add "
        f"its characters to the vocabulary, or a token {UNKNOWN[0]!r} for what is unknown"
    )
