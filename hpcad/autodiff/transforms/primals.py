"""Checks of what users hand to transforms: primals, tangents, cotangents, argument numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.guard import operand
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.pytree import Structure, flatten, leaves_like, paths
from hpcad.autodiff.tensor import CONSTANT, Tensor, twin
from hpcad.backend.half import is_bfloat16, is_inexact
from hpcad.errors import DifferentiationError, ShapeError

Argnums = int | Sequence[int]


def as_primals(
    primals: Sequence[Any], positions: Sequence[int | str] | None = None
) -> tuple[list[Any], Structure]:
    """The leaves of the primals, checked, and the structure of the tuple of primals.

    Parameters
    ----------
    primals : sequence of pytrees
    positions : sequence of int or str, optional
        Of the primals among the user's arguments, for messages; 0, 1, ... when left out.
    """
    flat, structure = flatten(tuple(primals))
    try:
        return [as_primal(x) for x in flat], structure
    except DifferentiationError:
        positions = range(len(primals)) if positions is None else positions
        where = [
            path
            for position, child in zip(positions, structure.children, strict=True)
            for path in paths(child, position if isinstance(position, str) else f"args[{position}]")
        ]
        for x, path in zip(flat, where, strict=True):
            as_primal(x, path)  # raises again, and says where
        raise


def as_primal(x: Any, path: str = "the argument") -> Any:
    """A number or array as something that can be differentiated with respect to."""
    if isinstance(x, Tensor):  # a twin keeps what the tensor is now, should it be assigned to
        x = x.value if x.level == CONSTANT else twin(x)
    elif isinstance(x, np.ndarray) and type(x) is not np.ndarray:
        x = operand(x)
    if isinstance(x, int | float | complex) and not isinstance(x, bool):
        x = np.asarray(x, complex if isinstance(x, complex) else float)
    kind = getattr(getattr(x, "dtype", None), "kind", None)
    if kind is None or not hasattr(x, "shape"):
        raise DifferentiationError(
            f"{path} is a {type(x).__name__}; a function can be differentiated with respect to "
            "numbers and arrays (in dicts, lists, tuples and dataclasses): choose other arguments "
            "with argnums, or take this one from the enclosing scope"
        )
    if not is_inexact(x.dtype):
        raise DifferentiationError(
            f"cannot differentiate with respect to {path}, whose dtype is {x.dtype}; "
            "convert it to floating point first, for example with .astype(float)"
        )
    return x


def as_cotangent(g: Any, shape: tuple[int, ...], dtype: Any, name: str = "cotangent") -> Any:
    """Check a cotangent or tangent, and give it the dtype of its primal."""
    if not hasattr(g, "dtype"):
        g = np.asarray(g)
    if tuple(g.shape) != tuple(shape):
        raise ShapeError(
            f"the {name} has shape {tuple(g.shape)}, but shape {tuple(shape)} is needed, that of "
            "the value it belongs to"
        )
    if g.dtype.kind not in ("biufc" if dtype.kind == "c" else "biuf") and not is_bfloat16(g.dtype):
        raise DifferentiationError(
            f"the {name} has dtype {g.dtype}, but the value it belongs to has dtype {dtype}: "
            "converting it would lose a part of it; pass its real part, or make the value complex"
        )
    if isinstance(g, Tensor) and g.level == CONSTANT:
        g = g.value
    return g if g.dtype == dtype else LINKS.cast(g, dtype)


def as_tangents(tangents: Any, primals: Sequence[Any], structure: Structure) -> list[Any]:
    """The leaves of the tangents, with structure, shapes and dtypes like the primals."""
    found = leaves_like(tuple(tangents), structure, "tuple of tangents", "tuple of primals")
    return [
        as_cotangent(t, x.shape, x.dtype, "tangent") for t, x in zip(found, primals, strict=True)
    ]


def as_sequence(x: Any, name: str) -> Sequence[Any]:
    """Check that arguments come as a tuple or list, one entry per argument."""
    if not isinstance(x, tuple | list):
        raise DifferentiationError(
            f"{name} must be a tuple with one entry per argument of the function, not a "
            f"{type(x).__name__}; write (x,) for a single one"
        )
    return x


def restrict(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], argnums: Argnums
) -> tuple[Callable[..., Any], list[Any], list[int]]:
    """``function`` as a function of some of its arguments.

    Returns
    -------
    restricted : callable
    chosen : list of pytrees
        Those arguments.
    positions : list of int
        Theirs, counted from the left.
    """
    wanted: Any = (argnums,) if is_single(argnums) else argnums
    if not isinstance(wanted, tuple | list) or not all(map(is_single, wanted)):
        raise DifferentiationError(
            f"argnums={argnums!r} must be the position of an argument, or a tuple of positions; "
            "keyword arguments are not differentiated"
        )
    for position in wanted:
        if not -len(args) <= position < len(args):
            raise DifferentiationError(
                f"argnums asks for argument {position}, but the function was called with "
                f"{len(args)} positional arguments"
            )
    positions = [position % len(args) for position in wanted]
    if len(set(positions)) < len(positions):
        raise DifferentiationError(f"argnums={argnums} names an argument twice")

    def restricted(*chosen: Any) -> Any:
        full = list(args)
        for position, x in zip(positions, chosen, strict=True):
            full[position] = x
        return function(*full, **kwargs)

    return restricted, [args[position] for position in positions], positions


def is_single(argnums: Argnums) -> bool:
    """Whether argnums is one number, so that one derivative is wanted, and no tuple of them."""
    try:
        operator.index(argnums)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True
