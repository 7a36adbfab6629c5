"""Primitive: one operation of the Wengert list, with its rules.

A `Primitive` holds its value, its VJP and JVP rules and its shape rule. Calling it on plain arrays
just computes; calling it on tensors hands it to the trace of the highest level among them. Rules
are written with primitives themselves, so the same rule serves plain arrays (nothing recorded),
tensors (nested differentiation) and, later, captured programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.conversion import CAPTURED
from hpcad.autodiff.guard import user_line
from hpcad.autodiff.keep import Keep, reverse_needs, tangent_needs
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.options import options_text
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import CONSTANT, Tensor, value_of
from hpcad.errors import DifferentiationError, OutOfBoundsError, ShapeError

PRIMITIVES: dict[str, Primitive] = {}

Rule = Callable[..., Any]
TangentRule = Rule | str | None


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
        None where the shape depends on the values.
    vjp : sequence of rules, optional
        One rule per argument, ``rule(g, ans, *args, **params)``, returns the cotangent of that
        argument. ``None`` for an argument that is never differentiated (indices, masks). A rule
        need not undo broadcasting, promotion or the step from real to complex: the tape does,
        from the recorded shapes and dtypes.
    joint : rule, optional
        Instead of ``vjp``, one rule for all arguments, where they share work:
        ``joint(needs, g, ans, saved, *args, **params)`` returns one cotangent or None each.
        ``saved`` is None inside nested transforms: the rule recomputes it with primitives.
    jvp : str or sequence of (str, rule or None), optional
        One per argument: ``rule(t, ans, *args, **params)`` returns its contribution to the
        tangent of the answer; contributions are added and broadcast to the answer. Three words
        stand for common rules: ``"same"``, the VJP rule itself (a diagonal Jacobian: elementwise
        operations); ``"linear"``, the primitive with the tangent in place of that argument (each
        argument of a multilinear primitive); as the whole of ``jvp``, ``"jointly linear"``: the
        primitive applied to all tangents at once. A word alone holds for every argument.
    joint_jvp : rule, optional
        ``joint_jvp(tangents, ans, saved, *args, **params)``; ``tangents`` has None for constants.
    into : mapping of argument number to rule, optional
        ``rule(out, beta, g, ans, *args, **params)`` writes ``beta * out + cotangent`` straight
        into the gradient of a parameter, or (with ``beta`` 1) into a cotangent that nothing else
        refers to. Must equal the rule in ``vjp``.
    outputs : bool
        The answer is a tuple; ``g`` is then a tuple with None for unused outputs, and tangent
        rules return a tuple.
    saves : bool
        ``value`` returns residuals for the joint rules.
    ordered : bool
        It does something to the outside (collectives: the other ranks wait for it), so a program
        must run it once per call and in order, whoever needs the answer.
    constant : bool
        Its derivative is zero wherever it exists (comparisons, rounding, integer answers): the
        answer is not tracked. A primitive that has no rules and is not constant refuses tracked
        tensors when it is called.

    Notes
    -----
    If only one of VJP and JVP is given, the other is derived from it by transposition (slower).

    What a record keeps alive is read off the rules' signatures: an argument (or ``ans``) whose
    name starts with an underscore in a rule is not needed by it. An argument that no applicable
    rule needs is not kept. Keeping too little cannot go unseen: the rule would get None.
    Where a primitive ``saves``, an underscored argument of its joint rules is given if (and only
    if) ``saved`` is None, so that the residuals can be found again from it.
    """

    __slots__ = ("apart", "constant", "into", "joint", "joint_jvp", "jvp", "keeps", "name",
                 "ordered", "outputs", "plain", "saves", "shape", "value", "vjp")  # fmt: skip

    def __init__(
        self,
        name: str,
        value: Callable[..., Any],
        shape: Callable[..., Any] | None,
        vjp: Sequence[Rule | None] | None = None,
        *,
        joint: Rule | None = None,
        jvp: str | Sequence[TangentRule] | None = None,
        joint_jvp: Rule | None = None,
        into: Mapping[int, Rule] | None = None,
        outputs: bool = False,
        saves: bool = False,
        constant: bool = False,
        ordered: bool = False,
        register: bool = True,
    ) -> None:
        if register and name in PRIMITIVES:
            raise ValueError(f"primitive {name!r} is defined twice")
        self.name = name
        self.value = value if register else _apart(value)
        self.shape = shape
        self.vjp = tuple(vjp) if vjp is not None else None
        self.joint = joint
        self.jvp = jvp if jvp is None or isinstance(jvp, str) else tuple(jvp)
        self.joint_jvp = joint_jvp
        self.into = dict(into or {})
        self.outputs = outputs
        self.saves = saves
        self.constant = constant
        self.ordered = ordered
        self.apart = ordered or not register  # its rules, or users, may call collectives
        self.plain = not (outputs or saves)  # its value is one array and nothing else
        # By purpose of the tape, then by which arguments are tracked.
        self.keeps: tuple[dict[int, Keep], ...] = ({}, {}, {})
        if register:
            PRIMITIVES[name] = self

    def __repr__(self) -> str:
        return f"Primitive({self.name!r})"

    @property
    def differentiable(self) -> bool:
        """Whether it has rules; a comparison has none and returns constants."""
        return self.has_vjp or self.has_jvp

    @property
    def has_vjp(self) -> bool:
        return self.vjp is not None or self.joint is not None

    @property
    def has_jvp(self) -> bool:
        return self.jvp is not None or self.joint_jvp is not None

    def __call__(self, *args: Any, **params: Any) -> Any:
        level, top = CONSTANT - 1, None
        for arg in args:
            if isinstance(arg, Tensor) and arg.level > level:
                level, top = arg.level, arg
        if top is None:
            if params and STATE.capture is not None and STATE.capture.concerns((), params):
                return STATE.capture.process(self, args, params)
            if self.saves:
                return self.evaluate(args, params)
            try:  # the body of compute: rules call primitives on plain arrays all the time
                return self.value(*args, **params)
            except (ValueError, IndexError) as error:
                raise self.explained(error, args, params) from error
        if level <= CAPTURED or self.constant or (level == 0 and not STATE.recording):
            values = [value_of(arg) for arg in args]
            capture = STATE.capture
            if capture is not None and capture.concerns(values, params):
                return capture.process(self, args, params)
            answer = self.evaluate(values, params)
            return tuple(map(Tensor, answer)) if self.outputs else Tensor(answer)
        if not self.differentiable:
            raise DifferentiationError(
                f"{self.name} has no derivative rule, so it does not take a tensor that is being "
                "differentiated; call .detach() on it to use its values as constants"
            )
        trace = top.follower
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
            raise self.explained(error, args, params) from error

    def explained(
        self, error: Exception, args: Sequence[Any], params: Mapping[str, Any]
    ) -> Exception:
        """The error with the primitive, the shapes of its arguments and the user's line named."""
        if isinstance(error, ShapeError):
            return error
        given = [*map(_describe, args), *filter(None, [options_text(params)])]
        message = f"{self.name}({', '.join(given)}): {str(error).strip()}"
        if isinstance(error, np.linalg.LinAlgError):  # the shapes were right
            return np.linalg.LinAlgError(f"{message} (at {user_line()})")
        kind = OutOfBoundsError if isinstance(error, IndexError) else ShapeError
        return kind(message)

    def keep(self, purpose: int, mask: int) -> Keep:
        """What a record must keep; see :class:`~hpcad.autodiff.keep.Keep`."""
        found = self.keeps[purpose].get(mask)
        if found is None:
            needs = (reverse_needs, tangent_needs)[purpose] if purpose < 2 else None
            found = self.keeps[purpose][mask] = Keep.of(self, needs, mask)
        return found


def _apart(value: Any) -> Any:
    """The value of a primitive that users made: no transform around follows what it does inside."""

    def apart(*args: Any, **params: Any) -> Any:
        before, STATE.working = STATE.working, (0, len(STATE.traces))
        try:
            return value(*args, **params)
        finally:
            STATE.working = before

    return value if value is None else apart


def _describe(arg: Any) -> str:
    shape = getattr(arg, "shape", None)
    return repr(arg) if shape is None else f"{arg.dtype}{list(shape)}"
