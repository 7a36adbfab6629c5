"""Objects, containers and names that a function uses and changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import Parameter

from .against_eager import becomes_a_program, lives, stays_eager

X = np.linspace(-2.0, 3.0, 24).reshape(4, 6)
W = np.linspace(0.5, 1.5, 18).reshape(6, 3)


def arrays(*given):
    """Arguments whose numbers are others in every call."""
    return lambda i: [x + i for x in given]


# -- containers and objects among the arguments --------------------------------------------------


def test_a_list_that_grows_and_a_dict_that_is_set():
    def world():
        kept, table = [], {}

        def f(kept, table, x):
            kept.append(x * 2)
            table["n"] = len(kept)
            table["x"] = (x, x * 3)
            return x

        return f, lambda i: [kept, table, X + i], lambda: (list(kept), dict(table))

    stays_eager(world, "an argument was changed, a list", "def f")


@dataclass
class State:
    x: Any
    count: int = 0

    def advance(self, step):
        self.count += 1
        self.x = self.x + step
        return self.x * 2


def test_a_dataclass_that_counts():
    def world():
        state = State(X)
        return State.advance, lambda i: [state, X + i], lambda: (state.x, state.count)

    stays_eager(world, "an argument was changed, a State", "def advance")


def test_the_same_array_twice_is_the_same_array():
    def f(a, b):
        return a * 2 if a is b else a * 3

    def arguments(i):
        x = X + i
        return [x, x if i < 4 else x.copy()]

    becomes_a_program(lambda: (f, arguments), calls=7)


def test_parameters_may_be_arguments():
    def world():
        w, frozen = Parameter(W), Parameter(W)
        frozen.freeze()

        def f(w, frozen, x):
            loss = hnp.tanh(x @ w).sum() + (x @ frozen).sum()
            loss.backward()
            return loss

        return f, lambda i: [w, frozen, X + i], lambda: w.grad

    becomes_a_program(world, calls=7)


def test_a_tensor_that_is_differentiated_is_no_constant():
    w = Parameter(W)
    f = hpcad.compile(lambda a: (a * 2).sum())
    for _ in range(4):
        f(hpcad.autodiff.tensor(W))
    f(w * 3).backward()
    np.testing.assert_array_equal(w.grad, np.full(W.shape, 6.0))


# -- names, attributes and elements that change --------------------------------------------------

SCALE = 2.0
TABLE = {"scale": 2.0}
WEIGHT = Parameter(W)
CONSTANT = hnp.ones(6)


class Settings:
    scale = 3.0

    def __init__(self):
        self.shift = 1.0
        self.model = Parameter(W)

    def apply(self, x):
        return self.scaled(x) + self.shift

    def scaled(self, x):
        return x * self.scale


def helper(x):
    return x * SCALE * TABLE["scale"]


def set_global(name, value):
    def change(_):
        globals()[name] = value

    return change


def set_attribute(name, value):
    return lambda settings: setattr(settings, name, value)


@pytest.mark.parametrize(
    "change",
    [
        set_global("SCALE", 5.0),
        lambda _: TABLE.__setitem__("scale", 7.0),
        set_global("WEIGHT", Parameter(W + 1)),
        lambda _: CONSTANT.__setitem__(0, 9.0),
        set_attribute("scale", 4.0),
        set_attribute("shift", -1.0),
        set_attribute("model", Parameter(2 * W)),
        lambda settings: settings.sizes.append(1),
    ],
)
def test_what_names_refer_to_is_looked_at_each_time(change, monkeypatch):
    for name, value in (("SCALE", SCALE), ("WEIGHT", WEIGHT), ("TABLE", {"scale": 2.0})):
        monkeypatch.setitem(globals(), name, value)
    monkeypatch.setitem(globals(), "CONSTANT", hnp.ones(6))
    settings, sizes = Settings(), [2.0, 3.0]
    settings.sizes = sizes

    def f(x):
        product = (x @ WEIGHT + x @ settings.model).detach()
        return helper(x) * CONSTANT + settings.apply(x), product, x * len(settings.sizes), sizes[0]

    compiled = hpcad.compile(f, strict=True, native=False)
    for i in range(7):
        if i == 3:
            change(settings)
            assert compiled.program is not None
        np.testing.assert_allclose(compiled(X + i)[0], f(X + i)[0], rtol=1e-12)
        np.testing.assert_allclose(compiled(X + i)[1].numpy(), f(X + i)[1].numpy(), rtol=1e-12)
        np.testing.assert_array_equal(compiled(X + i)[2], f(X + i)[2])


def test_a_function_that_counts_stays_eager():
    def world():
        settings, log, total = Settings(), [], 0

        def f(x):
            nonlocal total
            total += 1
            settings.shift += 1
            log.append("called")
            return settings.apply(x)

        return f, arrays(X), lambda: (settings.shift, list(log), total)

    stays_eager(world, "a program would not do that; pass it as an argument", "def f(x)")


def test_a_name_that_refers_to_another_thing_in_each_call_is_no_program():
    settings = Settings()
    compiled = hpcad.compile(lambda x: settings.apply(x))
    for i in range(20):
        settings.shift = float(i)
        np.testing.assert_array_equal(compiled(X), 3 * X + i)
    assert "'shift' refers to something else in call after call" in compiled.obstacles[0]


# -- calls that cannot be captured to their end --------------------------------------------------


class Askew(np.ndarray):
    """A kind of array of the user's."""


def attribute(x):
    return x * 2 if x.flags.c_contiguous else x


def caught(x):
    try:
        return x.strides[0] * x
    except AttributeError:
        return x * 3


def filled(x):
    y = x * 2
    np.fill_diagonal(y, 7.0)
    np.add(y, 1, out=y)
    return y


def other_kind(x):
    return x + np.ones(6).view(Askew)


@pytest.mark.parametrize("f", [attribute, caught, filled, other_kind])
def test_what_was_done_before_is_done_once(f):
    def world():
        w, fresh, rng = Parameter(W), Parameter(W), np.random.default_rng(0)
        fresh.grad, fresh.fresh = np.ones(W.shape), True

        def step(x):
            noise = rng.standard_normal(6) if f is not other_kind else 1.0
            (x @ w + x @ fresh).sum().backward()
            fresh.clear_grad()
            (x @ fresh).sum().backward()
            return f(x * noise)

        return step, arrays(X), lambda: [(p.grad, p.fresh) for p in (w, fresh)]

    assert lives(world).obstacles
