"""Two captures of one function: whether they are the same program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import to_host
from hpcad.program.instruction import Call, Instruction, Program, Value

IMMUTABLE = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype, type)


class Difference(Exception):  # noqa: N818  (a way out of the walk, and no error)
    """The first place in which two captures differ."""


def unify(first: Program, second: Program) -> str | None:
    """Compare two captures, the second of which is to be replayed.

    What is the same in both is fixed from here on. An array from outside that is one and the same
    object in both calls belongs to the user, who may write into it: it becomes ``"live"``.

    Returns
    -------
    str or None
        What differs and where.
    """
    matched: dict[Value, Value] = {}
    try:
        if len(first.instructions) != len(second.instructions):
            raise Difference(_lengths(first, second))
        for a, b in zip(first.instructions, second.instructions, strict=True):
            _instructions(a, b, matched)
        second.outputs = [
            _returned(a, b, matched) for a, b in zip(first.outputs, second.outputs, strict=True)
        ]
    except Difference as difference:
        return str(difference)
    both = zip(first.fixed, second.fixed, strict=False)
    second.fixed = [b for a, b in both if a is b or _same_memory(a, b)]
    return None


def _lengths(first: Program, second: Program) -> str:
    for a, b in zip(first.instructions, second.instructions, strict=False):
        if a.name != b.name:
            return f"two calls did different things: {a.name} and {b.name} (at {b.line})"
    longer = max(first.instructions, second.instructions, key=len)
    rest = longer[min(len(first.instructions), len(second.instructions))]
    return f"one of two calls did more than the other: {rest.name} (at {rest.line})"


def _instructions(a: Instruction, b: Instruction, matched: dict[Value, Value]) -> None:
    if a.name != b.name or len(a.args) != len(b.args) or len(a.outs) != len(b.outs):
        raise Difference(f"two calls did different things: {a.name} and {b.name} (at {b.line})")
    if b.has_effect and not _same_effect(a, b):
        raise Difference(f"two calls had different effects: {b.name} (at {b.line})")
    where = f"{b.name} at {b.line}"
    _trees(a.args, b.args, matched, where)
    _trees(a.params, b.params, matched, where)
    for x, y in zip(a.outs, b.outs, strict=True):
        if x.shape != y.shape or x.dtype != y.dtype:
            raise Difference(f"two calls made {x} and {y} by {where}")
        matched[x] = y


def _same_effect(a: Instruction, b: Instruction) -> bool:
    if isinstance(a.op, Call) and isinstance(b.op, Call):
        return a.op.function == b.op.function and _identical(a.op.args, b.op.args)
    return a.op == b.op


def _identical(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    if len(a) != len(b):
        return False
    return all(x is y or _equal_numbers(x, y) for x, y in zip(a, b, strict=True))


def _equal_numbers(x: Any, y: Any) -> bool:
    return isinstance(x, (int, float, str)) and type(x) is type(y) and repr(x) == repr(y)


def _returned(a: Any, b: Any, matched: dict[Value, Value]) -> Any:
    """What the program returns in the place of a leaf."""
    where = "what it returns"
    if a is b and not isinstance(a, tuple):  # one thing of the user's, whatever it holds
        return b
    if isinstance(b, IMMUTABLE) or (isinstance(b, tuple) and b and isinstance(b[0], Value)):
        _trees(a, b, matched, where)
        return b
    array = value_of(b)
    if not isinstance(array, np.ndarray | np.generic) or not _same(value_of(a), array):
        raise Difference(f"two calls returned different things: {a!r} and {b!r}")
    kind = "tensor" if isinstance(b, Tensor) else "array"
    return (Value(array.shape, array.dtype, "literal", array.copy()), kind)  # it makes a new one


def _trees(a: Any, b: Any, matched: dict[Value, Value], where: str) -> None:
    if isinstance(a, Value) and isinstance(b, Value):
        _values(a, b, matched, where)
    elif isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        for key in a:
            _trees(a[key], b[key], matched, where)
    elif isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)) and len(a) == len(b):
        for x, y in zip(a, b, strict=True):
            _trees(x, y, matched, where)
    elif not _same(a, b):
        raise Difference(
            f"a number was {_text(a)} in one call and {_text(b)} in the next, in {where}; pass "
            "it as an argument, as a NumPy array or scalar"
        )


def _values(a: Value, b: Value, matched: dict[Value, Value], where: str) -> None:
    if a.origin == "result" or b.origin == "result":
        same = matched.get(a) is b
    elif b.origin == "live":  # it was met before
        same = a.source is b.source or _same_memory(a.source, b.source)
    elif a.origin != b.origin:
        same = False
    elif a.origin in ("input", "parameter"):
        same = a.source is b.source or a.source == b.source
    else:
        if a.source is b.source or _same_memory(a.source, b.source):
            b.origin = "live"
            return
        same = _same(a.source, b.source)
        if not same and a.shape == b.shape and a.dtype == b.dtype:
            raise Difference(
                f"an array of shape {a.shape} that is not an argument had other values in the "
                f"next call, in {where}; pass it as an argument"
            )
    if not same:
        raise Difference(f"two calls computed with different things in {where}")


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if hasattr(a, "shape") or hasattr(b, "shape"):
        alike = np.shape(a) == np.shape(b) and getattr(a, "dtype", 0) == getattr(b, "dtype", 1)
        return alike and np.asarray(to_host(a)).tobytes() == np.asarray(to_host(b)).tobytes()
    if isinstance(a, (float, complex)):
        return type(a) is type(b) and repr(a) == repr(b)  # 0.0 == -0.0, and NaN != NaN
    return type(a) is type(b) and bool(a == b)


def _same_memory(a: Any, b: Any) -> bool:
    """Whether two arrays are views, made alike, of one array of the user's."""
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)) or a.base is None:
        return False
    if (a.shape, a.strides, a.dtype) != (b.shape, b.strides, b.dtype):
        return False
    place = a.__array_interface__["data"] == b.__array_interface__["data"]
    return place and a.base is b.base


def _text(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}" if hasattr(x, "shape") else repr(x)
