"""Primitive: one differentiable operation, with its rules.

A `Primitive` holds its value, its VJP rules and its shape rule. Calling it on plain arrays just
computes; calling it on tensors hands it to the trace of the highest level among them. Rules are
written with primitives themselves, so the same rule serves plain arrays (nothing recorded),
tensors (nested differentiation) and, later, captured programs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import CONSTANT, Tensor, value_of
from hpcad.errors import ShapeError

PRIMITIVES: dict[str, Primitive] = {}

Rule = Callable[..., Any]


class Primitive:
    """One operation of the Wengert list.

    Parameters
    ----------
    name : str
        Unique; the key in the table ``PRIMITIVES``.
    value : callable
        ``value(*arrays, **params)``. With ``saves``, returns ``(answer, saved)``.
    shape : callable
        ``shape(*shapes, **params)``: shape of the answer (a tuple of shapes if ``outputs``).
    vjp : sequence of rules, optional
        One rule per argument, ``rule(g, ans, *args, **params)``, returns the cotangent of that
        argument. ``None`` for an argument that is never differentiated (indices, masks). A rule
        need not undo broadcasting or promotion: the tape does, from the recorded shapes.
    joint : rule, optional
        Instead of ``vjp``, one rule for all arguments, where they share work:
        ``joint(needs, g, ans, saved, *args, **params)`` returns one cotangent or None each.
        ``saved`` is None inside nested transforms: the rule recomputes it with primitives.
    into : mapping of argument number to rule, optional
        ``rule(out, beta, g, ans, *args, **params)`` writes ``beta * out + cotangent`` straight
        into the gradient of a parameter. Must equal the rule in ``vjp``.
    outputs : bool
        The answer is a tuple; ``g`` is then a tuple with None for unused outputs.
    saves : bool
        ``value`` returns residuals for the joint rule.

    Notes
    -----
    What a record keeps alive is read off the rules' signatures: an argument (or ``ans``) whose
    name starts with an underscore in a rule is not needed by it. An argument that no applicable
    rule needs is not kept. Keeping too little cannot go unseen: the rule would get None.
    """

    __slots__ = ("_keep", "_keep_cache", "into", "joint", "name", "outputs", "saves", "shape",
                 "value", "vjp")  # fmt: skip

    def __init__(
        self,
        name: str,
        value: Callable[..., Any],
        shape: Callable[..., Any],
        vjp: Sequence[Rule | None] | None = None,
        *,
        joint: Rule | None = None,
        into: Mapping[int, Rule] | None = None,
        outputs: bool = False,
        saves: bool = False,
    ) -> None:
        if name in PRIMITIVES:
            raise ValueError(f"primitive {name!r} is defined twice")
        self.name = name
        self.value = value
        self.shape = shape
        self.vjp = tuple(vjp) if vjp is not None else None
        self.joint = joint
        self.into = dict(into or {})
        self.outputs = outputs
        self.saves = saves
        self._keep = self._read_signatures()
        self._keep_cache: dict[tuple[bool, ...], tuple[bool, tuple[bool, ...]]] = {}
        PRIMITIVES[name] = self

    def __repr__(self) -> str:
        return f"Primitive({self.name!r})"

    @property
    def differentiable(self) -> bool:
        """Whether it has a VJP; a comparison has none and returns plain arrays."""
        return self.vjp is not None or self.joint is not None

    def __call__(self, *args: Any, **params: Any) -> Any:
        level, top = CONSTANT - 1, None
        for arg in args:
            if isinstance(arg, Tensor) and arg.level > level:
                level, top = arg.level, arg
        if top is None:
            return self.evaluate(args, params)
        if not self.differentiable:
            return self.evaluate([value_of(arg) for arg in args], params)
        if level == CONSTANT or (level == 0 and not STATE.recording):
            answer = self.evaluate([value_of(arg) for arg in args], params)
            return tuple(map(Tensor, answer)) if self.outputs else Tensor(answer)
        trace = top.trace
        if level == 0 and (trace is None or trace.spent):
            trace = LINKS.ambient_tape()
        return trace.process(self, args, params)  # type: ignore[union-attr]  # tracked => traced

    def evaluate(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Compute the answer on plain arrays."""
        answer = self.compute(args, params)
        return answer[0] if self.saves else answer

    def compute(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Compute ``value``; shape errors name the primitive and the shapes."""
        try:
            return self.value(*args, **params)
        except (ValueError, IndexError) as error:
            if isinstance(error, ShapeError):
                raise
            shapes = ", ".join(_describe(arg) for arg in args)
            options = "".join(f", {key}={value!r}" for key, value in params.items())
            raise ShapeError(f"{self.name}({shapes}{options}): {error}") from error

    def keeps(self, needs: tuple[bool, ...]) -> tuple[bool, tuple[bool, ...]]:
        """Whether a record must keep the answer, and which arguments, given who needs a VJP."""
        cached = self._keep_cache.get(needs)
        if cached is None:
            cached = self._keep_cache[needs] = self._combine(needs)
        return cached

    def _combine(self, needs: tuple[bool, ...]) -> tuple[bool, tuple[bool, ...]]:
        if self.joint is not None:
            used = [self._keep[0]]
        else:
            used = [self._keep[i] for i, needed in enumerate(needs) if needed]
        answer = any(keep[0] for keep in used)
        return answer, tuple(
            any(keep[1 + min(i, len(keep) - 2)] for keep in used) for i in range(len(needs))
        )

    def _read_signatures(self) -> list[tuple[bool, ...]]:
        if self.joint is not None:
            return [_kept_names(self.joint, skip=2, joint=True)]
        rules = self.vjp or ()
        keeps = []
        for i, rule in enumerate(rules):
            keep = _kept_names(rule, skip=1) if rule is not None else (False, False)
            if i in self.into:
                direct = _kept_names(self.into[i], skip=3)
                keep = tuple(a or b for a, b in zip(keep, direct, strict=True))
            keeps.append(keep)
        return keeps


def _kept_names(rule: Rule, skip: int, joint: bool = False) -> tuple[bool, ...]:
    """(answer, argument 0, argument 1, ...): names without a leading underscore are kept."""
    parameters = list(inspect.signature(rule).parameters.values())[skip:]
    if joint:
        del parameters[1]  # saved
    names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return tuple(not name.startswith("_") for name in names)


def _describe(arg: Any) -> str:
    shape = getattr(arg, "shape", None)
    return repr(arg) if shape is None else f"{arg.dtype}{list(shape)}"
