"""Mistakes in differentiation are answered with what was wrong, what was expected, what to do."""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import Primitive
from hpcad.errors import DifferentiationError, HpcadError, ShapeError
from hpcad.primitives.shapes import broadcast

X3, X2 = np.ones(3), np.ones(2)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "errors.md"


def shapes():
    hpcad.grad(lambda x: (x + X2).sum())(X3)


def shapes_without_differentiation():
    hnp.add(X3, X2)


def shapes_of_a_product():
    hpcad.grad(lambda x: (x @ np.ones((4, 2))).sum())(np.ones((2, 3)))


def shapes_checked_before_the_operation():
    hpcad.grad(lambda x: hnp.stack([x, X2]).sum())(X3)


def wrong_index():
    hpcad.grad(lambda x: x[5])(X3)


def second_backward():
    p = hpcad.Parameter(X3.copy())
    loss = (p * p).sum()
    loss.backward()
    loss.backward()


def use_after_backward():
    p = hpcad.Parameter(X3.copy())
    loss = (p * p).sum()
    loss.backward()
    return loss * 2.0


def second_pull():
    _, pullback = hpcad.vjp(lambda x: x * 2.0, X3)
    pullback(X3, retain=False)
    pullback(X3)


def leaked_tensor():
    box = []

    def f(x):
        box.append(x)
        return x.sum()

    hpcad.grad(f)(X3)
    return hnp.sin(box[0])


def leaked_into_another_transform():
    box = []

    def f(x):
        box.append(x * 2.0)
        return x.sum()

    hpcad.vjp(f, X3)
    hpcad.grad(lambda x: (x * box[0]).sum())(X3)


def missing_rule():
    floor_root = Primitive("floor_root", np.sqrt, broadcast, register=False)
    hpcad.grad(lambda x: floor_root(x).sum())(X3)


def math_function():
    hpcad.grad(lambda x: math.sin(x))(1.0)


def numpy_without_rule():
    hpcad.grad(lambda x: np.spacing(x).sum())(X3)


def numpy_array_of_tensors():
    hpcad.grad(lambda x: np.asarray(x).sum())(X3)


def cotangent_of_another_shape():
    hpcad.vjp(lambda x: x * 2.0, X3)[1](X2)


def cotangent_of_another_structure():
    hpcad.vjp(lambda x: (x, x * 2.0), X3)[1](X3)


def tangent_of_another_shape():
    hpcad.jvp(lambda x: x * 2.0, (X3,), (X2,))


def tangents_of_another_structure():
    hpcad.jvp(lambda x: x * 2.0, (X3,), (X3, X3))


def primals_without_a_tuple():
    hpcad.jvp(lambda x: x * 2.0, X3, X3)


def gradient_of_a_vector():
    hpcad.grad(lambda x: x * 2.0)(X3)


def gradient_of_a_tuple():
    hpcad.grad(lambda x: (x.sum(), 1.0))(X3)


def integer_argument():
    hpcad.grad(lambda x: x.sum())(np.ones(3, int))


def text_argument():
    hpcad.grad(lambda x: 1.0)("text")


def complex_result():
    hpcad.grad(lambda z: z * z)(1 + 2j)


def argnums_by_name():
    hpcad.grad(lambda x: x.sum(), argnums="x")(X3)


def backward_of_a_vector():
    (hpcad.Parameter(X3) * 2.0).backward()


def backward_without_parameters():
    hpcad.tensor(1.0).backward()


def backward_inside_grad():
    hpcad.grad(lambda x: (x * x).backward())(1.0)


def changed_behind_the_tape():
    c = np.ones(3)
    _, pullback = hpcad.vjp(lambda x: x * c, X3)
    c[0] = 5.0
    pullback(X3)


def rule_of_another_shape():
    wrong = [lambda _g, _z, _x: np.ones((5, 7))]
    doubled = Primitive("doubled", lambda x: x * 2, broadcast, wrong, register=False)
    hpcad.grad(lambda x: doubled(x).sum())(X3)


EXPECTED = {
    shapes: (ShapeError, "add(float64[3], float64[2]): "),
    shapes_without_differentiation: (ShapeError, "add(float64[3], float64[2]): "),
    shapes_of_a_product: (ShapeError, "the last axis of shape (2, 3) has length 3, but the "),
    shapes_checked_before_the_operation: (ShapeError, "got (3,) and (2,)"),
    wrong_index: (IndexError, "getitem(float64[3], [5]): index 5 is out of bounds for axis 0"),
    second_backward: (DifferentiationError, "backward(retain=True)"),
    use_after_backward: (DifferentiationError, "call .detach()"),
    second_pull: (DifferentiationError, "leave retain out"),
    leaked_tensor: (DifferentiationError, "return it from the function"),
    leaked_into_another_transform: (DifferentiationError, "return it from the function"),
    missing_rule: (DifferentiationError, "floor_root has no derivative rule"),
    math_function: (TypeError, "the math module asks for it, too"),
    numpy_without_rule: (TypeError, "numpy.spacing has no derivative rule"),
    numpy_array_of_tensors: (TypeError, "its derivative would be lost"),
    cotangent_of_another_shape: (ShapeError, "has shape (2,), but shape (3,) is needed"),
    cotangent_of_another_structure: (DifferentiationError, "tuple(*, *)"),
    tangent_of_another_shape: (ShapeError, "the tangent has shape (2,)"),
    tangents_of_another_structure: (DifferentiationError, "tuple(*, *)"),
    primals_without_a_tuple: (DifferentiationError, "write (x,) for a single one"),
    gradient_of_a_vector: (DifferentiationError, "reduce it with sum or mean"),
    gradient_of_a_tuple: (DifferentiationError, "has_aux=True"),
    integer_argument: (DifferentiationError, ".astype(float)"),
    text_argument: (DifferentiationError, "args[0] is a str"),
    complex_result: (DifferentiationError, "holomorphic=True"),
    argnums_by_name: (DifferentiationError, "argnums='x' must be the position of an argument"),
    backward_of_a_vector: (DifferentiationError, ".sum() or .mean()"),
    backward_without_parameters: (DifferentiationError, "depends on no parameter"),
    backward_inside_grad: (DifferentiationError, "return it from the function"),
    changed_behind_the_tape: (DifferentiationError, "was changed in place"),
    rule_of_another_shape: (ShapeError, "the vjp rule of doubled"),
}


def message(mistake) -> str:
    kind, _ = EXPECTED[mistake]
    with pytest.raises(kind) as found:
        mistake()
    return str(found.value)


@pytest.mark.parametrize("mistake", EXPECTED, ids=lambda f: f.__name__)
def test_the_message_says_what_to_do(mistake):
    said = message(mistake)
    assert EXPECTED[mistake][1] in said
    assert len(said) < 400


@pytest.mark.parametrize(
    "mistake",
    [
        shapes,
        shapes_without_differentiation,
        shapes_of_a_product,
        shapes_checked_before_the_operation,
        wrong_index,
        cotangent_of_another_shape,
        tangent_of_another_shape,
    ],
    ids=lambda f: f.__name__,
)
def test_errors_of_shape_name_the_line_of_the_user(mistake):
    line = inspect.getsourcelines(mistake)[1] + 1
    said = message(mistake)
    assert said.endswith(f" (at {__file__}:{line})")
    assert said.count("(at ") == 1


def test_errors_of_shape_raised_by_a_user_are_left_as_they_are():
    assert str(ShapeError("no fit")) == "no fit"


def test_every_error_is_one_the_command_line_can_print():
    kinds = {kind for kind, _ in EXPECTED.values()} - {TypeError, IndexError}
    assert all(issubclass(kind, HpcadError) for kind in kinds)


def test_a_traced_value_decides_like_any_number():
    def f(x):
        return x * x if x > 0 else -x

    assert hpcad.grad(f)(2.0) == 4.0
    assert hpcad.grad(f)(-2.0) == -1.0
    assert hpcad.jvp(f, (2.0,), (1.0,))[1] == 4.0


def test_the_page_on_errors_quotes_what_is_said():
    part = (
        PAGE.read_text(encoding="utf-8").partition("## Differentiation\n")[2].partition("\n## ")[0]
    )
    quoted = re.findall(r"^\| `(.*?)` \|", part, re.MULTILINE)
    said = [message(mistake) for mistake in EXPECTED]
    assert len(quoted) >= 12
    for quote in quoted:
        pieces = quote.split("...")
        assert any(all(piece.strip() in text for piece in pieces) for text in said), quote
