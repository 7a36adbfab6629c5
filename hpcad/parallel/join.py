"""Steps in which every rank takes part until all of them have run out of data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from hpcad.autodiff.pytree import tree_map
from hpcad.errors import ConfigError, ShapeError
from hpcad.parallel.communicator import Communicator
from hpcad.parallel.world import init


def join(
    batches: Iterable[Any], communicator: Communicator | None = None, *, template: Any = None
) -> Iterator[Any]:
    """Iterate over this rank's batches, then over empty ones, until no rank has any left.

    Collective: every rank iterates to the end, and makes the same number of steps. So a loop over
    ``join(batches)`` needs no special case for ranks that run out early: with
    ``parallel.mean(losses)`` a batch without samples adds nothing, and the gradient is that of
    the mean over all samples of the step.

    Parameters
    ----------
    batches : iterable
        Of this rank, any number, of any sizes. A batch is an array or a tree of arrays (tuples,
        lists, dicts, ...) with the samples on their first axis; numbers, text and arrays without
        axes are handed on as they are.
    communicator : Communicator, optional
        That of the world when left out.
    template : batch, optional
        What empty batches are like on a rank that never had one. When left out, other ranks tell:
        then arrays are NumPy's.

    Yields
    ------
    batch
        The next one; one with 0 samples where there is none.

    Raises
    ------
    ShapeError
        A batch holds something else.

    Notes
    -----
    One reduction of two numbers per step. A rank that leaves the loop
    early is a mismatch, which raises on all ranks.
    """
    group = init().communicator if communicator is None else communicator
    rest = iter(batches)
    last = _NOTHING if template is None else emptied(template)
    while True:
        batch = next(rest, _NOTHING)
        here = batch is not _NOTHING
        if here:
            last = emptied(batch)
        # Who has a batch (the lowest rank), and whether everybody knows what one is like.
        state = np.array([group.rank if here else group.size, last is not _NOTHING], np.int64)
        group.allreduce(state, "min", "join")
        having, known = int(state[0]), bool(state[1])
        if having == group.size:
            return
        if not known:
            told = described(last) if group.rank == having else None
            told = group.broadcast_json(told, having, "join: form of a batch")
            last = rebuilt(told) if last is _NOTHING else last
        yield batch if here else last


_NOTHING = object()


def emptied(batch: Any) -> Any:
    """The same tree with 0 samples.

    Raises
    ------
    ShapeError
        A leaf is neither an array nor plain data.
    """
    return tree_map(_no_rows, batch)


def _no_rows(leaf: Any) -> Any:
    if isinstance(leaf, (bool, int, float, complex, str, np.generic)):
        return leaf
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        raise ShapeError(
            f"join: a batch holds a {type(leaf).__name__}, of which it cannot take 0 samples; make "
            "batches of arrays, in tuples, lists or dicts"
        )
    return leaf[:0] if leaf.shape else leaf


def described(tree: Any) -> Any:
    """An empty batch in JSON: containers, shapes and dtypes."""
    if isinstance(tree, dict):
        if not all(isinstance(key, str) for key in tree):
            raise ConfigError(
                "join: a rank has no batch, and those of others are dicts with keys that are not "
                "text; pass template=, an example of a batch, on every rank"
            )
        return {"dict": {key: described(part) for key, part in tree.items()}}
    if isinstance(tree, (list, tuple)):
        return {type(tree).__name__ if type(tree) is list else "tuple": [*map(described, tree)]}
    if hasattr(tree, "shape"):
        values = tree.tolist() if not tree.shape else []
        return {"array": [list(tree.shape), np.dtype(tree.dtype).str, values]}
    return {"plain": tree}


def rebuilt(told: Any) -> Any:
    """What :func:`described` stands for, of NumPy arrays."""
    ((kind, parts),) = told.items()
    if kind == "dict":
        return {key: rebuilt(part) for key, part in parts.items()}
    if kind in ("list", "tuple"):
        made = [rebuilt(part) for part in parts]
        return made if kind == "list" else tuple(made)
    if kind == "array":
        shape, dtype, values = parts
        return np.array(values, dtype).reshape(shape)
    return parts
