"""Layer normalisation (Ba, Kiros, Hinton, arXiv:1607.06450)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend.half import is_half
from hpcad.primitives import reduction
from hpcad.primitives.elementwise import (
    add,
    cast,
    divide,
    floating,
    multiply,
    sqrt,
    square,
    subtract,
)
from hpcad.primitives.precision import in_single
from hpcad.primitives.shapes import as_array, same


def _layer_norm(x: Any, scale: Any, shift: Any, *, eps: float) -> tuple[Any, Any]:
    """Answer, and residuals: the normalised values and ``1 / sigma``."""
    x = floating(x)
    n = x.dtype.type(1.0 / x.shape[-1])
    hat = x - x.sum(axis=-1, keepdims=True) * n
    variance = np.einsum("...i,...i->...", hat, hat)[..., None] * n
    inverse = 1.0 / np.sqrt(variance + x.dtype.type(eps))
    hat *= inverse
    y = hat * scale
    if shift is not None:
        y += shift
    return y, (hat, inverse)


def _normalised(x: Any, eps: float) -> tuple[Any, Any]:
    """The residuals by primitives, for nested transforms."""
    centred = subtract(x, reduction.mean(x, -1, True))
    variance = reduction.mean(square(centred), -1, True)
    inverse = divide(1.0, sqrt(add(variance, eps)))
    return multiply(centred, inverse), inverse


def _project(h: Any, hat: Any, inverse: Any) -> Any:
    """``(h - mean(h) - hat mean(h hat)) / sigma``: the (symmetric) Jacobian of ``hat`` times h."""
    along = reduction.mean(multiply(h, hat), -1, True)
    inner = subtract(subtract(h, reduction.mean(h, -1, True)), multiply(hat, along))
    return multiply(inner, inverse)


def _layer_norm_vjp(
    needs: tuple[bool, ...], g: Any, _y: Any, saved: Any, _x: Any, scale: Any, _shift: Any,
    eps: float,
) -> list[Any]:  # fmt: skip
    """``dx = (h - mean(h) - hat mean(h hat)) / sigma`` with ``h = g scale``."""
    if saved is not None and isinstance(g, np.ndarray):
        return _layer_norm_vjp_in_place(needs, g, saved[0], saved[1], scale)
    hat, inverse = _normalised(_x, eps) if saved is None else saved
    lead = tuple(range(len(np.shape(g)) - 1))
    return [
        _project(multiply(g, scale), hat, inverse) if needs[0] else None,
        reduction.sum(multiply(g, hat), lead) if needs[1] else None,
        reduction.sum(g, lead) if needs[2] else None,
    ]


def _layer_norm_vjp_in_place(
    needs: tuple[bool, ...], g: Any, hat: Any, inverse: Any, scale: Any
) -> list[Any]:
    """The same on plain arrays, with one temporary; sums are contractions."""
    width = g.shape[-1]
    mean = g.dtype.type(1.0 / width)
    rows, flat = g.reshape(-1, width), hat.reshape(-1, width)
    dx = dscale = dshift = None
    if needs[0]:
        dx = rows * scale
        along = np.einsum("ij,ij->i", dx, flat) * mean
        dx -= (dx @ np.full(width, mean, g.dtype))[:, None]
        dx -= flat * along[:, None]
        dx *= inverse.reshape(-1, 1)
        dx = dx.reshape(g.shape)
    if needs[1]:
        dscale = np.einsum("ij,ij->j", rows, flat)
    if needs[2]:
        dshift = np.ones(len(rows), g.dtype) @ rows
    return [dx, dscale, dshift]


def _layer_norm_jvp(
    ts: Sequence[Any], _y: Any, saved: Any, _x: Any, scale: Any, _shift: Any, eps: float
) -> Any:
    """``dhat scale + hat dscale + dshift``, where ``dhat`` is projected as in the VJP."""
    hat, inverse = _normalised(_x, eps) if saved is None else saved
    dx, dscale, dshift = ts
    parts = []
    if dx is not None:
        parts.append(multiply(_project(dx, hat, inverse), scale))
    if dscale is not None:
        parts.append(multiply(hat, dscale))
    if dshift is not None:
        parts.append(dshift)
    return reduce(add, parts)


_layer_norm_primitive = Primitive(
    "layer_norm",
    in_single(_layer_norm),
    same,
    joint=_layer_norm_vjp,
    joint_jvp=_layer_norm_jvp,
    saves=True,
)


def layer_norm(x: Any, scale: Any, shift: Any = None, eps: float = 1e-5) -> Any:
    """``(x - mean) / sqrt(var + eps) * scale + shift`` over the last axis.

    Parameters
    ----------
    x : array, shape (..., n)
    scale : array, shape (n,)
    shift : array, shape (n,), optional

    Notes
    -----
    Arrays in half precision are normalised in float32; the answer is rounded once, and is in half
    precision if all arguments are.
    """
    x = as_array(x)
    if is_half(x.dtype):
        kind = np.result_type(x.dtype, scale.dtype)
        x, scale = (cast(a, dtype=np.float32) for a in (x, scale))
        shift = None if shift is None else cast(shift, dtype=np.float32)
        return cast(layer_norm(x, scale, shift, eps), dtype=kind)
    return _layer_norm_primitive(x, scale, shift, eps=eps)
