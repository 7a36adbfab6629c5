"""The kinds of steps that random programs are made of."""

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


# -- shapes --------------------------------------------------------------------------------------


@kind(3, exact=True)
def reshape(choices, pool, _exact):
    i = one(choices, pool, "biufc")
    if i is None:
        return None
    n = int(np.size(pool[i]))
    options = [(-1,), (1, -1), (-1, 1), (n,), *[(k, -1) for k in (2, 3, 4, 7) if n % k == 0 and n]]
    shape = choices.pick(options)
    return f"reshape{shape}", lambda x: hnp.reshape(x, shape), [i]


@kind(4, exact=True)
def transpose(choices, pool, _exact):
    i = one(choices, pool, "biufc", 1)
    if i is None:
        return None
    ndim = np.ndim(pool[i])
    axes = list(range(ndim))
    for a in range(ndim):
        b = choices.integer(0, ndim - 1)
        axes[a], axes[b] = axes[b], axes[a]
    name = choices.pick(["transpose", "flip", "roll", "expand_dims", "squeeze"])
    axis = choices.integer(0, ndim - 1)
    how = {
        "transpose": lambda x: hnp.transpose(x, tuple(axes)),
        "flip": lambda x: hnp.flip(x, axis=axis),
        "roll": lambda x: hnp.roll(x, 2, axis=axis),
        "expand_dims": lambda x: hnp.expand_dims(x, axis=axis),
        "squeeze": hnp.squeeze,
    }
    return f"{name}({axes}, {axis})", how[name], [i]


@kind(4, exact=True)
def window(choices, pool, _exact):
    i = one(choices, pool, "biufc", 1)
    if i is None:
        return None
    index = []
    for n in np.shape(pool[i]):
        index.append(
            choices.pick(
                [
                    slice(None), slice(None, None, -1), slice(1, None), slice(None, None, 2),
                    slice(0, max(1, n // 2)), slice(-1, None, -2), None, n // 2 if n else slice(0),
                    np.arange(n)[::2], np.arange(n) % 2 == 0, slice(n, None),
                ]
            )
        )  # fmt: skip
    if sum(isinstance(part, np.ndarray) for part in index) > 1:
        return None
    return f"getitem({index})", lambda x: x[tuple(index)], [i]


@kind(3, exact=True)
def together(choices, pool, _exact):
    i = one(choices, pool, "fc")
    if i is None:
        return None
    alike = [j for j, y in enumerate(pool) if np.shape(y) == np.shape(pool[i])]
    indices = [i, *(choices.pick(alike) for _ in range(choices.integer(0, 2)))]
    axis = choices.integer(0, max(0, np.ndim(pool[i]) - 1))
    name = choices.pick(["concatenate", "stack"])
    function = hnp.concat if name == "concatenate" else hnp.stack
    return f"{name}({axis})", lambda *xs: function(list(xs), axis=axis), indices


@kind(2, exact=True)
def apart(choices, pool, _exact):
    i = one(choices, pool, "fc", 1)
    if i is None or np.ndim(pool[i]) == 0:
        return None
    axis = choices.integer(0, np.ndim(pool[i]) - 1)
    if choices.chance(50) and np.shape(pool[i])[axis] <= 4:
        return f"unstack({axis})", lambda x: tuple(hnp.unstack(x, axis=axis)), [i]
    return f"split({axis})", lambda x: tuple(hnp.split(x, [1, 2], axis=axis)), [i]


@kind(2, exact=True)
def repeated(choices, pool, _exact):
    i = one(choices, pool, "biufc")
    if i is None:
        return None
    name = choices.pick(["tile", "repeat", "broadcast_to", "pad", "tril"])
    shape = (2, *np.shape(pool[i]))
    how = {
        "tile": lambda x: hnp.tile(x, 2),
        "repeat": lambda x: hnp.repeat(x, 3),
        "broadcast_to": lambda x: hnp.broadcast_to(x, shape),
        "pad": lambda x: hnp.pad(x, 1),
        "tril": hnp.tril,
    }
    return f"{name}", how[name], [i]


# -- places --------------------------------------------------------------------------------------


@kind(3)
def assignment(choices, pool, _exact):
    i = one(choices, pool, "fc", 1)
    if i is None or not np.shape(pool[i]) or not np.shape(pool[i])[0]:
        return None
    n = np.shape(pool[i])[0]
    index = choices.pick([0, slice(0, 1), slice(None, None, -2), np.array([0, n - 1]), n - 1])
    factor, add = choices.pick([2.0, 0.5, -1.0]), choices.chance(50)

    def assign(x):
        y = hnp.asarray(x) * 1
        if add:
            y = y.at[index].add(y[::-1][index] * factor)
        else:
            y[index] = x[::-1][index] * factor
            y[...] = y * 0.5
        return y

    return f"assign({index}, {add})", assign, [i]


@kind(2)
def gather(choices, pool, _exact):
    i = one(choices, pool, "fc", 1)
    numbers = [j for j, y in enumerate(pool) if y.dtype.kind in "iu" and np.ndim(y) in (1, 2)]
    if i is None or not numbers or not all(np.shape(pool[i])):
        return None
    j, axis = choices.pick(numbers), choices.integer(0, np.ndim(pool[i]) - 1)
    n = np.shape(pool[i])[axis]
    return f"take({axis})", lambda x, k: hnp.take(x, hnp.remainder(k, n), axis=axis), [i, j]


# -- products ------------------------------------------------------------------------------------


@kind(5)
def product(choices, pool, _exact):
    i = one(choices, pool, "fc", 1)
    if i is None or not np.ndim(pool[i]):
        return None
    shape = np.shape(pool[i])
    fitting = [
        j
        for j, y in enumerate(pool)
        if y.dtype.kind in "fc" and np.ndim(y) and np.shape(y)[-2 if np.ndim(y) > 1 else 0] == shape[-1]
    ]  # fmt: skip
    if fitting and choices.chance(70):
        return "matmul", hnp.matmul, [i, choices.pick(fitting)]
    if len(shape) > 1 and choices.chance(50):
        return "matmul(x, x.T)", lambda x: x @ hnp.matrix_transpose(x), [i]
    return "vecdot", lambda x: hnp.sum(x * hnp.conj(x), axis=-1), [i]


@kind(1)
def linear_algebra(choices, pool, _exact):
    squares = [
        i
        for i, x in enumerate(pool)
        if x.dtype.kind in "f" and np.ndim(x) >= 2 and np.shape(x)[-1] == np.shape(x)[-2]
    ]
    if not squares:
        return None
    name = choices.pick(["inv", "det", "solve", "cholesky", "slogdet", "trace"])
    how = {
        "inv": hnp.linalg.inv,
        "det": hnp.linalg.det,
        "solve": lambda a: hnp.linalg.solve(a, a[..., :1]),
        "cholesky": lambda a: hnp.linalg.cholesky(a @ hnp.matrix_transpose(a)),
        "slogdet": lambda a: hnp.linalg.slogdet(a)[1],
        "trace": lambda a: hnp.linalg.trace(a),
    }

    def regular(x):
        return how[name](hnp.tanh(x) * 0.2 + hnp.eye(x.shape[-1], dtype=x.dtype))

    return name, regular, [choices.pick(squares)]


@kind(1)
def norm_of_rows(choices, pool, _exact):
    i = one(choices, pool, "f", 1)
    if i is None or not np.ndim(pool[i]) or not np.shape(pool[i])[-1]:
        return None
    scale = choices.numbers((np.shape(pool[i])[-1],), str(pool[i].dtype))
    layer = choices.pick(["layer_norm", "logsumexp", "cross_entropy"])
    if layer == "layer_norm":

        def normalised(x):
            centred = x - hnp.mean(x, axis=-1, keepdims=True)
            return centred / hnp.sqrt(hnp.mean(centred**2, axis=-1, keepdims=True) + 1e-3) * scale

        return layer, normalised, [i]
    if layer == "logsumexp":
        return layer, lambda x: hnp.log(hnp.sum(hnp.exp(x), axis=-1)), [i]
    labels = np.arange(np.prod(np.shape(pool[i])[:-1], dtype=int)) % np.shape(pool[i])[-1]
    labels = labels.reshape(np.shape(pool[i])[:-1])
    return layer, lambda x: nn.cross_entropy(x, labels), [i]
