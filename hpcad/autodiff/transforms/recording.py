"""Recording as a context: for those who would rather write statements than functions.

``Tape`` is the Wengert list of :mod:`hpcad.autodiff.tape` with methods to ask it for derivatives.
"""

from __future__ import annotations

from typing import Any

from hpcad.autodiff.keep import REVERSE
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.pytree import Structure, flatten, leaves_like
from hpcad.autodiff.reverse import Pull
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tape import Tape as WengertList
from hpcad.autodiff.tensor import CONSTANT, Tensor, value_of
from hpcad.autodiff.transforms.jacobian import rows
from hpcad.autodiff.transforms.linearization import Linearization, aval, separate
from hpcad.autodiff.transforms.primals import as_cotangent, as_primals
from hpcad.backend import backend_of
from hpcad.errors import DifferentiationError


class Tape(WengertList):
    """Record what is computed from watched arrays, and differentiate it.

    Tapes nest, with one another and with the transforms: what an inner tape is asked for is
    recorded by an outer one. Nothing is recorded while a tape walks itself, so a second
    derivative takes two tapes.

    Examples
    --------
    >>> with hpcad.Tape() as tape:
    ...     x = tape.watch(np.array([1.0, 2.0]))
    ...     y = (x * x).sum()
    >>> tape.gradient(y, x)
    array([2., 4.])
    """

    __slots__ = ("_watched",)

    def __init__(self, level: int | None = None, purpose: int = REVERSE) -> None:
        super().__init__(level, purpose)
        self._watched: set[int] = set()

    def watch(self, tree: Any) -> Any:
        """Return the arrays of a pytree as tensors that this tape follows from here on.

        Raises
        ------
        DifferentiationError
            A leaf is not made of floating-point or complex numbers, or the call stands outside
            of ``with tape:``.
        """
        if not any(trace is self for trace in STATE.traces):
            raise DifferentiationError("watch() must be called inside of the tape's with block")
        leaves, structure = as_primals((tree,), ["watched"])
        inputs = [self.input(x) for x in leaves]
        self._watched.update(x.slot for x in inputs)
        return structure.build(inputs)[0]

    def gradient(self, target: Any, sources: Any, seed: Any = None, *, retain: bool = False) -> Any:
        """Pull a cotangent of ``target`` back to ``sources``.

        Parameters
        ----------
        target : tensor or pytree of tensors
            Computed on this tape; a scalar when ``seed`` is left out.
        sources : pytree of tensors
            As returned by :meth:`watch`.
        seed : pytree like ``target``, optional
            Its cotangent; 1 when left out.
        retain : bool
            Keep the records of ``target`` for another call.

        Returns
        -------
        pytree
            Like ``sources``; zeros for what the target does not depend on.

        Raises
        ------
        DifferentiationError
            The target was used up by an earlier call, or a source was not watched by this tape.
        """
        slots, leaves, out = self._targets(target)
        if seed is None:
            given = [_one(leaf) for leaf in leaves]
        else:
            given = leaves_like(seed, out, "seed", "target")
        inputs, structure = self._sources(sources)
        seeds: dict[int, Any] = {}
        for slot, g, leaf in zip(slots, given, leaves, strict=True):
            if slot is not None:
                g = as_cotangent(g, *aval(leaf))
                seeds[slot] = LINKS.add(seeds[slot], g) if slot in seeds else g
        records, uses = self.cut(seeds, retain)
        pull = Pull(self, seeds)
        pull.verify_inputs(x.slot for x in inputs)
        found = pull.retain(records) if retain else pull.consume(records, uses)
        parts = [found[x.slot] if x.slot in found else LINKS.zeros_like(x.value) for x in inputs]
        return structure.build(separate(parts, list(seeds.values())))

    def jacobian(self, target: Any, sources: Any, *, retain: bool = False) -> Any:
        """Jacobian by reverse mode, one walk per number of the target.

        Returns
        -------
        pytree
            Like ``target``, of trees like ``sources``, of arrays of shape ``target.shape +
            source.shape``.
        """
        slots, leaves, out = self._targets(target)
        inputs, structure = self._sources(sources)
        linear = Linearization(self, inputs, structure, slots, [aval(x) for x in leaves], out)
        blocks = [structure.build(of_leaf) for of_leaf in rows(linear)]
        if not retain:
            records, _ = self.cut([slot for slot in slots if slot is not None])
            for record in records:
                self.forget(record[1])
        return out.build(blocks)

    def _targets(self, target: Any) -> tuple[list[int | None], list[Any], Structure]:
        leaves, structure = flatten(target)
        slots: list[int | None] = []
        for leaf in leaves:
            ours = isinstance(leaf, Tensor) and leaf.follower is self
            if not ours and isinstance(leaf, Tensor) and leaf.level not in (CONSTANT, 0):
                raise DifferentiationError("the target was computed on another tape")
            if ours and leaf.slot not in self.avals:
                raise DifferentiationError(
                    "the tape has freed the records of the target in an earlier call; pass "
                    "retain=True to that one to keep them"
                )
            slots.append(leaf.slot if ours else None)
        return slots, leaves, structure

    def _sources(self, sources: Any) -> tuple[list[Tensor], Structure]:
        inputs, structure = flatten(sources)
        for x in inputs:
            if not (isinstance(x, Tensor) and x.follower is self and x.slot in self._watched):
                raise DifferentiationError(
                    "a source of gradient() is not a tensor that this tape was told to watch; "
                    "use what tape.watch(x) returns, both in the computation and as the source"
                )
        return inputs, structure


def _one(target: Any) -> Any:
    value = value_of(target)
    if aval(value)[0] != ():
        raise DifferentiationError(
            f"gradient() needs a scalar target, but this one has shape {aval(value)[0]}; reduce it "
            "with .sum() or .mean(), pass its cotangent as the seed, or use jacobian()"
        )
    return backend_of(value).xp.ones_like(value)
