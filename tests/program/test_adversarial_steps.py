"""Programs that change parameters in their middle, and what is read before and afterwards."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import Parameter, nn, optim
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

from .against_eager import becomes_a_program, stays_eager

X = np.linspace(-0.5, 0.75, 24).reshape(4, 6)
W = np.linspace(0.1, 0.3, 18).reshape(6, 3)


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


def test_a_product_from_before_the_update_is_no_part_of_a_sum_after_it():
    def body(model, optimizer, x):
        with hpcad.no_grad():
            before = (2 * x) @ model.w
        learn(model, optimizer, x)
        with hpcad.no_grad():
            return (3 * x) @ model.w + before

    becomes_a_program(training(body))


# -- gradients that the function reads, clears and forgets ---------------------------------------


def clip(model):
    norm = np.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
    for p in model.parameters():
        p.grad *= 0.1 / norm


def scale(model):
    for p in model.parameters():
        p.grad *= 0.5


def drop(model):
    model.w.grad[...] = 0


@pytest.mark.parametrize("change", [clip, scale, drop])
def test_gradients_that_the_function_changes(change):
    def body(model, optimizer, x):
        loss = loss_of(model, x)
        loss.backward()
        change(model)
        optimizer.step()
        return loss

    stays_eager(
        training(body), "the gradient of parameter", "p.grad" if change != drop else "w.grad"
    )


def test_gradients_that_the_function_returns_or_uses():
    def returned(model, _, x):
        loss_of(model, x).backward()
        return model.w.grad

    def used(model, _, x):
        loss_of(model, x).backward()
        return x @ model.w.grad

    stays_eager(training(returned), "the gradient of parameter 'w'", "return model.w.grad")
    stays_eager(training(used), "the gradient of parameter 'w'", "x @ model.w.grad")


def test_gradients_that_are_looked_at_through_an_older_name():
    def world():
        model = Net()
        optim.SGD(model, 0.1)
        gradient = model.w.grad

        def step(x):
            loss_of(model, x).backward()
            return x @ gradient

        return step, lambda i: [X]

    stays_eager(world, "changed by NumPy", "")


@pytest.mark.parametrize("when", ["before", "after", "between"])
def test_gradients_that_are_cleared(when):
    def body(model, optimizer, x):
        if when == "before":
            model.w.clear_grad()
        loss_of(model, x).backward()
        if when == "between":
            model.w.clear_grad()
            loss_of(model, x * 2).backward()
        if when == "after":
            model.w.clear_grad()

    becomes_a_program(training(body), calls=9)


def test_a_gradient_that_is_cleared_and_does_not_come():
    def world():
        model = Net()
        optim.SGD(model, 0.1)

        def step(x):
            model.b.clear_grad()
            (x @ model.w).sum().backward()

        def arguments(_):
            model.b.grad[...] = 7.0
            model.b.fresh = True
            return [X]

        return step, arguments, lambda: [(p.grad.copy(), p.fresh) for p in model.parameters()]

    becomes_a_program(world, calls=7)


def test_an_optimizer_that_steps_first():
    def body(model, optimizer, x):
        optimizer.step()
        loss = loss_of(model, x)
        loss.backward()
        return loss

    becomes_a_program(training(body), calls=8)


def test_gradients_that_are_forgotten_by_hand():
    def world():
        w = Parameter(W)

        def step(x):
            w.grad, w.fresh = None, False
            (x @ w).sum().backward()

        return step, lambda i: [X + i], lambda: w.grad

    stays_eager(world, "got another gradient", "w.grad, w.fresh")


# -- parameters that the function assigns to -----------------------------------------------------


def test_parameters_that_are_assigned_to():
    def shrunk(model, _, x):
        loss = loss_of(model, x)
        loss.backward()
        model.w.assign(model.w.value * 0.9)
        return loss, loss_of(model, x).detach()

    def given(model, _, x):
        model.b.assign(x[0, :3])
        return loss_of(model, x).detach()

    def descended(model, _, x):
        loss_of(model, x).backward()
        for p in model.parameters():
            p.assign(p.value - 0.1 * p.grad)
            p.fresh = False

    stays_eager(training(shrunk), "was assigned to", "model.w.assign")
    stays_eager(training(given), "was assigned to", "model.b.assign")
    stays_eager(training(descended), "the gradient of parameter", "p.grad")


@pytest.mark.parametrize("alias", ["array", "arena"])
def test_arrays_of_the_user_that_are_parameters_seen_in_another_way(alias):
    def world():
        model = Net()
        optimizer = optim.SGD(model, 0.1)
        seen = model.w.array if alias == "array" else optimizer.arenas[0].values.flat[:18]

        def step(x):
            before = (x[0, 0] * seen).sum()
            learn(model, optimizer, x)
            return before, (x[0, 0] * seen).sum()

        return step, lambda i: [X + i]

    stays_eager(world, "changed by NumPy", "")


def test_an_argument_that_is_a_parameter_seen_in_another_way():
    def world():
        model = Net()
        optimizer = optim.SGD(model, 0.1)

        def step(seen, x):
            before = x @ seen
            learn(model, optimizer, x)
            return before, x @ seen

        return step, lambda i: [model.w.array, X + i]

    stays_eager(world, "changed by NumPy", "")


# -- captured ahead of its effects ---------------------------------------------------------------


@pytest.mark.parametrize("alias", ["array", "window", "argument"])
def test_a_capture_ahead_sees_parameters_in_other_ways(alias):
    def life(compiled):
        model = Net()
        optimizer = optim.SGD(model, 0.1)
        seen = model.w.array if alias != "window" else model.w.array[:, 1:]

        def step(x, given):
            before = (x[0, 0] * (seen if given is None else given)).sum()
            learn(model, optimizer, x)
            return before, (x[0, 0] * (seen if given is None else given)).sum()

        step = Compiled(step, Options(ahead=True, log=False)) if compiled else step
        given = model.w.array if alias == "argument" else None
        return [float(y) for i in range(5) for y in step(X + i, given)]

    np.testing.assert_allclose(life(True), life(False), rtol=1e-12)


def test_a_capture_ahead_looks_through_windows_of_the_user_anew():
    data = np.ones((6, 5))
    f = Compiled(lambda x: x * data[:, 2], Options(ahead=True, strict=True))
    for i in range(5):
        data[...] = max(1, i)
        np.testing.assert_array_equal(f(X), X * data[:, 2])


def test_cotangents_that_no_argument_has_a_part_in():
    w = Parameter(np.ones((6, 3)))

    def world():
        def step(x):
            (hnp.sum(x @ w) + hnp.sum((2 * x) @ w)).backward()
            return hpcad.grad(lambda v: (x @ v + (3 * x) @ v).sum())(np.ones((6, 3)))

        def arguments(i):
            w.fresh = False
            return [X + i]

        return step, arguments, lambda: w.grad

    becomes_a_program(world)
