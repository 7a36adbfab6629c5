"""Primitives of users: a value, and one rule or two."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.conversion import read_only
from hpcad.autodiff.guard import fingerprint
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.reverse import expands
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import Tensor
from hpcad.backend.half import is_bfloat16
from hpcad.errors import DifferentiationError, ShapeError

Rules = Callable[..., Any] | Sequence[Callable[..., Any] | None]


def primitive(
    value: Callable[..., Any] | None = None,
    *,
    vjp: Rules | None = None,
    jvp: str | Rules | None = None,
    outputs: bool = False,
    constant: bool = False,
    name: str | None = None,
) -> Any:
    """Make one operation of a function, with derivative rules of your own; a decorator.

    Parameters
    ----------
    value : callable
        ``value(*arrays, **params)`` computes on NumPy or CuPy arrays whatever it likes. Positional
        arguments can be differentiated; keyword arguments are parameters.
    vjp : sequence of rules, or callable, optional
        One ``rule(g, ans, *args, **params)`` for each argument, returning its cotangent (None in
        the place of a rule for an argument that is never differentiated); or one callable that
        returns a tuple with the cotangents of all arguments, where None is zero.
    jvp : str, sequence of rules, or callable, optional
        One ``rule(t, ans, *args, **params)`` for each argument, returning its contribution to the
        tangent of the answer; or one callable ``rule(tangents, ans, *args, **params)`` with a
        tuple of tangents, None for constants; or ``"linear"`` if the value is linear in each
        argument by itself, ``"jointly linear"`` if it is linear in all together, ``"same"`` if it
        acts elementwise, so that the VJP rules serve.
    outputs : bool
        The value is a tuple of arrays; ``ans``, cotangents (None for unused ones) and tangents
        are tuples, too.
    constant : bool
        The derivative is zero wherever it exists.
    name : str, optional
        For messages; the name of the function when left out.

    Returns
    -------
    callable
        The function, differentiable; ``.primitive`` is the :class:`~hpcad.autodiff.Primitive`.

    Raises
    ------
    DifferentiationError
        There is no rule, or none can be had: a function that is only said to be linear cannot be
        transposed without looking inside.

    Notes
    -----
    If one of ``vjp`` and ``jvp`` is missing it is derived from the other by transposing it, which
    needs rules made of functions of ``hpcad.numpy`` or of primitives, and costs a recording of the
    rule at each use. Rules made so can be differentiated again, to any depth. Rules need not undo
    broadcasting or promotion. An argument of a rule whose name starts with an underscore is not
    kept in memory for it; the rule gets None. The value must leave its arguments as they are, and
    cotangents and tangents come read-only.
    """
    if value is None:
        return functools.partial(
            primitive, vjp=vjp, jvp=jvp, outputs=outputs, constant=constant, name=name
        )
    title = str(name or getattr(value, "__name__", "custom"))
    if not constant and vjp is None and not _is_rules(jvp):
        raise DifferentiationError(
            f"primitive {title} needs a rule: vjp=, or jvp= with rules; that it is "
            f"{jvp or 'not constant'} does not say what its transpose is"
        )
    if jvp == "same" and callable(vjp):
        raise DifferentiationError(
            f'primitive {title}: jvp="same" needs vjp= with one rule for each argument'
        )
    made = Primitive(
        title,
        _checked_value(value, title, outputs, watch=True),
        None,
        None if callable(vjp) else _each(vjp, title, "vjp"),
        joint=_joint_vjp(vjp, title) if callable(vjp) else None,
        jvp=None if callable(jvp) else _each(jvp, title, "jvp"),
        joint_jvp=_joint_jvp(jvp, title) if callable(jvp) else None,
        outputs=outputs,
        constant=constant,
        register=False,
    )

    # On plain arrays nothing is recorded that a careless value could spoil.
    plain_value = _checked_value(value, title, outputs, watch=False)
    plain = Primitive(title, plain_value, None, outputs=outputs, constant=True, register=False)

    @functools.wraps(value)
    def call(*args: Any, **params: Any) -> Any:
        given = [_argument(x, i, title) for i, x in enumerate(args)]
        followed = any(isinstance(x, Tensor) for x in given)
        return (made if followed else plain)(*given, **params)

    call.primitive = made  # type: ignore[attr-defined]
    return call


def _is_rules(jvp: str | Rules | None) -> bool:
    """Whether there are rules that can be transposed, and not words."""
    return callable(jvp) or (
        jvp is not None and not isinstance(jvp, str) and not any(isinstance(r, str) for r in jvp)
    )


def _argument(x: Any, i: int, title: str) -> Any:
    """An array, a number, or None; a list of numbers is taken for an array."""
    if x is None or isinstance(x, Tensor | int | float | complex) or hasattr(x, "dtype"):
        return x
    if isinstance(x, list | tuple):
        array = np.asarray(x) if not any(isinstance(part, Tensor) for part in x) else None
        if array is not None and (array.dtype.kind in "biufc" or is_bfloat16(array.dtype)):
            return array
    raise DifferentiationError(
        f"{title}: argument {i} is a {type(x).__name__}; positional arguments of a primitive are "
        "arrays and numbers, everything else goes by keyword"
    )


def _checked_value(
    value: Callable[..., Any], title: str, outputs: bool, *, watch: bool
) -> Callable[..., Any]:
    """``value`` with its answer checked, and with ``watch`` what it does to its arguments."""

    @functools.wraps(value)
    def checked(*args: Any, **params: Any) -> Any:
        given = [(i, x, fingerprint(x)) for i, x in enumerate(args) if watch and _watched(x)]
        answer = value(*args, **params)
        for i, x, before in given:
            if fingerprint(x) != before:
                raise DifferentiationError(
                    f"the value of {title} changed its argument {i} in place, which others may "
                    "use; let it work on a copy"
                )
        if outputs:
            if not isinstance(answer, tuple | list):
                raise DifferentiationError(
                    f"{title} is said to have outputs=True, so its value must be a tuple of "
                    f"arrays, not a {type(answer).__name__}"
                )
            return tuple([_array(part, title) for part in answer])
        return _array(answer, title)

    return checked


def _watched(x: Any) -> bool:
    return type(x) is np.ndarray and x.flags.writeable and STATE.guarding


def _array(x: Any, title: str) -> Any:
    if isinstance(x, Tensor):
        raise DifferentiationError(
            f"the value of {title} is a tensor: the function uses a tensor or parameter from its "
            "surroundings, whose derivative would be lost; pass it as an argument"
        )
    if isinstance(x, bool | int | float | complex):
        return np.asarray(x)
    if not (hasattr(x, "dtype") and hasattr(x, "shape")):
        hint = "; say outputs=True for several arrays" if isinstance(x, tuple | list) else ""
        raise DifferentiationError(
            f"the value of {title} must be an array, not a {type(x).__name__}{hint}"
        )
    return x


# -- rules --------------------------------------------------------------------------------


def _each(rules: Any, title: str, kind: str) -> Any:
    if rules is None or isinstance(rules, str):
        return rules
    return [_checked_rule(rule, title, kind, i) for i, rule in enumerate(rules)]


def _checked_rule(rule: Any, title: str, kind: str, i: int) -> Any:
    """The rule of argument ``i``, with its result checked."""
    if rule is None or isinstance(rule, str):
        return rule

    @functools.wraps(rule)  # keeps the signature, which says what the rule needs
    def checked(g: Any, ans: Any, *args: Any, **params: Any) -> Any:
        part = rule(_shared(g), ans, *args, **params)
        where = f"the {kind} rule of {title} for argument {i}"
        if part is None:
            raise DifferentiationError(
                f"{where} returned None; return zeros, or put None in the place of the rule if "
                "that argument is never differentiated"
            )
        if kind == "vjp":
            return _number(part, where)  # its shape is checked where broadcasting is undone
        if isinstance(part, tuple):
            return tuple([_broadcasts(p, a, where) for p, a in _pairs(part, ans, where)])
        return _broadcasts(part, ans, where)

    return checked


def _shared(g: Any) -> Any:
    """A cotangent or tangent, or a tuple of them: others use it, so a rule must not write in it."""
    return tuple(map(read_only, g)) if isinstance(g, tuple) else read_only(g)


def _joint_vjp(rule: Callable[..., Any], title: str) -> Callable[..., Any]:
    @functools.wraps(rule)
    def joint(needs: Any, g: Any, ans: Any, _saved: Any, *args: Any, **params: Any) -> Any:
        parts = rule(_shared(g), ans, *args, **params)
        if not isinstance(parts, tuple | list):
            parts = (parts,)
        if len(parts) != len(args):
            raise DifferentiationError(
                f"the vjp rule of {title} returned {len(parts)} cotangents for {len(args)} "
                "arguments; return a tuple with one for each, None for zero"
            )
        return [
            _number(part, f"the vjp rule of {title} for argument {i}")
            if need and part is not None
            else None
            for i, (need, part) in enumerate(zip(needs, parts, strict=True))
        ]

    joint.__signature__ = _signature(rule, before="needs", after="saved")  # type: ignore[attr-defined]
    return joint


def _joint_jvp(rule: Callable[..., Any], title: str) -> Callable[..., Any]:
    where = f"the jvp rule of {title}"

    @functools.wraps(rule)
    def joint(tangents: Any, ans: Any, _saved: Any, *args: Any, **params: Any) -> Any:
        total = rule(_shared(tuple(tangents)), ans, *args, **params)
        if total is None:
            raise DifferentiationError(f"{where} returned None; return the tangent of the answer")
        if isinstance(total, tuple | list):
            return tuple([_broadcasts(p, a, where) for p, a in _pairs(total, ans, where)])
        return _broadcasts(total, ans, where)

    joint.__signature__ = _signature(rule, after="saved")  # type: ignore[attr-defined]
    return joint


def _signature(rule: Callable[..., Any], after: str, before: str | None = None) -> Any:
    """The rule's signature with the further arguments that the engine passes to joint rules."""
    kind = inspect.Parameter.POSITIONAL_ONLY
    parameters = [
        p.replace(kind=kind if p.kind is p.POSITIONAL_OR_KEYWORD else p.kind)
        for p in inspect.signature(rule).parameters.values()
    ]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters[:2]):  # it may need everything
        parameters = [inspect.Parameter(x, kind) for x in ("g", "ans")]
        parameters.append(inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL))
    parameters = [p.replace(default=p.empty) for p in parameters]
    parameters.insert(2, inspect.Parameter(after, kind))
    if before is not None:
        parameters.insert(0, inspect.Parameter(before, kind))
    return inspect.Signature(parameters)


def _broadcasts(part: Any, like: Any, where: str) -> Any:
    """Check that a tangent has the shape of its answer, or broadcasts to it."""
    if part is None:
        return None
    part = _number(part, where)
    shape = None if like is None else np.shape(like)
    if shape is not None and part.shape != shape and not expands(part.shape, shape):
        raise ShapeError(
            f"{where} returned a tangent of shape {tuple(part.shape)}, but the answer has shape "
            f"{tuple(shape)}"
        )
    return part


def _number(part: Any, where: str) -> Any:
    if isinstance(part, int | float | complex):
        return np.asarray(part)
    if not hasattr(part, "dtype"):
        raise DifferentiationError(f"{where} returned a {type(part).__name__}, not an array")
    return part


def _pairs(parts: Sequence[Any], answers: Any, where: str) -> list[tuple[Any, Any]]:
    answers = [None] * len(parts) if answers is None else answers
    if len(parts) != len(answers):
        raise DifferentiationError(
            f"{where} returned {len(parts)} tangents for {len(answers)} answers"
        )
    return list(zip(parts, answers, strict=True))
