"""No buffer of a program is written over while somebody still needs what is in it."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import Parameter, nn, optim
from hpcad.autodiff.pytree import flatten
from hpcad.models import CharGPT, CharGPTConfig
from hpcad.program.capture.signature import is_array

from .memory_replay import Replay
from .random_cases import WAYS, draw, flat
from .random_programs import Chance, Choices

X = np.linspace(-1.0, 1.0, 24).reshape(4, 6)


def check(function, *args, **options):
    """Who wrote what is read; and that a run in which the rest is destroyed has the same result."""
    compiled = hpcad.compile(function, strict=True, **options)
    for _ in range(5):  # gradients are fresh from the second call on
        expected = compiled(*args)
    replay = Replay(compiled.program)
    assert not replay.mistakes()
    leaves = [leaf for leaf in flatten((args, {}))[0] if is_array(leaf)]
    for a, b in zip(flat(replay.poisoned(leaves)), flat(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    return replay


@pytest.mark.parametrize("native", [True, False], ids=["C", "NumPy"])
@pytest.mark.parametrize("way", WAYS[:4])
def test_random_programs(way, native):
    cases = [draw(Choices(Chance(seed)), way, 12) for seed in range(8)]
    cases = [case for case in cases if case is not None]
    functions = [case.make()[0] for case in cases]

    def together(inputs):
        return [f(mine) for f, mine in zip(functions, inputs, strict=True)]

    with np.errstate(all="ignore"):
        check(together, [case.program.inputs for case in cases], native=native)


class Net(nn.Module):
    """Weights that are used twice, parts that are joined, and a recurrence."""

    def __init__(self):
        self.w = Parameter(np.linspace(-1, 1, 36).reshape(6, 6))
        self.b = Parameter(np.zeros(6))

    def forward(self, x):
        h = x
        for _ in range(5):
            h = hnp.tanh(h @ self.w + self.b)
        joined = hnp.concat([h @ self.w, h, hnp.exp(h)], axis=1)
        return nn.softmax(joined) @ hnp.concat([self.w, self.w.T, self.w * 2])


def without_updates(model, loss):
    """A step that can be repeated: gradients are begun anew."""

    def step(*args):
        for p in model.parameters():
            p.clear_grad()
        value = loss(*args)
        value.backward()
        return value

    return step


@pytest.mark.parametrize("native", [True, False], ids=["C", "NumPy"])
def test_gradients_that_are_born_in_their_places(native):
    model = Net()
    optim.SGD(model, 0.1)
    step = without_updates(model, lambda x: (model(x) ** 2).sum())
    replay = check(step, X, native=native)
    before = [p.grad.copy() for p in model.parameters()]
    for p in model.parameters():
        p.grad[...] = np.nan
    replay.poisoned([X])
    for p, gradient in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)


def test_a_transformer():
    model = CharGPT(CharGPTConfig(layers=2, heads=2, width=16), 11, 8)
    model.initialize(1, np.float32)
    optim.AdamW(model, 1e-3)
    tokens = np.arange(16).reshape(2, 8) % 11
    step = without_updates(model, lambda x: model.loss({"x": x, "y": x}))
    check(step, tokens)
    check(without_updates(model, lambda x: model.loss({"x": x, "y": x})), tokens, memory=20_000)


def test_the_check_sees_a_buffer_that_is_written_over_too_soon():
    compiled = hpcad.compile(lambda x: (x @ x.T, hnp.exp(x) @ x.T @ x), strict=True)
    for _ in range(3):
        compiled(X)
    replay = Replay(compiled.program)
    (whole, *_) = (v for access in replay.accesses for v, _ in access.writes)
    replay.accesses[-1].writes.append((whole, compiled.program._arena))
    assert replay.mistakes()
