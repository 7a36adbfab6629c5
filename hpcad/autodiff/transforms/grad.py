"""Gradients of scalar functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.tensor import value_of
from hpcad.autodiff.transforms.linearization import record
from hpcad.autodiff.transforms.primals import Argnums, is_single, restrict
from hpcad.backend import backend_of
from hpcad.errors import DifferentiationError


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
        Positions of the arguments to differentiate with respect to (negative ones count from
        the right); a tuple gives a tuple of gradients. Keyword arguments are passed through.
    has_aux : bool
        The value is then a pair, too: ``((value, aux), gradient)``.
    holomorphic : bool
        The function is complex differentiable, and may return a complex number: the gradient is
        ``df/dz``.

    Returns
    -------
    callable
        Returns ``(value, gradient)``; the gradient is a tree like the argument, of its shapes
        and dtypes.

    Raises
    ------
    DifferentiationError
        When called: the function did not return one real scalar, or an argument holds something
        else than floating-point or complex numbers.

    Notes
    -----
    For complex arguments ``z = x + i y`` of a real function the gradient is ``df/dx - i df/dy``,
    the cotangent without conjugation: ``abs(z)**2`` has gradient ``2 conj(z)``, and gradient
    descent steps along its conjugate.
    """

    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        restricted, chosen, positions = restrict(function, args, kwargs, argnums)
        value, linear, aux = record(restricted, chosen, has_aux, positions=positions)
        _check_scalar(value)
        _check_kinds(value, linear.inputs, holomorphic, "grad")
        found = linear.structure.build(linear.pull([ones_like(value)], retain=False))
        return (value, aux) if has_aux else value, found[0] if is_single(argnums) else found

    return differentiated


def grad(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Return the gradient of a scalar function; ``grad(grad(f))`` is its second derivative.

    Parameters
    ----------
    function : callable
        Of pytrees of floating-point or complex arrays and numbers; returns a scalar (with
        ``has_aux``, a pair of it and of anything else).
    argnums : int or tuple of int
        Positions of the arguments to differentiate with respect to (negative ones count from
        the right). Keyword arguments are passed through.
    has_aux : bool
        The result is then ``(gradient, aux)``.
    holomorphic : bool
        The function is complex differentiable, and may return a complex number: the gradient is
        ``df/dz``.

    Returns
    -------
    callable
        Called like ``function``. Returns a tree like the argument, of its shapes and dtypes; a
        tuple of such for a tuple of argnums. For complex arguments ``z = x + i y`` of a real
        function it is ``df/dx - i df/dy``: ``abs(z)**2`` has gradient ``2 conj(z)``.

    Raises
    ------
    DifferentiationError
        When called: the function did not return one real scalar, or an argument holds something
        else than floating-point or complex numbers.

    Notes
    -----
    Reverse mode: the cost is a small multiple of one evaluation, however many numbers go in.

    Examples
    --------
    >>> hpcad.grad(lambda x: (x**3).sum())(np.array([1.0, 2.0]))
    array([ 3., 12.])
    """
    both = value_and_grad(function, argnums, has_aux=has_aux, holomorphic=holomorphic)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, gradients = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


def grad_and_aux(
    function: Callable[..., Any], argnums: Argnums = 0, *, holomorphic: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """Return ``(gradient, aux)`` of a function that returns ``(value, aux)``."""
    return grad(function, argnums, has_aux=True, holomorphic=holomorphic)


def elementwise_grad(
    function: Callable[..., Any], argnums: Argnums = 0, *, holomorphic: bool = False
) -> Callable[..., Any]:
    """Return the derivative of a function that acts on each element by itself.

    Parameters
    ----------
    function : callable
        Each element of its answer depends on one element of an argument (by broadcasting, also
        several on the same). This is not checked: in general the result is the sum of the rows
        of the Jacobian.
    argnums, holomorphic
        As in :func:`value_and_grad`.

    Returns
    -------
    callable
        Returns arrays of the shape of the arguments, all elements in one backward pass.
    """

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        restricted, chosen, positions = restrict(function, args, kwargs, argnums)
        value, linear, _ = record(restricted, chosen, positions=positions)
        _check_array(value)
        _check_kinds(value, linear.inputs, holomorphic, "elementwise_grad")
        found = linear.structure.build(linear.pull([ones_like(value)], retain=False))
        return found[0] if is_single(argnums) else found

    return differentiated


def ones_like(x: Any) -> Any:
    """A plain array of ones like ``x``, on its device."""
    value = value_of(x)
    return backend_of(value).xp.ones_like(value)


def _check_array(value: Any) -> None:
    array = value_of(value)
    if not isinstance(array, (int, float, complex)) and not hasattr(array, "dtype"):
        raise DifferentiationError(
            f"a function to differentiate must return one scalar, not a {type(value).__name__}; "
            "use jacobian or vjp, or has_aux=True for further results"
        )


def _check_scalar(value: Any) -> None:
    _check_array(value)
    if np.shape(value) != ():
        raise DifferentiationError(
            f"grad needs a function that returns a scalar; it returned shape "
            f"{np.shape(value)}; reduce it with sum or mean, or use jacobian, elementwise_grad or "
            "vjp"
        )


def _check_kinds(value: Any, inputs: Sequence[Any], holomorphic: bool, name: str) -> None:
    """Complex numbers must come out where they must go in, and otherwise must not."""
    array = value_of(value)
    kind = np.dtype(getattr(array, "dtype", type(array))).kind
    if kind == "c" and not holomorphic:
        raise DifferentiationError(
            f"{name} needs a real function; this one returned complex numbers: differentiate its "
            "real part, or pass holomorphic=True if it is complex differentiable"
        )
    if holomorphic and {kind, *(x.dtype.kind for x in inputs)} != {"c"}:
        raise DifferentiationError(
            "holomorphic=True is for functions of complex arguments with complex values; leave it "
            "out, or convert with .astype(complex)"
        )
