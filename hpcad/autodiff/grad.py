"""Gradients of scalar functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import value_of
from hpcad.autodiff.vjp import ones_like, pull_apart
from hpcad.errors import DifferentiationError

Argnums = int | tuple[int, ...]


def value_and_grad(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., tuple[Any, Any]]:
    """Return a function that computes the value and gradient of a scalar function.

    Parameters
    ----------
    function : callable
        Of pytrees of arrays; returns a scalar (with ``has_aux``, a pair of it and of anything
        else).
    argnums : int or tuple of int
        Positions of the arguments to differentiate with respect to.
    has_aux : bool
        The value is then a pair, too: ``((value, aux), gradient)``.
    holomorphic : bool
        The function is complex differentiable, and may return a complex number: the gradient is
        ``df/dz``.

    Raises
    ------
    DifferentiationError
        When called: the function did not return one real scalar.

    Notes
    -----
    For complex arguments ``z = x + i y`` of a real function the gradient is ``df/dx - i df/dy``,
    the cotangent without conjugation: ``abs(z)**2`` has gradient ``2 conj(z)``, and gradient
    descent steps along its conjugate.
    """
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        restricted, chosen = restrict(function, args, kwargs, wanted)
        value, pullback, aux = pull_apart(restricted, chosen, has_aux, wanted)
        _check_scalar(value, holomorphic)
        gradients = pullback(ones_like(value), retain=False)
        return (value, aux) if has_aux else value, (
            gradients[0] if isinstance(argnums, int) else gradients
        )

    return differentiated


def grad(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Return the gradient of a scalar function; ``grad(grad(f))`` is its second derivative.

    Parameters are those of :func:`value_and_grad`; with ``has_aux`` the result is
    ``(gradient, aux)``.
    """
    both = value_and_grad(function, argnums, has_aux=has_aux, holomorphic=holomorphic)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, gradients = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


def restrict(
    function: Callable[..., Any], args: tuple, kwargs: dict[str, Any], wanted: tuple[int, ...]
) -> tuple[Callable[..., Any], list[Any]]:
    """``function`` as a function of the wanted arguments only, and those arguments."""
    for position in wanted:
        if not -len(args) <= position < len(args):
            raise DifferentiationError(
                f"argnums asks for argument {position}, but the function was called with "
                f"{len(args)} positional arguments"
            )

    def restricted(*chosen: Any) -> Any:
        full = list(args)
        for position, x in zip(wanted, chosen, strict=True):
            full[position] = x
        return function(*full, **kwargs)

    return restricted, [args[position] for position in wanted]


def _check_scalar(value: Any, holomorphic: bool) -> None:
    array = value_of(value)
    if not isinstance(array, (int, float, complex)) and not hasattr(array, "dtype"):
        raise DifferentiationError(
            f"a function to differentiate must return one scalar, not a {type(value).__name__}; "
            "use jacobian or vjp, or has_aux=True for further results"
        )
    if np.shape(value) != ():
        raise DifferentiationError(
            f"grad needs a function that returns a scalar; it returned shape "
            f"{np.shape(value)}; reduce it with sum or mean, or use jacobian, elementwise_grad or "
            "vjp"
        )
    if not holomorphic and np.dtype(getattr(array, "dtype", type(array))).kind == "c":
        raise DifferentiationError(
            "grad needs a real function; this one returned a complex number: differentiate its "
            "real part, or pass holomorphic=True if it is complex differentiable"
        )
