"""Kernels of updates whose numbers lie in memory, held to those that are given them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpcad import nn, optim
from hpcad.optim.on_device import clip_kernel, with_numbers_in_memory
from hpcad.optim.passes import _plan
from hpcad.program.kernels.interpret import interpret


def operands(kernel, arrays):
    """Flat arrays as the interpreter takes them."""
    return [
        np.lib.stride_tricks.as_strided(
            array, kernel.extents, [s * array.itemsize for s in operand.strides]
        )
        for array, operand in zip(arrays, kernel.operands, strict=True)
    ]


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSProp])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_numbers_in_memory_change_nothing(kind, decay):
    model = nn.Linear(5, 3)
    model.initialize(1, np.float32)
    optimizer = kind(model, 0.1, weight_decay=decay, clip_norm=1.0)
    optimizer.step_count = 3
    numbers = [*optimizer.numbers(0.1).values(), 0.5]
    random = np.random.default_rng(1)
    for each in _plan(optimizer, optimizer.arenas[0]):
        kernel = each.kernel
        size = math.prod(kernel.extents)
        count = 2 + len(optimizer.slots)
        arrays = [random.random(size).astype(np.float32) for _ in range(count)]
        arrays += [] if each.mask is None else [each.mask]
        mine, theirs = ([array.copy() for array in arrays] for _ in range(2))
        interpret(kernel, operands(kernel, mine), numbers)
        moved = with_numbers_in_memory(kernel)
        assert moved.scalars == ()
        given = [np.array([number]) for number in numbers]
        interpret(moved, operands(moved, [*theirs, *given]))
        assert any((a != b).any() for a, b in zip(arrays, mine, strict=True))
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("squares", "factor"),
    [([9.0, 16.0], 2.0 / 5.0), ([0.5, 0.5], 1.0), ([np.nan, 1.0], 1.0), ([np.inf, 1.0], 0.0)],
)
def test_the_clip_factor(squares, factor):
    kernel = clip_kernel(2, 2.0)
    arrays = [*(np.array([x]) for x in squares), np.zeros(1), np.zeros(1)]
    interpret(kernel, operands(kernel, arrays))
    np.testing.assert_allclose(arrays[2], factor)
    np.testing.assert_array_equal(arrays[3], np.sqrt([sum(squares)]))
