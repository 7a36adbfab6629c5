"""How mathematics writes the operations, for the tables of :func:`~hpcad.autodiff.expand`.

In the forms ``{0}`` and ``{1}`` are the arguments, ``{z}`` the answer, ``{g}`` the cotangent of the
answer or, for an operation with a diagonal Jacobian, the tangent of the argument.
"""

# ruff: noqa: RUF001  the signs of mathematics are meant

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hpcad.autodiff.tensor import value_of

DOT, BAR = "\u0307", "\u0304"  # combining: they stand over the character before
MINUS = "\u2212"


class Form(NamedTuple):
    """Value, what goes back to each argument, and what each tangent gives if that differs."""

    value: str
    back: tuple[str, ...] = ()
    forth: tuple[str, ...] = ()


# fmt: off
FORMS = {
    "add":              Form("{0} + {1}", ("{g}", "{g}")),
    "subtract":         Form("{0} − {1}", ("{g}", "−{g}")),
    "multiply":         Form("{0} × {1}", ("{g} · {1}", "{g} · {0}")),
    "divide":           Form("{0} / {1}", ("{g} / {1}", "−{g} · {z} / {1}")),
    "power":            Form("{0}^{1}", ("{g} · {1} {0}^({1} − 1)", "{g} · {z} ln {0}")),
    "negative":         Form("−{0}", ("−{g}",)),
    "positive":         Form("{0}", ("{g}",)),
    "reciprocal":       Form("1 / {0}", ("−{g} · {z}²",)),
    "square":           Form("{0}²", ("{g} · 2 {0}",)),
    "sqrt":             Form("√{0}", ("{g} / (2 {z})",)),
    "cbrt":             Form("∛{0}", ("{g} / (3 {z}²)",)),
    "absolute":         Form("|{0}|", ("{g} · sign {0}",)),
    "exp":              Form("exp {0}", ("{g} · {z}",)),
    "expm1":            Form("exp({0}) − 1", ("{g} · ({z} + 1)",)),
    "log":              Form("ln {0}", ("{g} / {0}",)),
    "log1p":            Form("ln(1 + {0})", ("{g} / (1 + {0})",)),
    "log2":             Form("log2 {0}", ("{g} / ({0} ln 2)",)),
    "log10":            Form("log10 {0}", ("{g} / ({0} ln 10)",)),
    "exp2":             Form("2^{0}", ("{g} · {z} ln 2",)),
    "logaddexp":        Form("ln(exp {0} + exp {1})", ("{g} · exp({0} − {z})",
                                                       "{g} · exp({1} − {z})")),
    "sin":              Form("sin {0}", ("{g} · cos {0}",)),
    "cos":              Form("cos {0}", ("−{g} · sin {0}",)),
    "tan":              Form("tan {0}", ("{g} · (1 + {z}²)",)),
    "sinh":             Form("sinh {0}", ("{g} · cosh {0}",)),
    "cosh":             Form("cosh {0}", ("{g} · sinh {0}",)),
    "tanh":             Form("tanh {0}", ("{g} · (1 − {z}²)",)),
    "asin":             Form("arcsin {0}", ("{g} / √(1 − {0}²)",)),
    "acos":             Form("arccos {0}", ("−{g} / √(1 − {0}²)",)),
    "atan":             Form("arctan {0}", ("{g} / (1 + {0}²)",)),
    "asinh":            Form("arsinh {0}", ("{g} / √({0}² + 1)",)),
    "acosh":            Form("arcosh {0}", ("{g} / √({0}² − 1)",)),
    "atanh":            Form("artanh {0}", ("{g} / (1 − {0}²)",)),
    "atan2":            Form("arctan({0} / {1})", ("{g} · {1} / ({0}² + {1}²)",
                                                   "−{g} · {0} / ({0}² + {1}²)")),
    "hypot":            Form("√({0}² + {1}²)", ("{g} · {0} / {z}", "{g} · {1} / {z}")),
    "sigmoid":          Form("σ({0})", ("{g} · {z} (1 − {z})",)),
    "expit":            Form("σ({0})", ("{g} · {z} (1 − {z})",)),
    "softplus":         Form("ln(1 + exp {0})", ("{g} · σ({0})",)),
    "erf":              Form("erf {0}", ("{g} · 2 exp(−{0}²) / √π",)),
    "relu":             Form("max({0}, 0)", ("{g} · [{0} > 0]",)),
    "maximum":          Form("max({0}, {1})", ("{g} · [{0} ≥ {1}]", "{g} · [{1} ≥ {0}]")),
    "minimum":          Form("min({0}, {1})", ("{g} · [{0} ≤ {1}]", "{g} · [{1} ≤ {0}]")),
    "where":            Form("where({0}, {1}, {2})", ("", "{g} · [{0}]", "{g} · [not {0}]")),
    "sum":              Form("sum {0}", ("broadcast {g}",), ("sum {g}",)),
    "broadcast_to":     Form("broadcast {0}", ("sum {g}",), ("broadcast {g}",)),
    "matmul":           Form("{0} {1}", ("{g} {1}ᵀ", "{0}ᵀ {g}"), ("{g} {1}", "{0} {g}")),
    "transpose":        Form("{0}ᵀ", ("{g}ᵀ",)),
    "conj":             Form("conj {0}", ("conj {g}",)),
    "real":             Form("re {0}", ("{g}",), ("re {g}",)),
    "imag":             Form("im {0}", ("−i {g}",), ("im {g}",)),
}
# fmt: on


def value_form(name: str, z: str, args: Sequence[str], options: str = "") -> str:
    """The operation as mathematics writes it, or ``name(arguments)``."""
    form = FORMS.get(name)
    if form is None:
        return f"{name}({', '.join([*args, *([options] if options else [])])})"
    return form.value.format(*args, z=z)


def back_form(name: str, i: int, g: str, z: str, args: Sequence[str]) -> str:
    """What argument ``i`` gets from the cotangent ``g``."""
    form = FORMS.get(name)
    if form is None or i >= len(form.back):
        return f"vjp_{name}({g})"
    return form.back[i].format(*args, g=g, z=z)


def forth_form(name: str, tangents: Sequence[str | None], z: str, args: Sequence[str]) -> str:
    """The tangent of the answer, from those of the arguments (None for constants)."""
    form = FORMS.get(name)
    given = [t for t in tangents if t is not None]
    if form is None:
        return f"jvp_{name}({', '.join(given)})"
    forms = form.forth or form.back
    terms = [
        forms[i].format(*args, g=t, z=z)
        for i, t in enumerate(tangents)
        if t is not None and i < len(forms)
    ]
    text = terms[0] if terms else "0"
    for term in terms[1:]:
        text += f" {MINUS} {term[1:]}" if term.startswith(MINUS) else f" + {term}"
    return text


def marked(name: str, mark: str) -> str:
    """The name with a dot or bar over its first character."""
    return unicodedata.normalize("NFC", name[:1] + mark) + name[1:]


def width(text: str) -> int:
    """Columns that the text takes: combining marks take none."""
    return sum(not unicodedata.combining(c) for c in text)


def shown(x: Any, digits: int = 3) -> str:
    """A number, or a short vector, with its digits; of another array its type and norm."""
    x = value_of(x)
    if not hasattr(x, "dtype") or x.ndim == 0:
        return _number(x if not hasattr(x, "item") else x.item(), digits)
    if x.ndim == 1 and x.size <= 4:
        return "[" + ", ".join(_number(e, digits) for e in x.tolist()) + "]"
    norm = float(np.sqrt((np.abs(x) ** 2).sum()))
    return f"{x.dtype}{list(x.shape)} of norm {_number(norm, digits)}"


def _number(x: Any, digits: int) -> str:
    if isinstance(x, complex):
        sign = MINUS if x.imag < 0 else "+"
        return f"({_number(x.real, digits)} {sign} {_number(abs(x.imag), digits)}i)"
    if not isinstance(x, float):
        return str(x)
    plain = x == 0 or 10.0**-digits <= abs(x) < 1e6
    text = f"{x:.{digits}f}".rstrip("0").rstrip(".") if plain else f"{x:.{digits}e}"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text
