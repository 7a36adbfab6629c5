"""A function recorded at a point: its derivative there as a linear map, both ways."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.autodiff.conversion import CAPTURED
from hpcad.autodiff.forward import Push
from hpcad.autodiff.guard import Guard
from hpcad.autodiff.keep import REVERSE
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.pytree import Structure, flatten, paths
from hpcad.autodiff.reverse import Pull
from hpcad.autodiff.tape import FREED, Tape
from hpcad.autodiff.tensor import CONSTANT, Tensor, twin, value_of
from hpcad.autodiff.transforms.primals import as_primals
from hpcad.backend import backend_of
from hpcad.errors import DifferentiationError

Aval = tuple[tuple[int, ...], Any]


@dataclass(frozen=True)
class Linearization:
    """The Jacobian of a recorded function, which is never formed.

    Attributes
    ----------
    tape : Tape
    inputs : list of Tensor
        The leaves of the primals, as the tape follows them.
    structure : Structure
        Of the tuple of primals.
    slots : list of (int or None)
        Where the leaves of the answer are on the tape; None for constants.
    avals : list of (shape, dtype)
        Of the leaves of the answer. The answer itself is not kept alive.
    out : Structure
        Of the answer.
    """

    tape: Tape
    inputs: list[Tensor]
    structure: Structure
    slots: list[int | None]
    avals: list[Aval]
    out: Structure

    def pull(
        self, cotangents: Sequence[Any], *, retain: bool = True, verified: set[Guard] | None = None
    ) -> list[Any]:
        """``w -> w^T J``, from leaves of the answer (None for zero) to those of the primals.

        ``verified`` has the guards that need not be looked at again, and is added to.
        """
        seeds: dict[int, Any] = {}
        for slot, g in zip(self.slots, cotangents, strict=True):
            if slot is not None and g is not None:
                seeds[slot] = LINKS.add(seeds[slot], g) if slot in seeds else g
        pull = Pull(self.tape, seeds, verified)
        pull.verify_inputs(x.slot for x in self.inputs)
        found = pull.retain() if retain else pull.drain()
        if not retain:  # a tensor that left the function is refused from here on
            self.tape.avals.clear()
        parts = [
            found[x.slot] if x.slot in found else LINKS.zeros_like(x.value) for x in self.inputs
        ]
        return separate(parts, [*seeds.values(), *(x.value for x in self.inputs)])

    def push(self, tangents: Sequence[Any], verified: set[Guard] | None = None) -> list[Any]:
        """``v -> J v``, from leaves of the primals (None for zero) to those of the answer."""
        verified = set() if verified is None else verified
        for guard in itertools.chain.from_iterable(self.tape.guards.values()):
            if guard not in verified:
                guard.verify()
                verified.add(guard)
        seeds = {x.slot: t for x, t in zip(self.inputs, tangents, strict=True) if t is not None}
        found = Push(self.tape, seeds).run()
        parts = [
            self.zeros(*aval) if slot is None or slot not in found else found[slot]
            for slot, aval in zip(self.slots, self.avals, strict=True)
        ]
        return separate(parts, list(seeds.values()))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A plain array of zeros, on the device of the primals."""
        like = value_of(self.inputs[0]) if self.inputs else None
        return backend_of(like).xp.zeros(shape, dtype)


def record(
    function: Callable[..., Any],
    primals: Sequence[Any],
    has_aux: bool = False,
    *,
    positions: Sequence[int] | None = None,
    purpose: int = REVERSE,
    lasting: bool = False,
) -> tuple[Any, Linearization, Any]:
    """Run a function on a tape of its own.

    Parameters
    ----------
    function : callable
    primals : sequence of pytrees
    has_aux : bool
    positions : sequence of int, optional
        Of the primals among the user's arguments, for messages.
    purpose : int
        Of the tape.
    lasting : bool
        The derivative may be taken after the caller has got the results and changed them in
        place: they are copies of what the tape holds.

    Returns
    -------
    value : pytree
    linearization : Linearization
    aux
        None without ``has_aux``.
    """
    leaves, structure = as_primals(primals, positions)
    aux = None
    with Tape(purpose=purpose) as tape:
        inputs = [tape.input(x) for x in leaves]
        # Twins, because the function may assign to what it gets.
        answer = function(*structure.build([twin(x) for x in inputs]))
        if has_aux:
            answer, aux = split_aux(answer)
    results, out = checked_results(answer)
    tracked = [isinstance(r, Tensor) and r.follower is tape for r in results]
    values = [_leaving(r.value, lasting) if t else r for r, t in zip(results, tracked, strict=True)]
    slots = [r.slot if t else None for r, t in zip(results, tracked, strict=True)]
    if any(slot is not None and slot not in tape.avals for slot in slots):
        raise DifferentiationError(FREED)
    linearization = Linearization(
        tape, inputs, structure, slots, [aval(value) for value in values], out
    )
    return out.build(values), linearization, detached(aux, tape, lasting)


def checked_results(answer: Any) -> tuple[list[Any], Structure]:
    """The leaves of what a function returned, which must be arrays or numbers."""
    results, structure = flatten(answer)
    for i, x in enumerate(results):
        if not hasattr(x, "dtype") and not isinstance(x, int | float | complex):
            raise DifferentiationError(
                f"the function returned a {type(x).__name__} ({paths(structure, 'value')[i]}); "
                "what is differentiated must be made of arrays and numbers: return other results "
                "beside it, with has_aux=True"
            )
    return results, structure


def aval(value: Any) -> Aval:
    """Shape and dtype of a value, which may be a Python number."""
    array = value if hasattr(value, "dtype") else np.asarray(value)
    return tuple(array.shape), array.dtype


def split_aux(answer: Any) -> tuple[Any, Any]:
    """The two parts of what a function with an auxiliary result returned."""
    if not (isinstance(answer, tuple) and len(answer) == 2):
        raise DifferentiationError(
            "with has_aux the function must return a pair: what is differentiated, and the rest"
        )
    return answer


def detached(aux: Any, trace: Any, lasting: bool = False) -> Any:
    """Auxiliary results leave a transform as the values one level below."""
    leaves, structure = flatten(aux)
    ours = [isinstance(x, Tensor) and x.follower is trace for x in leaves]
    if not any(ours):  # it may hold containers that cannot be built anew
        return aux
    return structure.build(
        [_leaving(x.value, lasting) if o else x for x, o in zip(leaves, ours, strict=True)]
    )


def _leaving(value: Any, lasting: bool) -> Any:
    """What stood one level below a result; with ``lasting``, not the array that the tape holds."""
    value = uncovered(value)
    return value.copy() if lasting and type(value) is np.ndarray else twin(value)


def uncovered(x: Any) -> Any:
    """The array in a constant tensor, to which parameters lead under ``no_grad``."""
    if isinstance(x, Tensor) and x.level <= CAPTURED:
        return x.value if x.level == CONSTANT else twin(x)
    return x


def separate(parts: list[Any], seeds: list[Any]) -> list[Any]:
    """Plain arrays that the caller may change: copies of what is read-only or handed out twice."""
    seen = list(seeds)
    for i, part in enumerate(map(uncovered, parts)):
        parts[i] = part
        if type(part) is np.ndarray and (
            not part.flags.writeable
            or any(np.may_share_memory(part, x) for x in seen if type(x) is np.ndarray)
        ):
            parts[i] = part.copy()
        elif isinstance(part, Tensor) and any(part is x for x in seen):
            parts[i] = twin(part)
        seen.append(parts[i])
    return parts
