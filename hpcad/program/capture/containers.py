"""Containers among the arguments: a capture passes copies of them, which a function may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

Pair = tuple[Any, Any]


def pairs(given: Any, copied: Any) -> Iterator[Pair]:
    """The containers in a tree of arguments, each with its copy."""
    children: Any = ()
    if isinstance(given, (list, tuple)):
        children = zip(given, copied, strict=True)
    elif isinstance(given, dict):
        children = ((given[key], copied[key]) for key in given)
    elif dataclasses.is_dataclass(given) and not isinstance(given, type):
        names = [field.name for field in dataclasses.fields(given) if field.init]
        children = ((getattr(given, name), getattr(copied, name)) for name in names)
    else:
        return
    yield given, copied
    for child, twin in children:
        yield from pairs(child, twin)


def changed(both: list[Pair], back: Callable[[Any], Any], write: bool) -> Any:
    """The first container whose copy the function has changed, or None.

    Parameters
    ----------
    both : list of pairs
        As :func:`pairs` found them before the call.
    back : callable
        From a thing of the capture to what it stands for.
    write : bool
        Change the originals likewise.
    """
    originals = {id(copied): given for given, copied in both}

    def meant(thing: Any) -> Any:
        return originals[id(thing)] if id(thing) in originals else back(thing)

    first = None
    for given, copied in both:
        parts, now = _parts(given), {key: meant(x) for key, x in _parts(copied).items()}
        same = parts.keys() == now.keys() and all(now[key] is x for key, x in parts.items())
        if not same:
            first = given if first is None else first
            if write:
                _set(given, now)
    return first


def _parts(container: Any) -> dict[Any, Any]:
    if isinstance(container, dict):
        return dict(container)
    if isinstance(container, (list, tuple)):
        return dict(enumerate(container))
    return dict(vars(container)) if hasattr(container, "__dict__") else {}


def _set(container: Any, parts: dict[Any, Any]) -> None:
    if isinstance(container, list):
        container[:] = parts.values()
    elif isinstance(container, dict):
        container.clear()
        container.update(parts)
    else:
        for name, part in parts.items():
            object.__setattr__(container, name, part)
