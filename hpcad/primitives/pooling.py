"""Max pooling over square windows that do not overlap, on images in N,H,W,C order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import backend_of
from hpcad.errors import ShapeError


def _parts(x: Any, size: int) -> list[Any]:
    """The ``size * size`` strided views whose elementwise maximum is the pooled image."""
    h, w = (x.shape[1] // size) * size, (x.shape[2] // size) * size
    return [x[:, i:h:size, j:w:size] for i in range(size) for j in range(size)]


def _pooled_shape(x: Any, *, size: int) -> tuple[int, ...]:
    return (x[0], x[1] // size, x[2] // size, x[3])


def _max_pool(x: Any, *, size: int) -> tuple[Any, Any]:
    """Answer, and as residuals which part won (the first at ties) and the shape of ``x``."""
    if x.ndim != 4 or min(x.shape[1:3]) < size:
        raise ShapeError(
            f"max_pool2d: images (N, H, W, C) of at least {size} x {size} are needed; "
            f"got shape {tuple(x.shape)}"
        )
    first, *others = _parts(x, size)
    best, winner = first, backend_of(x).zeros(first.shape, np.int8)
    for i, part in enumerate(others, start=1):
        # The index grows, so its maximum with i is the last part that beat those before it.
        # Arithmetic on masks: a masked copy would stall on unpredictable branches.
        better = (part > best).view(np.int8)
        better *= np.int8(i)
        np.maximum(winner, better, out=winner)
        best = np.maximum(best, part)
    return best, (winner, x.shape)


def _winner(saved: Any, x: Any, size: int) -> tuple[Any, tuple[int, ...]]:
    """The residuals; inside nested transforms they are found again."""
    if saved is not None:
        return saved
    plain = value_of(x)
    if isinstance(plain, Tensor):  # of a program that is being captured
        return max_pool_parts(plain, size=size)[1], tuple(plain.shape)
    return _max_pool(plain, size=size)[1]


def _max_pool_vjp(_needs: Any, g: Any, _y: Any, saved: Any, _x: Any, size: int) -> list[Any]:
    winner, shape = _winner(saved, _x, size)
    return [unpool(g, winner=winner, shape=shape, size=size)]


def _max_pool_jvp(ts: Sequence[Any], _y: Any, saved: Any, _x: Any, size: int) -> Any:
    return pick(ts[0], winner=_winner(saved, _x, size)[0], size=size)


def _unpool(g: Any, *, winner: Any, shape: tuple[int, ...], size: int) -> Any:
    out = backend_of(g).zeros(shape, g.dtype)
    for i, part in enumerate(_parts(out, size)):
        np.multiply(g, winner == i, out=part)
    return out


def _pool_by_index(x: Any, *, winner: Any, size: int) -> Any:
    """Pick the elements that won; the adjoint of unpool."""
    out = backend_of(x).zeros(winner.shape, x.dtype)
    for i, part in enumerate(_parts(x, size)):
        np.copyto(out, part, where=winner == i)
    return out


def _both(x: Any, *, size: int) -> tuple[Any, Any]:
    best, (winner, _) = _max_pool(x, size=size)
    return best, winner


# fmt: off
max_pool_parts = Primitive("max_pool_parts", _both,  # the pooled image and the winners
                           lambda x, *, size: (_pooled_shape(x, size=size),) * 2,
                           outputs=True, constant=True)
_max_pool_primitive = Primitive("max_pool", _max_pool, _pooled_shape,
                                joint=_max_pool_vjp, joint_jvp=_max_pool_jvp, saves=True)
unpool = Primitive("unpool", _unpool, lambda _g, *, winner, shape, size: shape, [
    lambda u, _x, _g, winner, shape, size: pick(u, winner=winner, size=size)], jvp="linear")
pick = Primitive("pick", _pool_by_index, lambda _x, *, winner, size: winner.shape, [
    lambda g, _y, x, winner, size: unpool(g, winner=winner, shape=tuple(np.shape(x)), size=size)],
    jvp="linear")
# fmt: on


def max_pool2d(x: Any, size: int = 2) -> Any:
    """Maximum over windows of ``size`` x ``size``; rows and columns left over are dropped.

    Parameters
    ----------
    x : array, shape (N, H, W, C)

    Returns
    -------
    array, shape (N, H // size, W // size, C)
        At ties the first element of a window (row-major) gets the cotangent.
    """
    return _max_pool_primitive(x, size=size)
