"""Tensors of a program within the parameters of operations, and within containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpcad.autodiff.pytree import flatten
from hpcad.autodiff.tensor import value_of
from hpcad.program.capture.captured import Captured


def is_masked(params: Mapping[str, Any]) -> bool:
    """Whether an index holds a mask that may be another one in the next call."""
    return any(
        isinstance(part, Captured) and part.dtype == np.bool_ and part.symbol.origin != "literal"
        for part in params["index"]
    )


def holds_captured(thing: Any) -> bool:
    """Whether a container holds tensors of a program, in whatever they are wrapped."""
    return isinstance(thing, (tuple, list, dict)) and any(
        isinstance(value_of(leaf), Captured) for leaf in flatten(thing)[0]
    )


def contents(tree: Any) -> Any:
    """Parameters with arrays for captured tensors."""
    return mapped(tree, lambda x: x.content)


def symbols(tree: Any) -> Any:
    """Parameters with values of the program for captured tensors."""
    return mapped(tree, lambda x: x.symbol)


def holds(tree: Any) -> bool:
    """Whether tensors of a program stand in a tree."""
    if isinstance(tree, Mapping):
        return any(map(holds, tree.values()))
    if type(tree) in (tuple, list):
        return any(map(holds, tree))
    return isinstance(tree, Captured)


def mapped(tree: Any, of: Any) -> Any:
    """A tree with every tensor of a program exchanged for something of it."""
    if isinstance(tree, Captured):
        return of(tree)
    if isinstance(tree, Mapping):
        return {key: mapped(part, of) for key, part in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(mapped(part, of) for part in tree)
    return tree
