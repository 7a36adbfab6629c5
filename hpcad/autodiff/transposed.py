"""One rule from the other: a JVP from a VJP and the reverse, by transposing a linear map.

A VJP rule is linear in its cotangent, so ``J t`` is the pullback of ``w -> J^T w`` applied to
``t`` (R. Giering and T. Kaminski, "Recipes for adjoint code construction", ACM TOMS 24, 1998, on
transposing linear code). Custom primitives with one rule get the other this way; those of the
table have both, because a rule of its own is cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hpcad.autodiff.links import LINKS

if TYPE_CHECKING:
    from hpcad.autodiff.primitive import Primitive


def transposed(linear: Callable[..., Sequence[Any]], likes: Sequence[Any]) -> Callable[..., Any]:
    """Transpose of a linear map.

    Parameters
    ----------
    linear : callable
        ``linear(*xs)`` returns a sequence of arrays (None for zero), made with primitives.
    likes : sequence of arrays
        Of the shapes and dtypes of ``xs``.

    Returns
    -------
    callable
        ``f(ys)`` returns one array per x; ``ys`` has one array (or None) per result.
    """
    from hpcad.autodiff.reverse import Pull  # it walks the tapes that this module transposes
    from hpcad.autodiff.tape import Tape

    with Tape() as tape:
        inputs = [tape.input(LINKS.zeros_like(like)) for like in likes]
        results = linear(*inputs)

    def apply(ys: Sequence[Any]) -> list[Any]:
        seeds: dict[int, Any] = {}
        for result, y in zip(results, ys, strict=True):
            if y is not None and getattr(result, "follower", None) is tape:
                seeds[result.slot] = LINKS.add(seeds[result.slot], y) if result.slot in seeds else y
        found = Pull(tape, seeds).retain()
        return [found.get(x.slot) for x in inputs]

    return apply


def derived_vjp(primitive: Primitive) -> Callable[..., list[Any]]:
    """A joint VJP rule from the JVP rules."""
    from hpcad.autodiff.forward import push

    def joint(
        needs: Sequence[bool], g: Any, ans: Any, saved: Any, *args: Any, **params: Any
    ) -> Any:
        wanted = [i for i, need in enumerate(needs) if need]
        gs = g if primitive.outputs else (g,)

        def linear(*ts: Any) -> Any:
            tangents: list[Any] = [None] * len(args)
            for i, t in zip(wanted, ts, strict=True):
                tangents[i] = t
            total = push(primitive, tangents, ans, saved, args, params)
            return total if primitive.outputs else (total,)

        parts: list[Any] = [None] * len(args)
        found = transposed(linear, [args[i] for i in wanted])(gs)
        for i, part in zip(wanted, found, strict=True):
            parts[i] = part
        return parts

    return joint


def derived_jvp(primitive: Primitive) -> Callable[..., Any]:
    """A joint JVP rule from the VJP rules."""
    from hpcad.autodiff.reverse import fit

    def joint(tangents: Sequence[Any], ans: Any, saved: Any, *args: Any, **params: Any) -> Any:
        needs = tuple(t is not None for t in tangents)

        def linear(*gs: Any) -> list[Any]:
            g = tuple(gs) if primitive.outputs else gs[0]
            if primitive.joint is not None:
                return list(primitive.joint(needs, g, ans, saved, *args, **params))
            rules = primitive.vjp or ()
            return [
                rule(g, ans, *args, **params) if need and rule is not None else None
                for need, rule in zip(needs, rules, strict=True)
            ]

        def fitted(*gs: Any) -> list[Any]:
            return [
                None if t is None or part is None else fit(part, t.shape, t.dtype)
                for part, t in zip(linear(*gs), tangents, strict=True)
            ]

        answers = ans if primitive.outputs else (ans,)
        found = transposed(fitted, answers)(tangents)
        return tuple(found) if primitive.outputs else found[0]

    return joint
