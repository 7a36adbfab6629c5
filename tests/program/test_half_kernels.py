"""Kernels of mixed precision in C equal those that NumPy computes in float32 and rounds."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.half import named
from hpcad.program.cuda.generate import generate
from hpcad.program.kernels.build import compile_kernels
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

from .cuda.every_kernel import HALVES, RANDOM_HALVES, numbers, same, scalars_of
from .kernels.arrays import COMPILER, compiled, interpreted, memory_of

pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


KERNELS = HALVES | RANDOM_HALVES


@pytest.fixture(scope="module")
def code():
    return dict(zip(KERNELS, compile_kernels(list(KERNELS.values())), strict=True))


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_in_c_equal_numpy(code, name):
    kernel, draw = KERNELS[name], numbers(name)
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


def test_threads_of_a_device_load_eight_halves_at_once():
    """In a flat kernel of halves alone; beside float32 it is four of each."""
    nodes = (Node("load", (), "float32", 0), Node("load", (), "float32", 1))
    nodes += (Node("add", (0, 1), "float32"),)
    for other, width in (("bfloat16", 8), ("float32", 4)):
        operands = (Operand("bfloat16", (1,)), Operand(other, (1,)), Operand("bfloat16", (1,)))
        first = generate(Kernel((4096,), operands, (), nodes, (Store(2, 2),)), "added").variants[0]
        assert first.alignment == (2 * width, 16, 2 * width)
        assert f"hp_load<{width}>" in first.source
