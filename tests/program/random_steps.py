"""The kinds of steps that random programs are made of: elementwise, and along axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import hpcad.numpy as hnp
from hpcad import nn

REJECTED = (ValueError, TypeError, IndexError, ZeroDivisionError, np.linalg.LinAlgError)


@dataclass
class Kind:
    """A kind of step.

    Attributes
    ----------
    draw : callable
        ``draw(choices, pool, exact)``: a name, a function, and the indices of its arguments.
    exact : bool
        Kernels compute it as NumPy does, to the bit.
    smooth : bool
        It has a derivative that is worth looking at.
    discrete : bool
        It jumps: only for values that are exact.
    """

    draw: Any
    exact: bool = False
    smooth: bool = True
    discrete: bool = False


KINDS: list[Kind] = []


def kind(weight=1, **properties):
    def add(draw):
        KINDS.extend([Kind(draw, **properties)] * weight)
        return draw

    return add


def one(choices, pool, dtypes="fc", ndim=0):
    found = [i for i, x in enumerate(pool) if x.dtype.kind in dtypes and np.ndim(x) >= ndim]
    late = found[-6:] if choices.chance(70) else found
    return choices.pick(late) if late else None


def exact_one(choices, pool, exact, dtypes="biuf", ndim=0):
    found = [
        i
        for i, x in enumerate(pool)
        if (exact is None or exact[i]) and x.dtype.kind in dtypes and np.ndim(x) >= ndim
    ]
    return choices.pick(found) if found else None


def axes_of(choices, ndim):
    if ndim == 0 or choices.chance(20):
        return None
    if choices.chance(60):
        return choices.integer(-ndim, ndim - 1)
    chosen = tuple(a for a in range(ndim) if choices.chance(50))
    return chosen or None


# -- elementwise ---------------------------------------------------------------------------------

SMOOTH = ["sin", "cos", "tanh", "exp", "arctan", "sinh", "square", "expm1", "negative", "cbrt",
          "log1p", "sqrt", "log", "reciprocal", "arcsin", "abs", "positive", "exp2"]  # fmt: skip
NETWORK = ["relu", "gelu", "sigmoid", "tanh", "softmax", "log_softmax"]
BITWISE = ["negative", "square", "abs", "positive", "sqrt", "reciprocal"]
JUMPS = ["floor", "ceil", "trunc", "rint", "sign", "signbit", "isnan", "isfinite", "logical_not"]
PAIRS = ["add", "subtract", "multiply", "divide", "maximum", "minimum"]
ROUNDED = ["hypot", "arctan2", "logaddexp", "power"]
TESTS = ["less", "greater_equal", "equal", "not_equal", "logical_and", "logical_or"]
WHOLE = ["floor_divide", "remainder", "fmod", "copysign", "fmax", "fmin", "heaviside"]


def elementwise(names, dtypes="fc"):
    def draw(choices, pool, _exact):
        i = one(choices, pool, dtypes)
        name = choices.pick(names)
        return None if i is None else (name, getattr(hnp, name), [i])

    return draw


kind(4)(elementwise(SMOOTH))
kind(2, exact=True)(elementwise(BITWISE, "f"))


@kind(2)
def network(choices, pool, _exact):
    i = one(choices, pool, "f", 1)
    name = choices.pick(NETWORK)
    return None if i is None else (name, getattr(nn, name), [i])


@kind(1, exact=True, smooth=False, discrete=True)
def jump(choices, pool, exact):
    i = exact_one(choices, pool, exact)
    name = choices.pick(JUMPS)
    return None if i is None else (name, getattr(hnp, name), [i])


def pair(names, discrete, dtypes):
    def draw(choices, pool, exact):
        first = exact_one(choices, pool, exact, dtypes) if discrete else one(choices, pool, dtypes)
        if first is None:
            return None
        others = [
            j
            for j, y in enumerate(pool)
            if y.dtype.kind in dtypes
            and (not discrete or exact is None or exact[j])
            and _broadcasts(np.shape(pool[first]), np.shape(y))
        ]
        name = choices.pick(names)
        indices = [first, choices.pick(others)]
        if choices.chance(50):
            indices.reverse()
        return name, getattr(hnp, name), indices

    return draw


def _broadcasts(a, b):
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


kind(6, exact=True)(pair(PAIRS, False, "biufc"))
kind(1)(pair(ROUNDED, False, "f"))
kind(2, exact=True, smooth=False, discrete=True)(pair(TESTS, True, "biuf"))
kind(1, exact=True, smooth=False, discrete=True)(pair(WHOLE, True, "iuf"))


@kind(3, exact=True)
def with_a_number(choices, pool, _exact):
    i = one(choices, pool, "iufc")
    number = choices.pick(
        [2, -1, 0.5, 1, 0, 3, True, 1.5, np.float32(0.25), np.float64(-2.0), -0.0]
    )
    turn = choices.chance(40)
    name = choices.pick(["add", "subtract", "multiply", "divide", "maximum"])
    if i is None or (name == "maximum" and pool[i].dtype.kind == "c"):
        return None
    function = getattr(hnp, name)
    return (
        f"{name}({number!r})",
        lambda x: function(number, x) if turn else function(x, number),
        [i],
    )


@kind(1)
def to_a_power(choices, pool, _exact):
    i, n = one(choices, pool, "fc"), choices.pick([2, 3, -1, 0.5, 0, 1, 2.0])
    return None if i is None else (f"power({n})", lambda x: x**n, [i])


@kind(2, exact=True)
def choice_of_two(choices, pool, _exact):
    masks = [i for i, x in enumerate(pool) if x.dtype.kind == "b"]
    i, j = one(choices, pool), one(choices, pool)
    if not masks or i is None:
        return None
    return "where", hnp.where, [choices.pick(masks), i, j]


@kind(1, exact=True)
def cast(choices, pool, _exact):
    i, dtype = one(choices, pool, "biuf"), choices.pick(["float32", "float64", "complex128"])
    return None if i is None else (f"astype({dtype})", lambda x: hnp.astype(x, dtype), [i])


@kind(1, exact=True)
def parts_of_complex(choices, pool, _exact):
    i, name = one(choices, pool, "c"), choices.pick(["real", "imag", "conj"])
    return None if i is None else (name, getattr(hnp, name), [i])


# -- along axes ----------------------------------------------------------------------------------


@kind(5)
def reduction(choices, pool, _exact):
    i = one(choices, pool, "biufc")
    if i is None:
        return None
    name = choices.pick(["sum", "mean", "sum", "max", "min", "prod", "var", "std"])
    axis, keep = axes_of(choices, np.ndim(pool[i])), choices.chance(50)
    function = getattr(hnp, name)
    return f"{name}({axis}, {keep})", lambda x: function(x, axis=axis, keepdims=keep), [i]


@kind(1, exact=True, smooth=False, discrete=True)
def search(choices, pool, exact):
    i = exact_one(choices, pool, exact, ndim=1)
    if i is None:
        return None
    name = choices.pick(["argmax", "argmin", "argsort", "sort", "all", "any", "count_nonzero"])
    axis, function = choices.integer(-np.ndim(pool[i]), np.ndim(pool[i]) - 1), getattr(hnp, name)
    return f"{name}({axis})", lambda x: function(x, axis=axis), [i]


@kind(1)
def running(choices, pool, _exact):
    i, name = one(choices, pool, "fc", 1), choices.pick(["cumulative_sum", "cumsum", "cumprod"])
    if i is None or np.ndim(pool[i]) == 0:
        return None
    axis, function = choices.integer(-np.ndim(pool[i]), np.ndim(pool[i]) - 1), getattr(hnp, name)
    return f"{name}({axis})", lambda x: function(x, axis=axis), [i]
