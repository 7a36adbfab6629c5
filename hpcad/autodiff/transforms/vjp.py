"""Reverse mode as a transform: the value of a function and its pullback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpcad.autodiff.pytree import leaves_like
from hpcad.autodiff.transforms.linearization import Linearization, record
from hpcad.autodiff.transforms.primals import as_cotangent
from hpcad.errors import DifferentiationError


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Evaluate a function and return its pullback.

    Parameters
    ----------
    function : callable
        Of pytrees of arrays, returning a pytree of arrays; with ``has_aux`` a pair of it and of
        anything else, which is passed through.
    *primals : pytrees of floating-point or complex arrays
        Where it is evaluated.

    Returns
    -------
    value : pytree
    pullback : callable
        ``pullback(w)`` returns ``w^T J`` (no conjugate) for each primal, as a tuple of trees like
        the primals. It may be called repeatedly; ``pullback(w, retain=False)`` frees each record
        as it is consumed, and is the last call.
    aux
        Only with ``has_aux``.

    Raises
    ------
    DifferentiationError
        A primal holds something else than floating-point or complex numbers.

    Notes
    -----
    Results are plain arrays unless an enclosing transform or a parameter follows them, also
    where constant tensors went in.
    """
    value, linearization, aux = record(function, primals, has_aux, lasting=True)
    pullback = Pullback(linearization)
    return (value, pullback, aux) if has_aux else (value, pullback)


class Pullback:
    """``w -> w^T J``; see :func:`vjp`.

    Attributes
    ----------
    tape : Tape
        The record of the function.
    """

    def __init__(self, linearization: Linearization) -> None:
        self.tape = linearization.tape
        self._linearization = linearization
        self._used = False

    def __call__(self, cotangent: Any, *, retain: bool = True) -> tuple[Any, ...]:
        if self._used:
            raise DifferentiationError(
                "the pullback was called again after pullback(w, retain=False) had freed the "
                "record; leave retain out for repeated pulls"
            )
        linear = self._linearization
        leaves = leaves_like(cotangent, linear.out, "cotangent", "value of the function")
        checked = [
            None if slot is None else as_cotangent(g, *aval)
            for slot, g, aval in zip(linear.slots, leaves, linear.avals, strict=True)
        ]
        self._used = not retain
        return linear.structure.build(linear.pull(checked, retain=retain))
