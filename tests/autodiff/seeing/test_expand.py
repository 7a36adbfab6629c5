"""expand(f)(x) is the table of the textbooks, with the right numbers."""

# ruff: noqa: RUF001  the signs of mathematics are meant

from __future__ import annotations

import math
import re
from unicodedata import normalize

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import PRIMITIVES
from hpcad.autodiff.seeing.notation import BAR, DOT, FORMS, shown, width
from hpcad.errors import DifferentiationError


def textbook(x1, x2):
    return hnp.log(x1) + x1 * x2 - hnp.sin(x2)


def test_the_example_of_the_survey():
    """A. G. Baydin et al., "Automatic differentiation in machine learning", tables 2 and 3."""
    table = hpcad.expand(textbook)(2, 5)
    assert [row.forward for row in (*table.inputs, *table.operations, *table.results)] == [
        "v-1 = x1 = 2",
        "v0 = x2 = 5",
        "v1 = ln v-1 = 0.693",
        "v2 = v-1 × v0 = 10",
        "v3 = v1 + v2 = 10.693",
        "v4 = sin v0 = −0.959",
        "v5 = v3 − v4 = 11.652",
        "y = v5 = 11.652",
    ]
    assert [row.tangent for row in (*table.operations, *table.results)] == [
        "v̇1 = v̇-1 / v-1 = 0.5",
        "v̇2 = v̇-1 · v0 + v̇0 · v-1 = 5",
        "v̇3 = v̇1 + v̇2 = 5.5",
        "v̇4 = v̇0 · cos v0 = 0",
        "v̇5 = v̇3 − v̇4 = 5.5",
        "ẏ = v̇5 = 5.5",
    ]
    upwards = [line for row in reversed(table.operations) for line in reversed(row.adjoint)]
    assert upwards == [
        "v̄3 = v̄5 = 1",
        "v̄4 = −v̄5 = −1",
        "v̄0 = v̄4 · cos v0 = −0.284",
        "v̄1 = v̄3 = 1",
        "v̄2 = v̄3 = 1",
        "v̄-1 = v̄2 · v0 = 5",
        "v̄0 += v̄2 · v-1 = 1.716",
        "v̄-1 += v̄1 / v-1 = 5.5",
    ]
    assert [row.adjoint for row in table.inputs] == [("x̄1 = v̄-1 = 5.5",), ("x̄2 = v̄0 = 1.716",)]


def test_the_direction_of_the_tangents_can_be_chosen():
    table = hpcad.expand(textbook, tangents=(0.0, 1.0))(2.0, 5.0)
    assert table.results[0].tangent == "ẏ = v̇5 = 1.716"
    with pytest.raises(DifferentiationError, match="1 tangents for 2 arguments"):
        hpcad.expand(textbook, tangents=(1.0,))(2.0, 5.0)


def test_columns_are_straight_though_dots_and_bars_take_no_room():
    lines = str(hpcad.expand(textbook)(2.0, 5.0)).splitlines()
    where = {tuple(i for i, c in enumerate(visible(line)) if c in "|+" ) for line in lines
             if visible(line).startswith("-")}  # fmt: skip
    assert len(where) == 1
    first, second = next(iter(where))
    for line in lines:
        assert visible(line)[first] in "|+"
        assert visible(line)[second] in "|+"


def visible(line):
    return normalize("NFC", line).replace(DOT, "").replace(BAR, "")


def test_markdown_has_three_columns():
    lines = hpcad.expand(lambda x: abs(x) * x)(3.0).markdown().splitlines()
    assert lines[1] == "|---|---|---|"
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in lines)
    assert any("<br>" in line for line in lines)


def last_numbers(rows):
    return [float(row.adjoint[-1].rsplit(" = ", 1)[1].replace("−", "-")) for row in rows]


def test_a_variable_used_twice_by_one_operation_is_added_up():
    table = hpcad.expand(lambda x: x * x)(3.0)
    assert table.operations[0].adjoint == ("v̄0 += v̄1 · v0 = 6", "v̄0 = v̄1 · v0 = 3")


@pytest.mark.parametrize(
    "name", sorted(name for name in FORMS if name in PRIMITIVES and len(FORMS[name].back) == 1)
)
def test_the_forms_have_an_argument_for_each_rule(name):
    form = FORMS[name]
    assert "{0}" in form.value
    assert "{1}" not in form.value
    assert all("{g}" in text for text in (*form.back, *form.forth))


ELEMENTARY = {
    "ln": np.log, "exp": np.exp, "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "sinh": np.sinh,
    "cosh": np.cosh, "sign": np.sign, "tan": np.tan, "arcsin": np.arcsin, "arccos": np.arccos,
    "arctan": np.arctan, "arsinh": np.arcsinh, "arcosh": np.arccosh, "artanh": np.arctanh,
    "log2": np.log2, "log10": np.log10, "erf": math.erf, "π": math.pi, "∛": np.cbrt,
    "σ": lambda x: 1 / (1 + np.exp(-x)), "√": np.sqrt, "max": np.maximum,
    "min": np.minimum,
}  # fmt: skip


def evaluated(form, **numbers):
    """The formula as Python computes it."""
    text = form.format("X", "Y", "W", g="G", z="Z").replace("−", "-").replace("·", "*")
    text = text.replace("×", "*").replace("²", "**2").replace("^", "**")
    text = re.sub(r"\|(\w)\|", r"abs(\1)", text)
    text = re.sub(r"\[(.*?)\]", r"(\1)", text).replace("≥", ">=").replace("≤", "<=")
    text = re.sub(r"(ln|exp|sinh?|cosh?|tanh?|sign|erf|log\d+|ar\w+) (\w+)", r"\1(\2)", text)
    text = re.sub(r"([√∛])(\w)", r"\1(\2)", text)
    text = text.replace("√", "ROOT").replace("∛", "CBRT").replace("σ", "SIGMA")
    text = re.sub(r"(?<=[\w)]) (?=[\w(])(?!\*)", " * ", text)
    names = {**ELEMENTARY, "ROOT": np.sqrt, "CBRT": np.cbrt, "SIGMA": ELEMENTARY["σ"], "abs": abs}
    return eval(text, names, numbers)  # noqa: S307  formulas of this library


SCALAR = sorted(
    name
    for name in FORMS
    if name in PRIMITIVES
    and name not in {"where", "sum", "broadcast_to", "matmul", "transpose", "conj", "real", "imag"}
)


@pytest.mark.parametrize("name", SCALAR)
def test_the_formulas_are_those_of_the_rules(name):
    primitive, form = PRIMITIVES[name], FORMS[name]
    x, y = np.array(1.3 if name == "acosh" else 0.3), np.array(0.7)
    args = (x, y)[: len(form.back)]
    value, pullback = hpcad.vjp(primitive, *args)
    numbers = {"X": x, "Y": y, "Z": value, "G": 1.7}
    assert evaluated(form.value, **numbers) == pytest.approx(float(value), rel=1e-12)
    for text, expected in zip(form.back, pullback(1.7), strict=True):
        assert evaluated(text, **numbers) == pytest.approx(float(expected), rel=1e-12)


def test_every_form_is_of_an_operation():
    assert set(FORMS) <= set(PRIMITIVES)


def test_an_operation_without_a_form_is_named():
    table = hpcad.expand(lambda x: x[1] * 2.0)(np.array([1.0, 2.0]))
    row = table.operations[0]
    assert row.forward == "v1 = getitem(v0, [1]) = 2"
    assert row.tangent == "v̇1 = jvp_getitem(v̇0) = 1"
    assert row.adjoint == ("v̄0 = vjp_getitem(v̄1) = [0, 2]",)


def test_arrays_are_shown_by_type_and_norm():
    table = hpcad.expand(lambda a: (a @ a).sum())(np.eye(3))
    assert table.inputs[0].forward == "v0 = a = float64[3, 3] of norm 1.732"
    assert table.operations[0].forward == "v1 = v0 v0 = float64[3, 3] of norm 1.732"


def test_several_results_and_parameters():
    p = hpcad.Parameter(np.array(3.0), "p")
    table = hpcad.expand(lambda x: (x * p, hnp.sin(x)))(2.0)
    assert [row.forward for row in table.results] == ["y[0] = v1 = 6", "y[1] = v2 = 0.909"]
    assert [row.forward for row in table.inputs] == ["v-1 = x = 2", "v0 = p = 3"]
    assert last_numbers(table.inputs) == pytest.approx([3 + np.cos(2.0), 2.0], abs=1e-3)
    assert p.grad is None


def test_the_derivatives_are_those_of_grad():
    def f(x, y):
        return hnp.tanh(x / y) ** 2 + hnp.sqrt(x) * hnp.exp(-y) - hnp.cos(x * y) / 3.0

    table = hpcad.expand(f, digits=9)(0.7, 1.3)
    expected = hpcad.grad(f, argnums=(0, 1))(0.7, 1.3)
    assert last_numbers(table.inputs) == pytest.approx([float(e) for e in expected], abs=1e-8)


def test_nothing_to_differentiate_is_an_error():
    with pytest.raises(DifferentiationError, match="a number or an array"):
        hpcad.expand(lambda s: 1.0)("text")


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (-0.5, "−0.5"),
        (1e-9, "1.000e-09"),
        (2 - 3j, "(2 − 3i)"),
        (np.array([1.0, -2.0]), "[1, −2]"),
        (7, "7"),
    ],
)
def test_numbers_are_short(x, expected):
    assert shown(x) == expected


def test_width_counts_columns():
    assert width("v̄1") == 2
