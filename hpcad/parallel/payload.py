"""JSON messages between ranks: small values travel as text, never as pickles."""

from __future__ import annotations

import json
from typing import Any

from hpcad.errors import ShapeError


def encode(value: Any) -> bytes:
    """Return ``value`` as JSON text in UTF-8.

    Raises
    ------
    ShapeError
        ``value`` holds something that JSON cannot carry.
    """
    try:
        return json.dumps(value).encode()
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"this value cannot be sent between ranks as JSON ({error}); use only dicts, lists, "
            "strings, numbers, booleans and None (NumPy scalars by .item())"
        ) from error
