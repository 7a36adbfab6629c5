"""Forward mode as a transform: a function's value and tangent, and its linear part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hpcad.autodiff.forward import ForwardTrace, Push
from hpcad.autodiff.keep import TANGENT
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.pytree import describe, flatten
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import Tensor
from hpcad.autodiff.vjp import as_cotangent, as_primal, detached, split_aux
from hpcad.errors import DifferentiationError


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
    primals : sequence of pytrees
        The arguments.
    tangents : sequence of pytrees
        One per primal, of its structure and shapes: the direction ``v``.

    Returns
    -------
    value : pytree
    tangent : pytree
        ``J v``, like the value.
    aux
        Only with ``has_aux``.
    """
    leaves, structure = flatten(tuple(primals))
    leaves = [as_primal(x) for x in leaves]
    directions = checked_tangents(tangents, leaves, structure)
    aux = None
    with ForwardTrace() as trace:
        inputs = [trace.input(x, t) for x, t in zip(leaves, directions, strict=True)]
        answer = function(*structure.build(inputs))
        if has_aux:
            answer, aux = split_aux(answer)
    results, out = flatten(answer)
    ours = [isinstance(r, Tensor) and r.trace is trace for r in results]
    values = [r.value if o else r for r, o in zip(results, ours, strict=True)]
    pushed = [r.tangent if o else zeros(r) for r, o in zip(results, ours, strict=True)]
    pair = out.build(values), out.build(pushed)
    return (*pair, detached(aux, trace)) if has_aux else pair


def linearize(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """Evaluate a function and return its pushforward, which can be applied many times.

    Parameters
    ----------
    function : callable
    *primals : pytrees

    Returns
    -------
    value : pytree
    pushforward : callable
        ``pushforward(*tangents)`` returns ``J v`` without evaluating the function again.
    """
    flat, structure = flatten(tuple(primals))
    leaves = [as_primal(x) for x in flat]
    with Tape(purpose=TANGENT) as tape:
        inputs = [tape.input(x) for x in leaves]
        answer = function(*structure.build(inputs))
    results, out = flatten(answer)
    ours = [isinstance(r, Tensor) and r.trace is tape for r in results]
    values = [r.value if o else r for r, o in zip(results, ours, strict=True)]

    def pushforward(*tangents: Any) -> Any:
        directions = checked_tangents(tangents, leaves, structure)
        seeds = {x.slot: t for x, t in zip(inputs, directions, strict=True)}
        found = Push(tape, seeds).run()
        return out.build(
            [
                found[r.slot] if o and r.slot in found else zeros(v)
                for r, o, v in zip(results, ours, values, strict=True)
            ]
        )

    return out.build(values), pushforward


def zeros(x: Any) -> Any:
    """The tangent of a constant."""
    return LINKS.zeros_like(x)


def checked_tangents(tangents: Any, leaves: Sequence[Any], structure: Any) -> list[Any]:
    """The leaves of the tangents, with structure, shapes and dtypes like the primals."""
    found, given = flatten(tuple(tangents))
    if given != structure:
        raise DifferentiationError(
            f"the tangents have structure {describe(given)}, but the primals {describe(structure)}"
        )
    return [
        as_cotangent(t, x.shape, x.dtype, "tangent") for t, x in zip(found, leaves, strict=True)
    ]
