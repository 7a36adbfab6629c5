"""anomaly() names the operation and the forward line of the first NaN or infinity."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import nn
from hpcad.autodiff import Parameter
from hpcad.autodiff.state import STATE
from hpcad.errors import HpcadError, NonFiniteError


def norm(x):
    total = (x**2).sum()
    return hnp.sqrt(total)  # the derivative at 0 is infinite


def line_of(function, offset):
    return inspect.getsourcelines(function)[1] + offset


SQRT_LINE = line_of(norm, 2)
ZEROS, ONES = np.zeros(3), np.ones(3)


def caught(run, **options):
    with pytest.raises(NonFiniteError) as found, hpcad.anomaly(**options):
        run()
    assert STATE.observer is None
    return found.value


def test_a_value_is_blamed_on_the_operation_that_made_it():
    def f(x):
        y = x - 2.0
        z = hnp.log(y)
        return (z * 3.0).sum()

    error = caught(lambda: hpcad.grad(f)(np.array([[3.0, 2.5], [1.0, 0.0]])))
    assert (error.kind, error.primitive, error.line) == ("value", "log", line_of(f, 2))
    assert error.file == __file__
    for part in (
        "log made the first NaN of the forward pass",
        "z = hnp.log(y)",
        "float64[2, 2], 2 of 4 entries not finite, the first at [1, 0]: nan",
        "argument 0: float64[2, 2], finite, from -2 to 1",
    ):
        assert part in str(error)
    assert isinstance(error, HpcadError)
    assert isinstance(error, ArithmeticError)


def test_a_cotangent_is_blamed_on_the_forward_line():
    error = caught(lambda: hpcad.grad(norm)(ZEROS))
    assert (error.kind, error.primitive, error.line) == ("cotangent", "sqrt", SQRT_LINE)
    assert "the cotangent of argument 0: float64[], equal to inf" in str(error)
    assert "argument 0: float64[], finite, equal to 0.0" in str(error)
    assert "return hnp.sqrt(total)" in str(error)


def test_a_tangent_is_blamed_on_its_line():
    def f(x):
        return hnp.log1p(x * 1.0)

    error = caught(lambda: hpcad.jvp(f, (-1.0,), (1.0,)), values=False)
    assert (error.kind, error.primitive, error.line) == ("tangent", "log1p", line_of(f, 1))
    assert "its tangent: float64[], finite, equal to 1.0" in str(error)


def test_a_tangent_of_a_linearization_is_blamed_on_the_forward_line():
    def f(x):
        return hnp.log1p(x * 1.0)

    def run():
        _, push = hpcad.linearize(f, -1.0)
        push(1.0)

    error = caught(run, values=False)
    assert (error.kind, error.line) == ("tangent", line_of(f, 1))


def gradient_sum(x):
    return hpcad.grad(norm)(x).sum()


@pytest.mark.parametrize(
    "run",
    [
        lambda: hpcad.grad(gradient_sum)(ZEROS),
        lambda: hpcad.jvp(hpcad.grad(norm), (ZEROS,), (ONES,)),
        lambda: hpcad.hessian(norm)(ZEROS),
        lambda: hpcad.grad(lambda x: hpcad.jvp(gradient_sum, (x,), (ONES,))[1])(ZEROS),
    ],
    ids=["reverse over reverse", "forward over reverse", "hessian", "three deep"],
)
def test_nested_transforms_name_the_innermost_forward_line(run):
    error = caught(run)
    assert (error.kind, error.primitive, error.line) == ("cotangent", "sqrt", SQRT_LINE)


def test_what_parameters_record_is_watched():
    p = Parameter(ZEROS.copy(), "p")
    error = caught(lambda: norm(p).backward())
    assert (error.kind, error.line) == ("cotangent", SQRT_LINE)
    assert p.grad is None


def test_an_ambient_tape_that_existed_before_is_watched_meanwhile():
    p = Parameter(np.ones(3))
    before = p * 1.0
    error = caught(lambda: hnp.log(before - 1.0))
    assert (error.kind, error.primitive) == ("value", "log")
    assert before.follower.observer is None
    with np.errstate(divide="ignore"):
        assert hnp.log(before - 1.0).numpy()[0] == -np.inf  # nobody watches any more


def test_a_record_from_before_is_watched_when_it_is_walked():
    _, pullback = hpcad.vjp(norm, ZEROS)
    error = caught(lambda: pullback(1.0))
    assert (error.kind, error.primitive, error.line) == ("cotangent", "sqrt", 0)
    assert "a line that ran before anomaly() was entered" in str(error)


def test_a_trace_that_is_already_running_is_watched():
    def f(x):
        with hpcad.anomaly():
            return hnp.log(x)

    with pytest.raises(NonFiniteError):
        hpcad.grad(f)(0.0)


def test_the_sum_of_finite_cotangents_may_overflow():
    error = caught(lambda: hpcad.grad(lambda x: x * 1e308 + x * 1e308)(0.1))
    assert "the sum of the cotangents of several uses" in str(error)


def test_a_gradient_written_into_place_is_watched():
    layer = nn.Linear(1, 1)
    layer.initialize(seed=0)
    layer.weight.grad = np.zeros((1, 1), np.float32)
    x = np.full((1, 1), 1e20, np.float32)
    error = caught(lambda: layer(x).sum().backward(1e30))
    assert error.kind == "cotangent"
    assert error.primitive == "linear"


def test_a_nan_from_outside_is_not_reported_as_made_here():
    x = np.array([np.nan, 1.0])
    expected = "came in from outside: argument 0 of multiply"
    with pytest.warns(RuntimeWarning, match=expected) as seen, hpcad.anomaly():
        found = hpcad.grad(lambda x: (hnp.sin(x * 2.0) * x).sum())(x)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


def test_a_nan_made_of_infinities_from_outside_is_made_here():
    error = caught(lambda: hpcad.grad(lambda x: (x - np.inf).sum())(np.array([np.inf])))
    assert (error.kind, error.primitive) == ("value", "subtract")


def test_a_mask_of_infinities_is_not_reported():
    mask = np.array([True, False])
    with hpcad.anomaly():
        found = hpcad.grad(lambda x: hnp.where(mask, x, -np.inf).max())(np.ones(2))
    np.testing.assert_array_equal(found, [1, 0])


def test_infinities_can_be_left_out():
    with hpcad.anomaly(infinities=False):
        assert hpcad.grad(lambda x: -hnp.log(x))(np.array(0.0)) == -np.inf
    error = caught(lambda: hpcad.grad(lambda x: hnp.log(x) * x)(0.0), infinities=False)
    assert "NaN" in str(error)


def test_values_can_be_left_out_for_what_is_masked():
    def f(x):
        return hnp.where(x > 0, hnp.log(x), 0.0).sum()

    x = np.array([-1.0, 1.0])
    assert caught(lambda: hpcad.grad(f)(x)).kind == "value"
    with hpcad.anomaly(values=False):
        np.testing.assert_array_equal(hpcad.grad(f)(x), [0.0, 1.0])


def test_an_operation_with_several_answers_is_watched():
    error = caught(lambda: hpcad.grad(lambda x: hnp.unstack(1.0 / x)[0])(np.array([1.0, 0.0])))
    assert error.primitive == "divide"


def test_nothing_is_left_behind_by_an_error():
    for _ in range(2):
        assert caught(lambda: hpcad.grad(norm)(ZEROS)).line == SQRT_LINE
    with hpcad.anomaly():
        for _ in range(2):  # also when the block goes on after the error
            with pytest.raises(NonFiniteError) as found:
                hpcad.grad(gradient_sum)(ZEROS)
            assert found.value.line == SQRT_LINE
        np.testing.assert_allclose(hpcad.grad(norm)(ONES), ONES / np.sqrt(3))


def test_blocks_nest():
    with hpcad.anomaly():
        outer = STATE.observer
        with hpcad.anomaly(infinities=False):
            assert hpcad.grad(lambda x: -hnp.log(x))(0.0) == -np.inf
        assert STATE.observer is outer
    assert STATE.observer is None


def test_finite_programs_give_the_same_numbers():
    x = np.linspace(0.1, 1.0, 5)

    def f(x):
        return (hnp.tanh(x) ** 3 * hnp.exp(-x)).sum()

    expected = hpcad.grad(f)(x), hpcad.hessian(f)(x), hpcad.jvp(f, (x,), (x,))
    with hpcad.anomaly():
        found = hpcad.grad(f)(x), hpcad.hessian(f)(x), hpcad.jvp(f, (x,), (x,))
    for a, b in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert found[2] == expected[2]
