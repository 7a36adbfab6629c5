"""Kernels of mixed precision in C equal those that NumPy computes in float32 and rounds."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.half import named
from hpcad.program.kernels.build import compile_kernels
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

from .cuda.every_kernel import HALVES, numbers, same, scalars_of
from .kernels.arrays import COMPILER, compiled, interpreted, memory_of

pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def code():
    return dict(zip(HALVES, compile_kernels(list(HALVES.values())), strict=True))


@pytest.mark.parametrize("name", HALVES)
def test_kernels_in_c_equal_numpy(code, name):
    kernel, draw = HALVES[name], numbers(name)
    memory = memory_of(kernel, lambda *item: draw(*item).astype(named(item[1])))
    scalars = scalars_of(kernel)
    found = compiled(code[name], memory, scalars)
    expected = interpreted(kernel, memory, scalars)
    for operand, one, other in zip(kernel.operands, found, expected, strict=True):
        same(one, other, operand.dtype)


def _sum(half: str, count: int, accumulate: bool) -> Kernel:
    operands = (Operand(half, (1,)), Operand(half, (0,)))
    node = Node("load", (), "float32", 0)
    return Kernel((count,), operands, (), (node,), (Store(0, 1, "sum", accumulate),))


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_sums_of_halves_are_rounded_once(half):
    """In half precision, sums of ones end at 256, or 2048: the next one is lost."""
    count, before = 30000, 512.0
    kernels = [_sum(half, count, accumulate) for accumulate in (False, True)]
    ones, start = np.ones(count, named(half)), np.array([before], named(half))
    for kernel, code, total in zip(
        kernels, compile_kernels(kernels), (count, count + before), strict=True
    ):
        memory = [(ones, 0), (start, 0)]
        expected = np.array([total], named(half))
        np.testing.assert_array_equal(compiled(code, memory)[1], expected)
        np.testing.assert_array_equal(interpreted(kernel, memory)[1], expected)
