"""Programs are not fooled: what they cannot see stays eager, and what they see they do right."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import Parameter

from .against_eager import becomes_a_program

X = np.linspace(-2.0, 3.0, 24).reshape(4, 6)
W = np.linspace(0.5, 1.5, 18).reshape(6, 3)


def arrays(*given):
    """Arguments whose numbers are others in every call."""
    return lambda i: [x + i for x in given]


# -- names in the generated source ---------------------------------------------------------------

NAMES = ["w", "", "np", "lambda", "0.weight", "matmul", "step", "input_0", "a b", "None", "grad_w"]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_may_have_any_names_also_the_same(name):
    def world():
        a, b = Parameter(W, name), Parameter(2 * W, name)

        def step(x):
            loss = hnp.tanh(x @ a).sum() + hnp.sort(a, axis=0)[0].sum()
            loss = loss + hnp.tanh(x @ b).sum() + hnp.cos(b).sum()
            loss.backward()
            return loss

        return step, arrays(X), lambda: [a.grad, b.grad]

    becomes_a_program(world)


def test_numbers_without_end_are_arguments_of_operations():
    def f(x, z):
        return np.maximum(x, -np.inf), x * np.nan, hnp.where(x > 0, x, np.inf), z * complex("inf")

    becomes_a_program(lambda: (f, arrays(X, X + 1j * X)))
