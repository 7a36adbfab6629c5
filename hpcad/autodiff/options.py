"""Parameters of operations in messages, graphs and tables, as a program would write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def options_text(params: Mapping[str, Any]) -> str:
    """Keyword arguments as text, without those that are off or for the rules only (``before``)."""
    parts = []
    for key, x in params.items():
        if key == "index":
            parts.append(f"[{_index(x)}]")
        elif x is not None and x is not False and key != "before":
            parts.append(f"{key}={_index(x) if hasattr(x, 'shape') else repr(x)}")
    return ", ".join(parts)


def _index(x: Any) -> str:
    if isinstance(x, tuple):
        return ", ".join(map(_index, x))
    if isinstance(x, slice):
        ends = [x.start, x.stop, *([] if x.step is None else [x.step])]
        return ":".join("" if end is None else str(end) for end in ends)
    if hasattr(x, "shape") and x.shape:
        return f"{x.dtype}{list(x.shape)}"
    return "..." if x is Ellipsis else str(x)
