"""Programs that change parameters in their middle, and what is read before and afterwards."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import Parameter, nn, optim

from .against_eager import becomes_a_program

X = np.linspace(-2.0, 3.0, 24).reshape(4, 6)
W = np.linspace(0.5, 1.5, 18).reshape(6, 3)


class Net(nn.Module):
    def __init__(self):
        self.w = Parameter(W)
        self.b = Parameter(np.zeros(3))

    def forward(self, x):
        return hnp.tanh(x @ self.w + self.b)


def loss_of(model, x):
    return (model(x) ** 2).sum()


def training(body, kind=optim.SGD, **options):
    """A world with a network and an optimizer, which ``body`` gets with the array."""

    def world():
        model = Net()
        optimizer = kind(model, 0.1, **options)
        return (
            lambda x: body(model, optimizer, x),
            lambda i: [X + 0.1 * i],
            lambda: [(p.numpy(), p.grad.copy(), p.fresh) for p in model.parameters()],
        )

    return world


def learn(model, optimizer, x):
    loss = loss_of(model, x)
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_two_optimizer_steps_in_one_function(kind):
    def body(model, optimizer, x):
        first = learn(model, optimizer, x)
        return first, learn(model, optimizer, 2 * x), loss_of(model, x).detach()

    becomes_a_program(training(body, kind))


def test_what_was_computed_before_the_update_keeps_its_values():
    def body(model, optimizer, x):
        with hpcad.no_grad():
            old = model.w * 2.0 + 1.0
            same, copied = model.w * 1.0, hnp.copy(model.w)
            turned = model.w.T.reshape(3, 6) * 1.5
        learn(model, optimizer, x)
        with hpcad.no_grad():
            return old - model.w, same - model.w, copied - model.w, turned + model.w.T, same

    becomes_a_program(training(body))


def test_what_is_computed_after_the_update_joins_no_kernel_before_it():
    def body(model, optimizer, x):
        with hpcad.no_grad():
            before = hnp.exp(model.w) * x[:1, :1]
        loss = loss_of(model, x) + before.sum()
        loss.backward()
        optimizer.step()
        with hpcad.no_grad():
            return before, hnp.exp(model.w) * x[:1, :1]

    becomes_a_program(training(body))


def test_sums_of_products_end_where_an_optimizer_uses_them():
    def body(model, optimizer, x):
        for i in range(5):
            ((x * (i + 1.0)) @ model.w * x[:, :3]).sum().backward()
            optimizer.step()

    becomes_a_program(training(body))


@pytest.mark.parametrize("first", [True, False])
def test_sums_of_products_keep_what_else_is_added(first):
    def body(model, optimizer, x):
        if first:
            (model.w * model.w).sum().backward()
        for i in range(5):
            ((x * (i + 1.0)) @ model.w * x[:, :3]).sum().backward()
            if i > 0:
                ((x[:2] * (i + 1.0)) @ model.w * x[:2, :3]).sum().backward()
            if i == 2:
                hnp.sin(model.w).sum().backward()
        optimizer.step()

    becomes_a_program(training(body))
