"""A program and its derivatives as the tables of the textbooks.

A. G. Baydin, B. A. Pearlmutter, A. A. Radul and J. M. Siskind, "Automatic differentiation in
machine learning: a survey", JMLR 18(153), 2018, tables 2 and 3: the evaluation trace, beside it
the tangents in forward mode, beside it the adjoints in reverse mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from hpcad.autodiff.forward import push
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.options import options_text
from hpcad.autodiff.pytree import flatten
from hpcad.autodiff.reverse import fit
from hpcad.autodiff.seeing.expansion import Expansion, Row
from hpcad.autodiff.seeing.notation import (
    BAR,
    DOT,
    back_form,
    forth_form,
    marked,
    shown,
    value_form,
)
from hpcad.autodiff.seeing.recording import Recorded, record
from hpcad.autodiff.tape import NO_SLOT, Record, as_tuple
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.autodiff.transforms.primals import as_cotangent
from hpcad.autodiff.transposed import derived_vjp
from hpcad.errors import DifferentiationError


def expand(
    function: Callable[..., Any], tangents: Sequence[Any] | None = None, digits: int = 3
) -> Callable[..., Expansion]:
    """Return a function that runs ``function`` and returns its Wengert list and its derivatives.

    Parameters
    ----------
    function : callable
        Of pytrees of numbers and arrays.
    tangents : sequence of pytrees, optional
        The direction of the tangent trace, one per argument; when left out, ones for the first
        number or array and zeros for the others.
    digits : int
        After the decimal point.

    Returns
    -------
    callable
        ``print(expand(f)(2.0, 5.0))`` prints the table. Every result has the adjoint 1 (ones).
    """

    @wraps(function)
    def expanded(*args: Any, **kwargs: Any) -> Expansion:
        run = record(function, args, kwargs)
        if not run.inputs and not run.tape.parameters:
            raise DifferentiationError("expand needs an argument that is a number or an array")
        return _Table(run, digits).expansion(tangents)

    return expanded


class _Table:
    def __init__(self, run: Recorded, digits: int) -> None:
        self.run = run
        self.digits = digits
        named = [(p.name or f"w{i + 1}", t) for i, (p, t) in enumerate(run.tape.parameters)]
        self.inputs = [*run.inputs, *named]
        self.results = [
            (name, value)
            for name, value in run.outputs
            if isinstance(value, Tensor) and value.follower is run.tape
        ]
        # As in the survey: the inputs are v_(1-n) to v_0, and the operations begin at v_1.
        first = 1 - len(self.inputs)
        self.names = {t.slot: f"v{first + i}" for i, (_, t) in enumerate(self.inputs)}
        slots = [slot for row in run.tape.records for slot in as_tuple(row[1])]
        self.names.update((slot, f"v{i + 1}") for i, slot in enumerate(slots))
        self.tangents: dict[int, Any] = {}
        self.adjoints: dict[int, Any] = {}

    def expansion(self, directions: Sequence[Any] | None) -> Expansion:
        self._seed(directions)
        forward = [self._forward(row, note.answers) for row, note in self._records()]
        tangent = [self._tangent(row, note.answers) for row, note in self._records()]
        tops = [self._top(name, value) for name, value in self.results]
        adjoint = [self._adjoint(row, note.answers) for row, note in reversed(self._records())]
        operations = map(Row, forward, tangent, reversed(adjoint))
        return Expansion([self._input(*x) for x in self.inputs], list(operations), tops)

    def _records(self) -> list[tuple[Record, Any]]:
        return list(zip(self.run.tape.records, self.run.tape.notes, strict=True))

    def _shown(self, x: Any) -> str:
        return shown(x, self.digits)

    def _seed(self, directions: Sequence[Any] | None) -> None:
        given = None if directions is None else flatten(tuple(directions))[0]
        if given is not None and len(given) != len(self.run.inputs):
            raise DifferentiationError(
                f"expand was given {len(given)} tangents for {len(self.run.inputs)} arguments"
            )
        for i, (_, x) in enumerate(self.inputs):
            seed = LINKS.zeros_like(x.value)
            if given is not None and i < len(given):
                seed = as_cotangent(given[i], x.shape, x.dtype, "tangent")
            elif given is None and i == 0:
                seed = seed + 1
            self.tangents[x.slot] = seed

    # -- rows -----------------------------------------------------------------------------

    def _input(self, name: str, x: Tensor) -> Row:
        v = self.names[x.slot]
        back = self.adjoints.get(x.slot)
        back = LINKS.zeros_like(x.value) if back is None else back
        return Row(
            f"{v} = {name} = {self._shown(x.value)}",
            f"{marked(v, DOT)} = {marked(name, DOT)} = {self._shown(self.tangents[x.slot])}",
            (f"{marked(name, BAR)} = {marked(v, BAR)} = {self._shown(back)}",),
        )

    def _top(self, name: str, value: Tensor) -> Row:
        """A result: the last of the forward traces, and the seed of the adjoint trace."""
        v = self.names[value.slot]
        seed = LINKS.zeros_like(value.value) + 1
        before = self.adjoints.get(value.slot)
        self.adjoints[value.slot] = seed if before is None else LINKS.add(before, seed)
        slope = self.tangents[value.slot]
        return Row(
            f"{name} = {v} = {self._shown(value.value)}",
            f"{marked(name, DOT)} = {marked(v, DOT)} = {self._shown(slope)}",
            (f"{marked(v, BAR)} = {marked(name, BAR)} = {self._shown(seed)}",),
        )

    def _forward(self, row: Record, answers: Sequence[Any]) -> str:
        primitive, params = row[0], row[6]
        z = self._answer(row)
        form = value_form(primitive.name, z, self._symbols(row), options_text(params))
        return f"{z} = {form} = {', '.join(map(self._shown, answers))}"

    def _tangent(self, row: Record, answers: Sequence[Any]) -> str:
        primitive, out, ins, _, args, saved, params = row
        inner = [self.tangents.get(slot) for slot in ins]
        answer = tuple(answers) if primitive.outputs else answers[0]
        total = as_tuple(push(primitive, inner, answer, saved, args, params))
        self.tangents.update(zip(as_tuple(out), total, strict=True))
        marks = [None if s == NO_SLOT else marked(self.names[s], DOT) for s in ins]
        form = forth_form(primitive.name, marks, self._answer(row), self._symbols(row))
        names = ", ".join(marked(self.names[slot], DOT) for slot in as_tuple(out))
        return f"{names} = {form} = {', '.join(map(self._shown, total))}"

    def _adjoint(self, row: Record, answers: Sequence[Any]) -> tuple[str, ...]:
        primitive, out, ins = row[:3]
        gs = tuple(self.adjoints.get(slot) for slot in as_tuple(out))
        if all(g is None for g in gs):
            return ()
        lines = []
        g_name = ", ".join(marked(self.names[slot], BAR) for slot in as_tuple(out))
        for i, part in enumerate(_pulled(row, gs, answers)):
            if part is None:
                continue
            slot = ins[i]
            part = fit(part, *self.run.tape.avals[slot])
            before = self.adjoints.get(slot)
            self.adjoints[slot] = part if before is None else LINKS.add(before, part)
            form = back_form(primitive.name, i, g_name, self._answer(row), self._symbols(row))
            sign = "=" if before is None else "+="
            value = self._shown(self.adjoints[slot])
            lines.append(f"{marked(self.names[slot], BAR)} {sign} {form} = {value}")
        return tuple(reversed(lines))  # the column is read upwards

    def _answer(self, row: Record) -> str:
        return ", ".join(self.names[slot] for slot in as_tuple(row[1]))

    def _symbols(self, row: Record) -> list[str]:
        """The arguments by name; constants by value."""
        return [
            self.names[slot] if slot != NO_SLOT else self._constant(value_of(arg))
            for slot, arg in zip(row[2], row[4], strict=True)
        ]

    def _constant(self, x: Any) -> str:
        if hasattr(x, "shape") and x.shape:
            return f"{x.dtype}{list(x.shape)}"
        text = self._shown(x)
        return text if text[:1].isalnum() or text[:1] == "(" else f"({text})"


def _pulled(row: Record, gs: tuple[Any, ...], answers: Sequence[Any]) -> Sequence[Any]:
    """Cotangent of each argument (None for constants) by the rules of the primitive."""
    primitive, _, ins, _, args, saved, params = row
    g: Any = gs if primitive.outputs else gs[0]
    answer: Any = tuple(answers) if primitive.outputs else answers[0]
    needs = tuple(slot != NO_SLOT for slot in ins)
    if primitive.joint is not None or primitive.vjp is None:
        joint = primitive.joint or derived_vjp(primitive)
        found = joint(needs, g, answer, saved, *args, **params)
        return [part if need else None for need, part in zip(needs, found, strict=True)]
    return [
        rule(g, answer, *args, **params) if need and rule is not None else None
        for need, rule in zip(needs, primitive.vjp, strict=True)
    ]
