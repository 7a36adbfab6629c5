"""The kinds of steps that random programs are made of: shapes, places and products."""

from __future__ import annotations

import numpy as np

import hpcad.numpy as hnp
from hpcad import nn

from .random_steps import KINDS, REJECTED, kind, one

__all__ = ["KINDS", "REJECTED"]

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


def parts_of(n):
    """Indices of an axis of length ``n``."""
    backwards, every_other = slice(None, None, -1), slice(None, None, 2)
    slices = [slice(None), backwards, every_other, slice(1, None), slice(0, max(1, n // 2))]
    slices += [slice(-1, None, -2), slice(n, None), None, n // 2 if n else slice(0)]
    return [*slices, np.arange(n)[::2], np.arange(n) % 2 == 0]


@kind(4, exact=True)
def window(choices, pool, _exact):
    i = one(choices, pool, "biufc", 1)
    if i is None:
        return None
    index = [choices.pick(parts_of(n)) for n in np.shape(pool[i])]
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


def _multiplies(shape, y):
    if y.dtype.kind not in "fc" or np.ndim(y) == 0:
        return False
    return np.shape(y)[-2 if np.ndim(y) > 1 else 0] == shape[-1]


@kind(5)
def product(choices, pool, _exact):
    i = one(choices, pool, "fc", 1)
    if i is None or not np.ndim(pool[i]):
        return None
    shape = np.shape(pool[i])
    fitting = [j for j, y in enumerate(pool) if _multiplies(shape, y)]
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
