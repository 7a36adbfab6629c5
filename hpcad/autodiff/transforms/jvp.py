"""Forward mode as a transform: a function's value and tangent, and its linear part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hpcad.autodiff.forward import ForwardTrace
from hpcad.autodiff.keep import TANGENT
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.tensor import Tensor
from hpcad.autodiff.transforms.linearization import (
    checked_results,
    detached,
    record,
    separate,
    split_aux,
    uncovered,
)
from hpcad.autodiff.transforms.primals import as_primals, as_sequence, as_tangents


def jvp(
    function: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """Evaluate a function and its derivative along a direction, in one pass and without a tape.

    Parameters
    ----------
    function : callable
        Of pytrees of arrays, returning a pytree of arrays.
    primals : tuple of pytrees
        The arguments.
    tangents : tuple of pytrees
        One per primal, of its structure and shapes: the direction ``v``.

    Returns
    -------
    value : pytree
    tangent : pytree
        ``J v``, like the value.
    aux
        Only with ``has_aux``.

    Raises
    ------
    DifferentiationError
        Primals and tangents are no tuples of one structure, or a primal holds something else
        than floating-point or complex numbers.
    ShapeError
        A tangent has another shape than its primal.

    Notes
    -----
    Costs about two evaluations of the function, and holds nothing but the tangents beside the
    values.
    """
    leaves, structure = as_primals(as_sequence(primals, "primals"))
    directions = as_tangents(as_sequence(tangents, "tangents"), leaves, structure)
    aux = None
    with ForwardTrace() as trace:
        inputs = [trace.input(x, t) for x, t in zip(leaves, directions, strict=True)]
        answer = function(*structure.build(inputs))
        if has_aux:
            answer, aux = split_aux(answer)
    results, out = checked_results(answer)
    ours = [isinstance(r, Tensor) and r.follower is trace for r in results]
    values = [uncovered(r.value) if o else r for r, o in zip(results, ours, strict=True)]
    pushed = [r.tangent if o else LINKS.zeros_like(r) for r, o in zip(results, ours, strict=True)]
    pair = out.build(values), out.build(separate(pushed, [*directions, *values]))
    return (*pair, detached(aux, trace)) if has_aux else pair


def linearize(
    function: Callable[..., Any], *primals: Any, has_aux: bool = False
) -> tuple[Any, ...]:
    """Evaluate a function and return its pushforward, which can be applied many times.

    Parameters
    ----------
    function : callable
        Of pytrees of arrays, returning a pytree of arrays; with ``has_aux`` a pair of it and of
        anything else.
    *primals : pytrees of floating-point or complex arrays
        Where it is evaluated.
    has_aux : bool

    Returns
    -------
    value : pytree
    pushforward : callable
        ``pushforward(*tangents)`` returns ``J v`` without evaluating the function again.
    aux
        Only with ``has_aux``.
    """
    value, linear, aux = record(function, primals, has_aux, purpose=TANGENT, lasting=True)

    def pushforward(*tangents: Any) -> Any:
        directions = as_tangents(tangents, linear.inputs, linear.structure)
        return linear.out.build(linear.push(directions))

    return (value, pushforward, aux) if has_aux else (value, pushforward)
