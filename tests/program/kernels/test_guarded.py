"""sin, cos and tan in kernels: vectorised, and right where single arguments are large, too."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.program.kernels.build import compile_kernels
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

from .arrays import COMPILER, compiled, interpreted, memory_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")

FAR = [1e6, -3e7, 3e9, -1e20, 3e38, np.inf, -np.inf, np.nan]


def _with_far(count, seed=0):
    """Small numbers, and far ones at both ends and at random."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 3, count)
    places = [0, count - 1, *rng.integers(0, count, 6)]
    x[places] = FAR
    return x


def _check(kernel, *arrays, ulps=4):
    """``ulps`` of the largest intermediate number, which is about 1."""
    memory = memory_of(kernel, lambda number, dtype, count: arrays[number].astype(dtype))
    (code,) = compile_kernels([kernel])
    found, wanted = compiled(code, memory), interpreted(kernel, memory)
    for operand, left, right in zip(kernel.operands, found, wanted, strict=True):
        eps = np.finfo(operand.dtype).eps
        np.testing.assert_allclose(left, right, rtol=ulps * eps, atol=ulps * eps)


def _elementwise(count, dtype, *nodes, places=1):
    operands = (Operand(dtype, (1,)),) * (1 + places)
    made = [Node("load", (), dtype, 0), *(Node(op, args, dtype) for op, args in nodes)]
    stores = [Store(len(made) - 1 - i, 1 + i) for i in range(places)]
    return Kernel((count,), operands, (), tuple(made), tuple(stores))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ["sin", "cos", "tan"])
@pytest.mark.parametrize("count", [5, 37, 4096, 10_001])
def test_far_arguments_are_found_wherever_they_are(op, dtype, count):
    _check(
        _elementwise(count, dtype, (op, (0,))), _with_far(max(count, 8))[:count], np.zeros(count)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_element_does_not_depend_on_its_neighbours(dtype):
    kernel = _elementwise(1000, dtype, ("sin", (0,)))
    (code,) = compile_kernels([kernel])
    near = np.random.default_rng(1).normal(0, 3, 1000).astype(dtype)
    mixed = near.copy()
    mixed[::10] = 1e10
    both = [compiled(code, [(x, 0), (np.zeros_like(x), 0)])[1] for x in (near, mixed)]
    assert np.delete(both[0], np.s_[::10]).tobytes() == np.delete(both[1], np.s_[::10]).tobytes()


def test_functions_of_functions_and_what_they_share():
    x = np.random.default_rng(2).normal(0, 3, 999)
    x[::50] = 1e11
    nodes = [("sin", (0,)), ("cos", (1,)), ("multiply", (0, 0)), ("cos", (3,)), ("add", (2, 4))]
    _check(_elementwise(999, "float64", *nodes, places=3), x, *np.zeros((3, 999)))


def test_an_operand_updated_in_place_is_read_before_it_is_written():
    nodes = (Node("load", (), "float64", 0), Node("sin", (0,), "float64"))
    nodes += (Node("subtract", (0, 1), "float64"),)
    kernel = Kernel((500,), (Operand("float64", (1,)),), (), nodes, (Store(2, 0),))
    x = np.random.default_rng(3).normal(0, 3, 500)
    x[::7] *= 1e10
    _check(kernel, x)


def test_sums_and_extremes_beside_and_of_guarded_values():
    rows, width = 6, 70
    load = Node("load", (), "float64", 0)
    kernel = Kernel(
        (rows, width),
        (
            Operand("float64", (width, 1)),
            Operand("float64", (width, 1)),
            Operand("float64", (1, 0)),
        ),
        (),
        (
            load,
            Node("row_max", (0,), "float64"),  # beside
            Node("sin", (0,), "float64"),
            Node("row_sum", (2,), "float64"),  # of
            Node("subtract", (2, 3), "float64"),
            Node("cos", (1,), "float64"),  # per row
            Node("multiply", (4, 5), "float64"),
        ),
        (Store(6, 1), Store(3, 2)),
    )
    x = np.random.default_rng(4).normal(0, 3, (rows, width))
    x[2, 3] = x[5, 69] = 1e12
    x[4] = 1e-3
    _check(kernel, x, np.zeros_like(x), np.zeros(rows), ulps=60)


def test_the_sum_over_everything_of_guarded_values():
    count = 5000
    operands = (Operand("float64", (1,)), Operand("float64", (0,)))
    nodes = (Node("load", (), "float64", 0), Node("cos", (0,), "float64"))
    kernel = Kernel((count,), operands, (), nodes, (Store(1, 1, reduce="sum"),))
    x = np.random.default_rng(5).normal(0, 3, count)
    x[1234] = -1e15
    _check(kernel, x, np.zeros(1), ulps=1000)
