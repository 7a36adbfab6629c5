"""A call that is captured ahead of its effects: the first run is already the program's."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import Parameter, nn, optim
from hpcad.autodiff.state import STATE, effect
from hpcad.errors import CaptureError
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

X = np.linspace(-1.0, 2.0, 12).reshape(4, 3)


def ahead(function, **options):
    return Compiled(function, Options(strict=True, ahead=True, **options))


def test_the_first_call_is_to_the_bit_what_later_ones_are():
    f = ahead(lambda x: hnp.log(hnp.exp(hnp.tanh(x)).sum(axis=1)))
    first = f(X)
    assert f.program.steps
    for _ in range(3):
        np.testing.assert_array_equal(f(X), first)


def test_effects_happen_once_a_call_and_in_order():
    done = []

    def f(x):
        effect(done.append, "before")
        y = x * 2.0
        effect(done.append, "after")
        return y

    program = ahead(f)
    for calls in range(1, 5):
        program(X)
        assert done == ["before", "after"] * calls


def test_a_training_step_updates_once_a_call():
    def make():
        model = nn.Linear(3, 2).initialize(1, np.float64)
        return model, optim.Adam(model, 0.1)

    def step(model, optimizer, x):
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    (fast, a), (slow, b) = make(), make()
    program = ahead(lambda x: step(fast, a, x))
    for i in range(5):
        found, expected = program(X + i), step(slow, b, X + i)
        np.testing.assert_allclose(float(found), float(expected), rtol=1e-12)
        assert a.step_count == b.step_count == i + 1
    np.testing.assert_allclose(fast.weight.value, slow.weight.value, rtol=1e-11)


def test_a_gradient_that_is_there_is_added_to_once():
    p = Parameter(np.ones(3))
    program = ahead(lambda x: (p * x).sum().backward())
    for calls in range(1, 5):
        program(X[0])
        np.testing.assert_allclose(p.grad, calls * X[0], rtol=1e-14)


def test_arrays_from_outside_are_read_anew():
    outside = np.ones(3)
    program = ahead(lambda x: x + outside)
    for i in range(4):
        outside[:] = i
        np.testing.assert_array_equal(program(X[0]), X[0] + i)


def test_a_number_that_changes_is_found_at_the_second_call():
    scales = iter([1.0, 2.0])
    program = ahead(lambda x: x * next(scales))
    np.testing.assert_array_equal(program(X), X)
    with pytest.raises(CaptureError, match=r"a number was 1\.0 in one call and 2\.0"):
        program(X)


def test_what_fails_under_the_capture_only_has_done_nothing_yet():
    p = Parameter(np.ones(3))

    def f(x):
        (p * x).sum().backward()
        if STATE.capture is not None:
            raise RuntimeError("a capture")
        return 1

    program = Compiled(f, Options(ahead=True, log=False))
    for calls in range(1, 4):
        assert program(X[0]) == 1
        np.testing.assert_allclose(p.grad, calls * X[0], rtol=1e-14)
    assert program.obstacles[0].startswith("RuntimeError: a capture")


def test_a_program_that_cannot_be_built_leaves_the_function_eager(monkeypatch):
    def broken(*_):
        raise RuntimeError("a gap in the compiler")

    monkeypatch.setattr("hpcad.program.compiled.build", broken)
    p = Parameter(np.ones(3))
    program = Compiled(lambda x: (p * x).sum().backward(), Options(ahead=True, log=False))
    for calls in range(1, 4):
        program(X[0])
        np.testing.assert_allclose(p.grad, calls * X[0], rtol=1e-14)
    assert "RuntimeError('a gap in the compiler')" in program.obstacles[0]


def test_nothing_may_be_computed_with_parameters_after_their_update():
    model = nn.Linear(3, 2).initialize(1)
    optimizer = optim.SGD(model, 0.1)

    def step(x):
        (model(x) ** 2).mean().backward()
        optimizer.step()
        return model(x).detach()

    with pytest.raises(CaptureError, match="goes on with parameters that it has changed"):
        ahead(step)(X.astype(np.float32))
