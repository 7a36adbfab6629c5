"""Reverse mode as a transform: the value of a function and its pullback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.pytree import Structure, describe, flatten
from hpcad.autodiff.reverse import Pull
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import CONSTANT, Tensor, value_of
from hpcad.backend import backend_of
from hpcad.errors import DifferentiationError, ShapeError


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
    """
    value, pullback, aux = pull_apart(function, primals, has_aux)
    return (value, pullback, aux) if has_aux else (value, pullback)


def pull_apart(
    function: Callable[..., Any], primals: Sequence[Any], has_aux: bool = False
) -> tuple[Any, Pullback, Any]:
    """Record ``function`` on a tape; returns value, pullback and auxiliary result."""
    flat, structure = flatten(tuple(primals))
    leaves = [as_primal(x) for x in flat]
    aux = None
    with Tape() as tape:
        inputs = [tape.input(x) for x in leaves]
        answer = function(*structure.build(inputs))
        if has_aux:
            answer, aux = split_aux(answer)
    results, out = flatten(answer)
    tracked = [isinstance(r, Tensor) and r.trace is tape for r in results]
    values = [r.value if t else r for r, t in zip(results, tracked, strict=True)]
    slots = [r.slot if t else None for r, t in zip(results, tracked, strict=True)]
    pullback = Pullback(tape, inputs, structure, values, slots, out)
    return out.build(values), pullback, detached(aux, tape)


class Pullback:
    """``w -> w^T J``; see :func:`vjp`."""

    def __init__(
        self,
        tape: Tape,
        inputs: Sequence[Tensor],
        structure: Structure,
        values: Sequence[Any],
        slots: Sequence[int | None],
        out: Structure,
    ) -> None:
        self.tape = tape
        self._inputs = inputs
        self._structure = structure
        # Shapes suffice; the values themselves would keep the answer alive.
        self._likes = [(np.shape(v), getattr(v, "dtype", None)) for v in values]
        self._slots = slots
        self._out = out
        self._used = False

    def __call__(self, cotangent: Any, *, retain: bool = True) -> tuple[Any, ...]:
        if self._used:
            raise DifferentiationError(
                "the pullback was called again after pullback(w, retain=False) had freed the "
                "record; leave retain out for repeated pulls"
            )
        leaves, structure = flatten(cotangent)
        if structure != self._out:
            raise DifferentiationError(
                f"the cotangent has structure {describe(structure)}, but the function returned "
                f"{describe(self._out)}"
            )
        seeds: dict[int, Any] = {}
        for slot, g, (shape, dtype) in zip(self._slots, leaves, self._likes, strict=True):
            if slot is not None:
                g = as_cotangent(g, shape, dtype)
                seeds[slot] = LINKS.add(seeds[slot], g) if slot in seeds else g
        pull = Pull(self.tape, seeds)
        pull.verify_inputs(x.slot for x in self._inputs)
        if retain:
            found = pull.retain()
        else:
            self._used = True
            found = pull.drain()
        parts = [
            found[x.slot] if x.slot in found else LINKS.zeros_like(x.value) for x in self._inputs
        ]
        return self._structure.build(separate(parts, list(seeds.values())))


def split_aux(answer: Any) -> tuple[Any, Any]:
    """The two parts of what a function with an auxiliary result returned."""
    if not (isinstance(answer, tuple) and len(answer) == 2):
        raise DifferentiationError(
            "with has_aux the function must return a pair: what is differentiated, and the rest"
        )
    return answer


def detached(aux: Any, trace: Any) -> Any:
    """Auxiliary results leave a transform as the values one level below."""
    leaves, structure = flatten(aux)
    return structure.build(
        [x.value if isinstance(x, Tensor) and x.trace is trace else x for x in leaves]
    )


def as_primal(x: Any) -> Any:
    """A number or array as something that can be differentiated with respect to."""
    if isinstance(x, Tensor) and x.level == CONSTANT:
        x = x.value
    array = x if hasattr(x, "dtype") else np.asarray(x)
    if not hasattr(x, "dtype") and array.dtype.kind in "iu":
        array = array.astype(float)
    if array.dtype.kind not in "fc":
        raise DifferentiationError(
            f"cannot differentiate with respect to numbers of dtype {array.dtype}; "
            "convert them to floating point first, for example with .astype(float)"
        )
    return array


def as_cotangent(g: Any, shape: tuple[int, ...], dtype: Any, name: str = "cotangent") -> Any:
    """Check a cotangent or tangent, and give it the dtype of its primal."""
    if not hasattr(g, "dtype"):
        g = np.asarray(g)
    if tuple(g.shape) != tuple(shape):
        raise ShapeError(
            f"the {name} has shape {tuple(g.shape)}, but shape {tuple(shape)} is needed, that of "
            "the value it belongs to"
        )
    if isinstance(g, Tensor) and g.level == CONSTANT:
        g = g.value
    return g if g.dtype == dtype else LINKS.cast(g, dtype)


def ones_like(x: Any) -> Any:
    """A plain array of ones like ``x``, on its device."""
    value = value_of(x)
    return backend_of(value).xp.ones_like(value)


def separate(parts: list[Any], seeds: list[Any]) -> list[Any]:
    """Copy what is read-only or is handed out twice, so that the caller may change what it gets."""
    seen = list(seeds)
    for i, part in enumerate(parts):
        if type(part) is np.ndarray and (
            not part.flags.writeable
            or any(np.may_share_memory(part, x) for x in seen if type(x) is np.ndarray)
        ):
            parts[i] = part.copy()
        seen.append(parts[i])
    return parts
