"""A batch in parts, whose gradients are added up before the one update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def micro_batches(
    fields: Mapping[str, Any], ids: Any, parts: int
) -> Iterator[tuple[dict[str, Any] | Mapping[str, Any], Any, float]]:
    """Cut a local batch along its samples.

    Parameters
    ----------
    fields : mapping of arrays, shape (n, ...)
    ids : array of int, shape (n,)
    parts : int
        At most; no part is empty, and sizes differ by at most one.

    Yields
    ------
    fields, ids
        Of a part; views.
    float
        Its share of the samples.
    """
    count = ids.shape[0]
    parts = min(parts, count)
    if parts == 1:
        yield fields, ids, 1.0
        return
    for i in range(parts):
        start, stop = count * i // parts, count * (i + 1) // parts
        part = {name: array[start:stop] for name, array in fields.items()}
        yield part, ids[start:stop], (stop - start) / count
