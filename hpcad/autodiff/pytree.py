"""Pytrees: nested dicts, lists, tuples, named tuples and dataclasses of arrays.

``None`` is a tree without leaves; everything else is a leaf. Dictionaries are walked in the order
of their keys' insertion and get it back. Two trees are alike if they have the same containers and
keys: the order of keys does not count.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from hpcad.errors import DifferentiationError


@dataclasses.dataclass(frozen=True)
class Structure:
    """The shape of a pytree without its leaves.

    Attributes
    ----------
    kind : type or None
        Container type; None for a leaf.
    names : tuple
        Keys or field names; empty for sequences.
    children : tuple of Structure
    """

    kind: type | None
    names: tuple[Any, ...] = ()
    children: tuple[Structure, ...] = ()

    @property
    def count(self) -> int:
        """Number of leaves."""
        return 1 if self.kind is None else sum(child.count for child in self.children)

    def build(self, leaves: Sequence[Any]) -> Any:
        """Return the tree with the given leaves."""
        if len(leaves) != self.count:
            raise DifferentiationError(f"{self.count} leaves are needed, not {len(leaves)}")
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator[Any]) -> Any:
        if self.kind is None:
            return next(leaves)
        parts = [child._build(leaves) for child in self.children]
        if self.kind is type(None):
            return None
        if issubclass(self.kind, dict):
            return self.kind(zip(self.names, parts, strict=True))
        if dataclasses.is_dataclass(self.kind):
            return self.kind(**dict(zip(self.names, parts, strict=True)))
        if hasattr(self.kind, "_fields"):
            return self.kind(*parts)
        return self.kind(parts)  # type: ignore[call-arg]  # list or tuple


LEAF = Structure(None)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Return the leaves of a tree, in order, and its structure."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Structure:
    opened = _open(tree)
    if opened is None:
        leaves.append(tree)
        return LEAF
    kind, names, parts = opened
    return Structure(kind, names, tuple([_flatten(part, leaves) for part in parts]))


def _open(tree: Any) -> tuple[type, tuple[Any, ...], Iterable[Any]] | None:
    """Container type, names and parts of a container; None for a leaf."""
    if isinstance(tree, (list, tuple)):
        return type(tree), (), tree
    if isinstance(tree, dict):
        kind = dict if isinstance(tree, defaultdict) else type(tree)
        return kind, tuple(tree), tree.values()
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = tuple(field.name for field in dataclasses.fields(tree) if field.init)
        return type(tree), names, [getattr(tree, name) for name in names]
    return (type(None), (), ()) if tree is None else None


def leaves_like(tree: Any, structure: Structure, what: str = "tree", of: str = "other") -> list:
    """Return the leaves of a tree in the order of a structure that it must have.

    Raises
    ------
    DifferentiationError
        It has other containers or keys; the message names ``what`` and ``of``.
    """
    leaves: list[Any] = []
    if not _collect(tree, structure, leaves):
        raise DifferentiationError(
            f"the {what} has structure {describe(flatten(tree)[1])}, but the {of} has "
            f"{describe(structure)}"
        )
    return leaves


def _collect(tree: Any, structure: Structure, leaves: list[Any]) -> bool:
    opened = _open(tree)
    if opened is None or structure.kind is None:
        leaves.append(tree)
        return opened is None and structure.kind is None
    kind, _, parts = opened
    if kind is not structure.kind:
        return False
    if isinstance(tree, dict):
        if tree.keys() != set(structure.names):
            return False
        parts = [tree[name] for name in structure.names]
    parts = list(parts)
    return len(parts) == len(structure.children) and all(
        _collect(part, child, leaves) for part, child in zip(parts, structure.children, strict=True)
    )


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply ``function`` to corresponding leaves of trees of one structure."""
    leaves, structure = flatten(tree)
    columns = [leaves_like(other, structure, "second tree", "first") for other in others]
    return structure.build([function(*row) for row in zip(leaves, *columns, strict=True)])


def same_structure(a: Structure, b: Structure) -> bool:
    """Whether two trees have the same containers and keys; the order of keys does not count."""
    if a.kind is not b.kind or len(a.children) != len(b.children):
        return False
    if a.kind is None or not issubclass(a.kind, dict):
        return all(map(same_structure, a.children, b.children))
    theirs = dict(zip(b.names, b.children, strict=True))
    return all(
        name in theirs and same_structure(child, theirs[name])
        for name, child in zip(a.names, a.children, strict=True)
    )


def paths(structure: Structure, root: str = "") -> list[str]:
    """Where each leaf is, as Python would write it: ``root['w'][2]``, ``root.bias``."""
    if structure.kind is None:
        return [root]
    if structure.names:
        style = "[{!r}]" if issubclass(structure.kind, dict) else ".{}"
        steps = [style.format(name) for name in structure.names]
    elif hasattr(structure.kind, "_fields"):
        steps = [f".{name}" for name in structure.kind._fields]
    else:
        steps = [f"[{i}]" for i in range(len(structure.children))]
    pairs = zip(steps, structure.children, strict=True)
    return [path for step, child in pairs for path in paths(child, root + step)]


def describe(structure: Structure) -> str:
    """The structure as text, with ``*`` for leaves."""
    if structure.kind is None:
        return "*"
    if structure.kind is type(None):
        return "None"
    inner = [describe(child) for child in structure.children]
    if structure.names:
        inner = [f"{n}: {part}" for n, part in zip(structure.names, inner, strict=True)]
    return f"{structure.kind.__name__}({', '.join(inner)})"
