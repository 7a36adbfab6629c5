"""Pytrees: nested dicts, lists, tuples, named tuples and dataclasses of arrays.

Everything else is a leaf, ``None`` included among the things without leaves. Dictionaries are
walked in the order of their keys' insertion, and get back the same keys.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
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
    names: tuple[Any, ...] = ()
    if isinstance(tree, (list, tuple)):
        parts: Any = tree
    elif isinstance(tree, dict):
        names, parts = tuple(tree), tree.values()
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = tuple(field.name for field in dataclasses.fields(tree) if field.init)
        parts = [getattr(tree, name) for name in names]
    elif tree is None:
        parts = ()
    else:
        leaves.append(tree)
        return LEAF
    return Structure(type(tree), names, tuple([_flatten(part, leaves) for part in parts]))


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply ``function`` to corresponding leaves of trees of one structure."""
    leaves, structure = flatten(tree)
    columns = [leaves]
    for other in others:
        other_leaves, other_structure = flatten(other)
        if not same_structure(structure, other_structure):
            raise DifferentiationError(
                f"two trees of different structure: {describe(structure)} and "
                f"{describe(other_structure)}"
            )
        columns.append(other_leaves)
    return structure.build([function(*row) for row in zip(*columns, strict=True)])


def same_structure(a: Structure, b: Structure) -> bool:
    """Whether two trees have the same containers; the order of dictionary keys does not count."""
    return a == b


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
