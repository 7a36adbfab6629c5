"""Random programs of recomputed parts inside one another, and of transforms inside these."""

from __future__ import annotations

import random

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.autodiff import Parameter, grad, jvp, linearize, remat, remat_sequence, remat_while

X = np.linspace(-0.9, 1.1, 4)
V = np.array([1.0, -0.5, 0.3, 0.7])
OPERATIONS = (
    hnp.sin,
    lambda x: hnp.exp(-x * x),
    lambda x: x[::-1] / (1.0 + x * x),
    lambda x: hnp.tanh(x) + 0.1 * x.sum(),
    lambda x: hnp.sqrt(1.0 + x * x),
)


class Program:
    """A random function; with ``recomputing`` it recomputes, without it does the same plainly."""

    def __init__(self, choose, depth):
        kinds = ["remat", "sequence", "while", "grad", "jvp", "outer"]
        self.kind = choose.choice(["operation", "operation", *kinds]) if depth else "operation"
        self.operation = choose.choice(OPERATIONS)
        self.count, self.slots, self.disk_slots = (choose.randrange(k, 6) for k in (0, 1, 0))
        self.parts = (
            [Program(choose, depth - 1) for _ in range(choose.randint(1, 2))] if depth else []
        )

    def __call__(self, x, outer, recomputing):
        def body(y):
            for part in self.parts:
                y = part(y, outer, recomputing)
            return y

        def repeated(y):
            for _ in range(self.count):
                y = body(y)
            return y

        def loop(y):
            running = remat_while(
                lambda state: state[1] < self.count, lambda s: (body(s[0]), s[1] + 1), self.slots
            )
            return running((y, 0))[0]

        if self.kind == "operation":
            return self.operation(x)
        if self.kind == "grad":
            return 0.1 * x + 0.1 * grad(lambda y: (body(y) * x).sum())(0.5 * x)
        if self.kind == "jvp":
            return 0.1 * x + 0.1 * jvp(body, (0.5 * x,), (x,))[1]
        if self.kind == "outer":
            return hnp.tanh(body(x) * outer)
        if self.kind == "remat":
            return (remat(body) if recomputing else body)(x)
        if not recomputing:
            return repeated(x)
        if self.kind == "while":
            return loop(x)
        return remat_sequence((body, self.count), self.slots, disk_slots=self.disk_slots)(x)


def derivatives(f):
    def total(x):
        return f(x, x).sum()

    def both(x):
        return f(x, x)

    yield grad(total)(X)
    yield linearize(both, X)[1](V)
    yield jvp(grad(total), (X,), (V,))[1]
    yield grad(lambda x: jvp(both, (x,), (V,))[1].sum())(X)
    yield grad(lambda x: (grad(total)(x) * V).sum())(X)
    p = Parameter(X.copy())
    f(p * 1.0, p).sum().backward()
    yield p.grad


@pytest.mark.parametrize("seed", range(40))
def test_recomputation_changes_no_derivative(seed):
    choose = random.Random(seed)
    parts = [Program(choose, 3) for _ in range(3)]

    def function(recomputing):
        def f(x, outer):
            for part in parts:
                x = part(x, outer, recomputing)
            return x

        return f

    for found, expected in zip(
        derivatives(function(True)), derivatives(function(False)), strict=True
    ):
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
