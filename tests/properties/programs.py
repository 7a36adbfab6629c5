"""Random small programs, drawn as data and run on arrays or tensors alike.

A program is a list of steps ``(operation, pick, pick, pick)``. Every operation takes its operands
from the pool of values made so far, which starts as the inputs; the picks are read modulo what is
possible, so every list of steps is a valid program for any inputs. What an operation does depends
on shapes only, never on values, so a program is the same function on arrays and on tensors.

Arguments are kept where functions are smooth and moderate (``log(1 + x^2)``, ``exp(tanh(x))``),
because numerical differentiation needs that. Kinks (``relu``, ``max``) are left in: see
``numerical.py`` for how a step across one is recognised.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import hpcad.numpy as hnp
from hpcad.primitives import softmax as soft
from hpcad.primitives.attention import attention
from hpcad.primitives.convolution import conv2d
from hpcad.primitives.elementwise import gelu, relu, sigmoid
from hpcad.primitives.indexing import getitem, take_rows
from hpcad.primitives.normalization import layer_norm
from hpcad.primitives.pooling import max_pool2d
from hpcad.primitives.product import linear

Picks = tuple[int, int, int]
Step = tuple[str, int, int, int]

PATTERN = np.cos(1.0 + np.arange(24.0)).reshape(1, 4, 3, 2)  # an image of 4 x 3 with 2 channels
LARGEST = 200  # elements; an operation that would exceed it is left out


@dataclass(frozen=True)
class Program:
    """A list of steps, and the seed of the constants they use."""

    steps: tuple[Step, ...]

    def __call__(self, *inputs: Any, between: Callable[[list[Any]], None] | None = None) -> Any:
        """Run it and return one scalar that depends on every value made.

        Parameters
        ----------
        *inputs : arrays or tensors
        between : callable, optional
            Called with the pool after every step, for tests that disturb the tape.
        """
        pool = list(inputs)
        for name, *picks in self.steps:
            x = pool[picks[0] % len(pool)]
            made = OPERATIONS[name](x, pool, tuple(picks))
            if made is not None and math.prod(made.shape) <= LARGEST:
                pool.append(made)
            if between is not None:
                between(pool)
        total: Any = 0.0
        for k, value in enumerate(pool):
            # tanh bounds what a product of products may have become
            total = total + (hnp.tanh(value) * weights(value, k)).sum()
        return total


def weights(x: Any, k: int) -> np.ndarray:
    """Fixed numbers of the shape and dtype of ``x``, no two alike."""
    size = math.prod(x.shape)
    numbers = np.sin(1.0 + k + 0.7 * np.arange(size)) + 1.5
    return numbers.reshape(x.shape).astype(x.dtype)


# -- operations: (operand, pool, picks) -> value, or None where it does not apply --------------


def _unary(function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x, _pool, _picks: function(x)


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """With the first value, from the picked one on, that broadcasts against ``x``."""

    def apply(x: Any, pool: list[Any], picks: Picks) -> Any:
        for k in range(len(pool)):
            y = pool[(picks[1] + k) % len(pool)]
            if _broadcasts(x.shape, y.shape):
                return function(x, y) if picks[2] % 2 else function(y, x)
        return None

    return apply


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(a), reversed(b), strict=False))


def _axes(x: Any, picks: Picks) -> int | tuple[int, ...] | None:
    """Any subset of the axes: all as None, one as a number, counted from either end."""
    ndim = len(x.shape)
    subsets = [s for n in range(ndim + 1) for s in itertools.combinations(range(ndim), n)]
    chosen = subsets[picks[1] % len(subsets)]
    if len(chosen) == ndim:
        return None
    signed = tuple(a - ndim if picks[2] & 2 else a for a in chosen)
    return signed[0] if len(signed) == 1 else signed


def _reduction(function: Callable[..., Any], *, empty: bool) -> Callable[..., Any]:
    def apply(x: Any, _pool: list[Any], picks: Picks) -> Any:
        if not empty and 0 in x.shape:
            return None
        return function(x, axis=_axes(x, picks), keepdims=bool(picks[2] & 1))

    return apply


def _reshape(x: Any, _pool: list[Any], picks: Picks) -> Any:
    shape = x.shape
    size = math.prod(shape)
    choices: list[Any] = [(*shape, 1), (1, *shape), (size,), tuple(reversed(shape))]
    if size:
        choices += [-1, (-1, 1)]
        choices += [(n, -1) for n in (2, 3) if size % n == 0]
    return hnp.reshape(x, choices[picks[1] % len(choices)])


def _transpose(x: Any, _pool: list[Any], picks: Picks) -> Any:
    orders = list(itertools.permutations(range(len(x.shape))))
    return hnp.transpose(x, orders[picks[1] % len(orders)])


def _index(x: Any, _pool: list[Any], picks: Picks) -> Any:
    if not x.shape:
        return getitem(x, (None, Ellipsis))
    n = x.shape[0]
    basic = [slice(None, None, -1), slice(1, None), slice(None, None, 2), (None, slice(-2, None)),
             (Ellipsis, slice(0, 1)), (Ellipsis, None), slice(None, None, -2)]  # fmt: skip
    advanced = [np.arange(n) % 2 == 0, np.zeros(0, int)]
    if n:
        repeated = np.array([0, -1, 0, n - 1])
        advanced += [0, -1, repeated, (repeated, Ellipsis), [0, 0], repeated.reshape(2, 2)]
    choices = basic + advanced
    return getitem(x, choices[picks[1] % len(choices)])


def _concatenate(x: Any, pool: list[Any], picks: Picks) -> Any:
    if not x.shape:
        return hnp.stack([x, x * 2.0])
    axis = picks[1] % len(x.shape)

    def rest(a: Any) -> list[int]:
        return [n for i, n in enumerate(a.shape) if i != axis]

    fitting = [y for y in pool if len(y.shape) == len(x.shape) and rest(y) == rest(x)]
    return hnp.concatenate([x, fitting[picks[2] % len(fitting)], x], axis - len(x.shape))


def _stack(x: Any, pool: list[Any], picks: Picks) -> Any:
    fitting = [y for y in pool if y.shape == x.shape]
    y = fitting[picks[2] % len(fitting)]
    return hnp.stack([x, y], picks[1] % (len(x.shape) + 1))


def _split(x: Any, _pool: list[Any], picks: Picks) -> Any:
    axes = [axis for axis, n in enumerate(x.shape) if n % 2 == 0]
    if not axes:
        return None
    return hnp.split(x, 2, axes[picks[1] % len(axes)])[picks[2] % 2]


def _unstack(x: Any, _pool: list[Any], picks: Picks) -> Any:
    """Some of the slices, so that others get no cotangent."""
    if 0 in x.shape or not x.shape:
        return None
    parts = hnp.unstack(x, axis=picks[1] % len(x.shape))
    return parts[0] * parts[-1] if picks[2] % 2 else parts[picks[2] % len(parts)]


def _take_rows(x: Any, _pool: list[Any], picks: Picks) -> Any:
    if 0 in x.shape or not x.shape:
        return None
    n = x.shape[0]
    choices = [np.array([0, 0, n - 1]), np.array([[n - 1], [0]]), np.zeros((0,), int), np.array(0)]
    return take_rows(x, choices[picks[1] % len(choices)])


def _broadcast(x: Any, _pool: list[Any], picks: Picks) -> Any:
    return hnp.broadcast_to(x, (picks[1] % 3, *x.shape))


def _matmul(x: Any, pool: list[Any], picks: Picks) -> Any:
    if not x.shape:
        return None
    for k in range(len(pool)):
        y = pool[(picks[1] + k) % len(pool)]
        if len(y.shape) and x.shape[-1] == y.shape[max(0, len(y.shape) - 2)]:
            batches = (x.shape[:-2], y.shape[:-2]) if len(x.shape) > 1 else ((), ())
            if _broadcasts(*batches):
                return x @ y
    return x @ hnp.matrix_transpose(x) if len(x.shape) > 1 else x @ x


def _features(x: Any) -> Any:
    """A vector as long as the last axis, made from ``x`` itself."""
    return hnp.sin(x.sum(axis=tuple(range(len(x.shape) - 1)))) + _ramp(x)


def _ramp(x: Any) -> np.ndarray:
    """Fixed numbers along the last axis."""
    return (1.0 + 0.1 * np.arange(x.shape[-1])).astype(x.dtype)


def _linear(x: Any, pool: list[Any], picks: Picks) -> Any:
    """With a weight from the pool where one fits (it may be ``x`` itself), or one made of ``x``."""
    if not x.shape or x.shape[-1] == 0:
        return None
    fitting = [w for w in pool if len(w.shape) == 2 and w.shape[0] == x.shape[-1]]
    if fitting:
        w = fitting[picks[1] % len(fitting)]
        biases = [None, *(b for b in pool if b.shape == w.shape[1:])]
        return linear(x, w, biases[picks[2] % len(biases)])
    v = _features(x)
    w = hnp.transpose(hnp.stack([v, hnp.cos(v)]))
    return linear(x, w, hnp.stack([v.sum(), v.mean()]) if picks[1] % 2 else None)


def _over_last(function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x, _pool, _picks: function(x) if x.shape and x.shape[-1] else None


def _layer_norm(x: Any, _pool: list[Any], picks: Picks) -> Any:
    if not x.shape or x.shape[-1] == 0:
        return None
    v = _features(x)
    return layer_norm(x, v, v * 0.5 if picks[1] % 2 else None, eps=0.3)


def _cross_entropy(x: Any, _pool: list[Any], picks: Picks) -> Any:
    if not x.shape or x.shape[-1] == 0:
        return None
    lead = x.shape[:-1]
    labels = (np.arange(math.prod(lead)) + picks[1]) % x.shape[-1]
    return soft.cross_entropy(x, labels.reshape(lead))


def _images(x: Any) -> Any:
    """(N, H, W, 1) from the last two axes, or None."""
    if len(x.shape) < 2 or 0 in x.shape[-2:]:
        return None
    return hnp.reshape(x, (math.prod(x.shape[:-2]), *x.shape[-2:], 1))


def _conv(x: Any, _pool: list[Any], picks: Picks) -> Any:
    images = _images(x)
    if images is None:
        return None
    height, width = min(2, images.shape[1]), min(2, images.shape[2])
    constant = np.cos(np.arange(height * width * 2)).reshape(height, width, 1, 2).astype(x.dtype)
    kernel = constant * hnp.cos(x.sum())
    stride = [(1, 1), (2, 1), (1, 2), (2, 2)][picks[1] % 4]
    padding = [(0, 0), (1, 0), (1, 1), (0, 2)][picks[2] % 4]
    bias = hnp.stack([x.mean(), hnp.tanh(x.sum())]) if picks[0] % 2 and 0 not in x.shape else None
    return conv2d(images, kernel, bias, stride, padding)


def _max_pool(x: Any, _pool: list[Any], picks: Picks) -> Any:
    """Of images in which every element of ``x`` occurs several times, scaled."""
    size = math.prod(x.shape)
    images = hnp.reshape(x, (size, 1, 1, 1)) * PATTERN.astype(x.dtype)
    if picks[1] % 2:
        images = hnp.transpose(images, (3, 1, 2, 0))
    return max_pool2d(images, 2)


def _attention(x: Any, _pool: list[Any], picks: Picks) -> Any:
    if len(x.shape) < 2 or 0 in x.shape[-2:]:
        return None
    return attention(x, hnp.sin(x), x * 0.5 + 0.1, causal=bool(picks[1] % 2))


def _where(x: Any, y: Any) -> Any:
    shape = np.broadcast_shapes(x.shape, y.shape)
    mask = np.arange(math.prod(shape)).reshape(shape) % 3 == 0
    return hnp.where(mask, x, y)


def _along_last(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """Of an array with at least one element on its last axis."""
    return lambda x, _pool, _picks: function(x) if x.shape and x.shape[-1] else None


def _spectrum(x: Any) -> Any:
    """Complex numbers on the way; a smooth and real function of them in the end."""
    z = hnp.fft.fft(x) * (1.0 + 0.5j)
    return hnp.real(z * hnp.conj(z)) / x.shape[-1] + hnp.imag(hnp.exp(1j * x))


def _positive_definite(x: Any) -> Any:
    """Matrices made of the rows of ``x``, far from singular."""
    y = hnp.tanh(x)
    n = x.shape[-2]
    return y @ hnp.matrix_transpose(y) + (np.eye(n) + np.diag(np.arange(n))).astype(x.dtype)


def _of_matrices(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Of positive definite matrices made of ``x``, and ``x``."""

    def apply(x: Any, _pool: list[Any], _picks: Picks) -> Any:
        if len(x.shape) < 2 or 0 in x.shape:
            return None
        return function(_positive_definite(x), x)

    return apply


def _assigned(x: Any) -> Any:
    """Items written into an array of zeros."""
    y = hnp.zeros(x.shape, dtype=x.dtype)
    y[...] = x * 2.0
    y[..., 0] = hnp.sin(x[..., -1])
    return y


OPERATIONS: dict[str, Callable[[Any, list[Any], Picks], Any]] = {
    "negative": _unary(lambda x: -x),
    "exp": _unary(lambda x: hnp.exp(hnp.tanh(x))),
    "expm1": _unary(lambda x: hnp.expm1(hnp.tanh(x))),
    "log": _unary(lambda x: hnp.log(hnp.square(x) + 1.0)),
    "log1p": _unary(lambda x: hnp.log1p(x * x)),
    "sqrt": _unary(lambda x: hnp.sqrt(x * x + 0.5)),
    "sin": _unary(hnp.sin),
    "cos": _unary(hnp.cos),
    "absolute": _unary(abs),
    "relu": _unary(relu),
    "sigmoid": _unary(sigmoid),
    "gelu": _unary(gelu),
    "power of a constant": _unary(lambda x: 1.5 ** hnp.tanh(x)),
    "constant power": _unary(lambda x: hnp.tanh(x) ** 3),
    "scalar operands": _unary(lambda x: 2.0 - 3.0 / (x * x + 1.0)),
    "expand_dims": lambda x, _pool, picks: hnp.expand_dims(x, picks[1] % (len(x.shape) + 1)),
    "add": _binary(lambda x, y: x + y),
    "subtract": _binary(lambda x, y: x - y),
    "multiply": _binary(lambda x, y: x * hnp.tanh(y)),
    "divide": _binary(lambda x, y: x / (y * y + 0.5)),
    "power": _binary(lambda x, y: (x * x + 0.5) ** hnp.tanh(y)),
    "maximum": _binary(hnp.maximum),
    "minimum": _binary(hnp.minimum),
    "where": _binary(_where),
    "sum": _reduction(hnp.sum, empty=True),
    "mean": _reduction(hnp.mean, empty=False),
    "max": _reduction(hnp.max, empty=False),
    "min": _reduction(hnp.min, empty=False),
    "reshape": _reshape,
    "transpose": _transpose,
    "index": _index,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "unstack": _unstack,
    "take_rows": _take_rows,
    "broadcast_to": _broadcast,
    "matmul": _matmul,
    "linear": _linear,
    "softmax": _over_last(soft.softmax),
    "logsumexp": _over_last(soft.logsumexp),
    "log_softmax": _over_last(soft.log_softmax),
    "layer_norm": _layer_norm,
    "cross_entropy": _cross_entropy,
    "conv": _conv,
    "max_pool": _max_pool,
    "attention": _attention,
    "hyperbolic": _unary(lambda x: hnp.sinh(hnp.tanh(x)) + hnp.cosh(hnp.tanh(x)) + hnp.asinh(x)),
    "inverse trigonometric": _unary(lambda x: hnp.atan(x) + hnp.asin(0.9 * hnp.tanh(x))),
    "other bases": _unary(lambda x: hnp.log2(x * x + 1.0) + hnp.exp2(hnp.tanh(x))),
    "reciprocal": _unary(lambda x: hnp.reciprocal(x * x + 1.0)),
    "clip": _unary(lambda x: hnp.clip(x, -0.7, 0.6)),
    "logaddexp": _binary(hnp.logaddexp),
    "hypot": _binary(lambda x, y: hnp.hypot(x, y * y + 0.5)),
    "atan2": _binary(lambda x, y: hnp.atan2(x, y * y + 0.5)),
    "prod": _reduction(lambda x, **kind: hnp.prod(hnp.tanh(x), **kind), empty=True),
    "var": _reduction(hnp.var, empty=False),
    "cumulative_sum": _along_last(lambda x: hnp.cumulative_sum(x, axis=-1)),
    "cumulative_prod": _along_last(lambda x: hnp.cumulative_prod(hnp.tanh(x), axis=-1)),
    "sort": _along_last(hnp.sort),
    "flip and roll": _along_last(lambda x: hnp.flip(x, axis=-1) + hnp.roll(x, 1, axis=-1)),
    "pad and diff": _along_last(
        lambda x: hnp.diff(hnp.pad(x, [(0, 0)] * (len(x.shape) - 1) + [(1, 0)]), axis=-1)
    ),
    "triangle": lambda x, _pool, picks: hnp.tril(x, picks[1] % 3 - 1) if len(x.shape) > 1 else None,
    "einsum": _along_last(lambda x: hnp.einsum("...i,...i->...", x, hnp.cos(x))),
    "spectrum": _along_last(_spectrum),
    "assignment": _along_last(_assigned),
    "solve": _of_matrices(hnp.linalg.solve),
    "inverse": _of_matrices(lambda a, x: hnp.linalg.inv(a) @ x),
    "determinant": _of_matrices(lambda a, _x: hnp.linalg.det(a)),
    "cholesky": _of_matrices(lambda a, _x: hnp.linalg.cholesky(a)),
    "eigenvalues": _of_matrices(lambda a, _x: hnp.linalg.eigvalsh(a)),
}

# -- strategies --------------------------------------------------------------------------------

_PICK = st.integers(0, 23)
STEPS = st.tuples(st.sampled_from(sorted(OPERATIONS)), _PICK, _PICK, _PICK)
PROGRAMS = st.lists(STEPS, min_size=2, max_size=8).map(lambda steps: Program(tuple(steps)))
# 0-d, empty and broadcasting shapes among them; the fixed ones fit each other in products
SHAPES = st.one_of(
    st.lists(st.sampled_from([0, 1, 2, 3, 3, 4]), max_size=3).map(tuple),
    st.sampled_from([(2, 3), (3, 3), (3, 4), (3,), (2, 2, 3)]),
)


@st.composite
def inputs(draw: Any, largest: int = 3) -> list[np.ndarray]:
    """One to ``largest`` float64 arrays, C-contiguous."""
    shapes = draw(st.lists(SHAPES, min_size=1, max_size=largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return [rng.standard_normal(shape) for shape in shapes]


def relaid(x: np.ndarray, kind: int) -> np.ndarray:
    """The same values in another memory layout."""
    if x.ndim == 0 or kind == 0:
        return x.copy()
    if kind == 1:
        return np.asfortranarray(x)
    if kind == 2:  # negative strides
        return x[(slice(None, None, -1),) * x.ndim].copy()[(slice(None, None, -1),) * x.ndim]
    if kind == 3:  # every second element of something larger, and not writeable
        wide = np.zeros([2 * n for n in x.shape])
        wide[(slice(None, None, 2),) * x.ndim] = x
        view = wide[(slice(None, None, 2),) * x.ndim]
        view.flags.writeable = False
        return view
    return np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0)
