"""A program counts the operations that the same function counts without it."""

from __future__ import annotations

import numpy as np

import hpcad
from hpcad.backend.flops import counted_flops
from hpcad.models import CNN, MLP, CNNConfig, MLPConfig


def counts(model, x):
    model.initialize(0, np.float32)
    batch = {"x": x, "y": np.zeros(len(x), np.int64)}

    def step():
        loss = model.loss(batch)
        loss.backward()
        return loss.detach()

    program = hpcad.compile(step)
    found = []
    for call in (step, program, program, program):
        with counted_flops() as count:
            call()
        found.append(count.total)
    assert program.known is not None
    return found


def test_products_are_counted():
    x = np.ones((32, 16), np.float32)
    first = 2 * 32 * 16 * 64 * 2  # the first layer has no gradient in x
    second = 2 * 32 * 64 * 10 * 3
    assert counts(MLP(MLPConfig([64]), 16, 10), x) == [first + second] * 4


def test_convolutions_are_counted():
    eager, *compiled = counts(
        CNN(CNNConfig(filters=[16, 32], hidden=64), (8, 8), 10), np.ones((64, 8, 8), np.float32)
    )
    assert compiled == [eager] * 3
    assert eager > 2 * 64 * 64 * (16 * 9 * 32) / 4 * 3  # of the second convolution alone
