"""Rules become nodes."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.optim.formula import Formula
from hpcad.program.kernels.ir import Node


def test_arithmetic_writes_nodes_in_the_order_of_evaluation():
    formula = Formula("float32")
    x, rate = formula.load(0), formula.scalar(0)
    y = 1.0 - np.sqrt(x * rate)
    assert formula.nodes == (
        Node("load", (), "float32", 0),
        Node("scalar", (), "float64", 0),
        Node("cast", (1,), "float32"),
        Node("multiply", (0, 2), "float32"),
        Node("sqrt", (3,), "float32"),
        Node("literal", (), "float32", 1.0),
        Node("subtract", (5, 4), "float32"),
    )
    assert y.place == 6


def test_numbers_among_themselves_are_double_precision():
    formula = Formula("float32")
    formula.load(0) * (1.0 - formula.scalar(0))
    assert [node.dtype for node in formula.nodes[1:]] == ["float64"] * 3 + ["float32"] * 2


def test_equal_nodes_are_written_once():
    formula = Formula("float64")
    x = formula.load(0)
    assert (x * x + x * x).place == 2
    assert len(formula.nodes) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x % 2.0,
        lambda x: np.add.reduce(x),
        lambda x: np.sqrt(x, out=np.zeros(2)),
        lambda x: x + np.ones(3),
        lambda x: x + "1",
    ],
)
def test_what_is_no_elementwise_mathematics_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        wrong(Formula("float64").load(0))
