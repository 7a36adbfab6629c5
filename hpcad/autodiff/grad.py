"""Transforms of functions: vjp, grad, value_and_grad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.reverse import Pull
from hpcad.autodiff.state import nested
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.errors import DifferentiationError, ShapeError


def vjp(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple]]:
    """Evaluate a function and return its pullback.

    Parameters
    ----------
    function : callable
        Of arrays, returning one array.
    *primals : arrays
        Where it is evaluated.

    Returns
    -------
    value : array
    pullback : callable
        ``pullback(w)`` returns ``w^T J`` for each primal, as a tuple. May be called repeatedly.

    Raises
    ------
    DifferentiationError
        A primal is not of floating point, or the function does not return one array.
    """
    with nested() as level:
        tape = Tape(level)
        inputs = [tape.input(_as_array(primal)) for primal in primals]
        answer = function(*inputs)
    if isinstance(answer, (tuple, list, dict)):
        raise DifferentiationError(
            f"a function to differentiate must return one array, not a {type(answer).__name__}"
        )
    if not (isinstance(answer, Tensor) and answer.trace is tape):
        value = answer  # does not depend on the primals at this level

        def zeros(_w: Any) -> tuple:
            return tuple(_zeros(x.value) for x in inputs)

        return value, zeros
    slot = answer.slot

    def pullback(cotangent: Any) -> tuple:
        if np.shape(cotangent) != tuple(answer.shape):
            raise ShapeError(
                f"the cotangent has shape {np.shape(cotangent)}, "
                f"but the function returned shape {tuple(answer.shape)}"
            )
        found = Pull(tape, {slot: cotangent}).retain()
        parts = [found[x.slot] if x.slot in found else _zeros(x.value) for x in inputs]
        return _separate(parts, cotangent)

    return answer.value, pullback


def value_and_grad(
    function: Callable[..., Any], argnums: int | tuple[int, ...] = 0
) -> Callable[..., tuple[Any, Any]]:
    """Return a function that computes the value and gradient of a scalar function.

    Parameters
    ----------
    function : callable
        Returns a scalar.
    argnums : int or tuple of int
        Positions of the arguments to differentiate with respect to.

    Raises
    ------
    DifferentiationError
        When called: the function did not return a scalar.
    """
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        def restricted(*chosen: Any) -> Any:
            full = list(args)
            for position, x in zip(wanted, chosen, strict=True):
                full[position] = x
            return function(*full, **kwargs)

        value, pullback = vjp(restricted, *(args[i] for i in wanted))
        if np.shape(value) != ():
            raise DifferentiationError(
                f"grad needs a function that returns a scalar; it returned shape "
                f"{np.shape(value)}; reduce it with sum or mean, or use vjp"
            )
        gradients = pullback(np.ones_like(value_of(value)))
        return value, gradients[0] if isinstance(argnums, int) else gradients

    return differentiated


def grad(function: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return the gradient of a scalar function; ``grad(grad(f))`` is its second derivative.

    Parameters
    ----------
    function : callable
        Returns a scalar.
    argnums : int or tuple of int
        Positions of the arguments to differentiate with respect to.
    """
    both = value_and_grad(function, argnums)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def _as_array(x: Any) -> Any:
    array = x if hasattr(x, "dtype") else np.asarray(x, dtype=float)
    if array.dtype.kind != "f":
        raise DifferentiationError(
            f"cannot differentiate with respect to numbers of dtype {array.dtype}; "
            "convert them to floating point first, for example with .astype(float)"
            + (" (complex numbers are not supported yet)" if array.dtype.kind == "c" else "")
        )
    return array


def _zeros(x: Any) -> Any:
    return np.zeros_like(value_of(x))


def _separate(parts: list[Any], cotangent: Any) -> tuple[Any, ...]:
    """Copy what is read-only or is handed out twice, so that the caller may change what it gets."""
    seen = [cotangent]
    for i, part in enumerate(parts):
        if type(part) is np.ndarray and (
            not part.flags.writeable
            or any(np.may_share_memory(part, x) for x in seen if type(x) is np.ndarray)
        ):
            parts[i] = part.copy()
        seen.append(parts[i])
    return tuple(parts)
