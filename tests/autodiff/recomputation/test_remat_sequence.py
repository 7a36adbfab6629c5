"""Chains and loops with few stored states: the runs they take, and the derivatives they give."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.autodiff import Parameter, grad, jvp, remat, remat_sequence, remat_while
from hpcad.autodiff.recomputation.revolve import runs
from hpcad.errors import DifferentiationError

X = np.linspace(-1.0, 1.2, 5)
V = np.array([1.0, -2.0, 0.5, 3.0, 1.0])
KNOWN = {(10, 3): 25, (20, 4): 59, (50, 5): 172, (100, 8): 345}  # Griewank and Walther, 2000


class Counted:
    """A step that counts its runs."""

    def __init__(self, step=lambda x: hnp.sin(x) * 1.1 + 0.1 * x):
        self.step = step
        self.runs = 0

    def __call__(self, *args):
        self.runs += 1
        return self.step(*args)


def body(x):
    return hnp.sin(x) * hnp.exp(0.3 * x)


@pytest.mark.parametrize(("case", "total"), KNOWN.items())
@pytest.mark.parametrize("mode", ["grad", "backward"])
def test_a_gradient_runs_the_step_as_often_as_revolve_proves_necessary(case, total, mode):
    steps, slots = case
    step = Counted()
    if mode == "grad":
        grad(lambda x: remat_sequence((step, steps), slots)(x).sum())(X)
    else:
        remat_sequence((step, steps), slots)(Parameter(X.copy())).sum().backward()
    assert step.runs == total


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("slots", [1, 2, 7, 100])
def test_short_chains(steps, slots):
    step = Counted()
    found = grad(lambda x: (remat_sequence((step, steps), slots)(x) * V).sum())(X)
    assert step.runs == runs(steps, slots)

    def by_hand(x):
        for _ in range(steps):
            x = step.step(x)
        return (x * V).sum()

    np.testing.assert_allclose(found, grad(by_hand)(X))


def test_different_steps_run_in_order():
    steps = [lambda x, k=k: hnp.sin(x * k) + k for k in range(1, 7)]

    def by_hand(x):
        for step in steps:
            x = step(x)
        return x.sum()

    found = grad(lambda x: remat_sequence(steps, 2)(x).sum())(X)
    np.testing.assert_allclose(found, grad(by_hand)(X))


def test_states_are_trees_and_steps_use_parameters_and_outer_tensors():
    def value(p, run_steps):
        outer = hnp.exp(p * 0.1)

        def step(state):
            position, momentum, time, history = *state["qp"], state["t"], state["h"]
            assert isinstance(time, int)
            momentum = momentum - 0.1 * position * p
            return {
                "qp": (position + 0.1 * momentum * outer, momentum),
                "t": time + 1,
                "h": outer if time == 3 else history,
            }

        first = {"qp": (X, np.zeros(5)), "t": 0, "h": None}
        last = run_steps(step)(first)
        return (last["qp"][0] * last["qp"][1] + last["h"]).sum()

    def by_hand(step):
        def run(state):
            for _ in range(12):
                state = step(state)
            return state

        return run

    def chained(step):
        return remat_sequence((step, 12), 3)

    def looped(step):
        return remat_while(lambda state: state["t"] < 12, step, 3)

    expected = grad(lambda p: value(p, by_hand))(V)
    for run_steps in (chained, looped):
        np.testing.assert_allclose(grad(lambda p: value(p, run_steps))(V), expected)  # noqa: B023
        p = Parameter(V.copy())
        value(p, run_steps).backward()
        np.testing.assert_allclose(p.grad, expected)
        second = grad(lambda p: (grad(lambda q: value(q, run_steps))(p) * X).sum())(V)  # noqa: B023
        wanted = grad(lambda p: (grad(lambda q: value(q, by_hand))(p) * X).sum())(V)
        np.testing.assert_allclose(second, wanted, rtol=1e-10)


def test_a_step_that_turns_to_an_inner_transform_only_later():
    """The chain has begun on the outer tape when step 3 uses a tensor of the inner one."""

    def value(x, run):
        def inner(y):
            def step(state):
                z, number = state
                return (hnp.sin(z * x) if number < 3 else z * y, number + 1)

            return run(step)((x, 0))[0].sum()

        return (grad(inner)(x * 2.0) * V).sum()

    def by_hand(step):
        def run(state):
            for _ in range(6):
                state = step(state)
            return state

        return run

    expected = grad(lambda x: value(x, by_hand))(X)
    found = grad(lambda x: value(x, lambda step: remat_sequence((step, 6), 2)))(X)
    np.testing.assert_allclose(found, expected)


def test_a_chain_that_is_differentiated_through_a_closure_only_runs_no_step_more():
    step = Counted(lambda x: hnp.sin(x) * 0.9)

    def value(p):
        return remat_sequence((lambda x: step(x) + p, 20), 4)(X).sum()

    found = grad(value)(V)
    assert step.runs == KNOWN[20, 4]
    expected = grad(lambda p: remat_sequence((lambda x: step(x) + p, 20), 20)(X).sum())(V)
    np.testing.assert_allclose(found, expected)


def test_a_part_of_the_state_that_only_passes_through_gets_its_gradient():
    def run(state):
        return remat_sequence((lambda s: (hnp.sin(s[0]), s[1]), 5), 2)(state)

    def value(x, m):
        last, mass = run((x, m))
        return (last * mass).sum()

    gradients = grad(value, argnums=(0, 1))(X, V)
    sine = X
    for _ in range(5):
        sine = np.sin(sine)
    np.testing.assert_allclose(gradients[1], sine)
    m = Parameter(V.copy())
    value(X, m * 1.0).backward()
    np.testing.assert_allclose(m.grad, sine)


@pytest.mark.parametrize("chained", [False, True])
def test_assigning_to_a_constant_or_dual_argument_spoils_no_second_run(chained):
    def step(state):
        x, filled = state
        filled[1:3] = hnp.sin(x[1:3])
        x[0] = x[1] * x[2]
        return x * x, filled * 2.0

    def value(x, run):
        state = run(run((x * 1.0, hnp.zeros(5))))
        return (state[0] * state[1]).sum()

    def twice(state):
        return step(step(state))

    wrapped = remat_sequence((step, 2), 1) if chained else remat(twice)
    for derivative in (
        lambda s: grad(lambda x: value(x, s))(X),
        lambda s: jvp(grad(lambda x: value(x, s)), (X,), (V,))[1],
        lambda s: grad(lambda x: jvp(lambda y: value(y, s), (x,), (V,))[1])(X),
    ):
        np.testing.assert_allclose(derivative(wrapped), derivative(twice), rtol=1e-12)


def test_complex_and_single_precision_states():
    for dtype in (np.complex128, np.float32):
        x = (X + 0.1j * V).astype(dtype) if dtype == np.complex128 else X.astype(dtype)

        def norm(z):
            return (hnp.abs(z) ** 2).sum()

        found = grad(lambda z: norm(remat_sequence((body, 4), 2)(z)))(x)
        expected = grad(lambda z: norm(body(body(body(body(z))))))(x)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((body, 3), 0), "slots must be a whole number, at least 1, not 0"),
        (((body, -1), 2), "number of steps must be .* at least 0"),
        (([body, 3.0], 2), "step 1 is a float, not a function"),
        ((body, 2), "steps is a function; pass a sequence of functions"),
        (((body, 3), 2.0), "slots must be a whole number"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(DifferentiationError, match=message):
        remat_sequence(*arguments)


# -- loops of unknown length --------------------------------------------------------------------


def newton(a, run):
    def step(state):
        x, _ = state
        following = 0.5 * (x + a / x)
        return following, x

    def goes_on(state):
        return (abs(state[0] - state[1]) > 1e-13).any()

    return run(goes_on, step, (a * 1.0, a * 0.0))[0]


def by_while(goes_on, step, state):
    while goes_on(state):
        state = step(state)
    return state


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_loop_that_ends_when_it_has_converged(slots):
    a = np.array([2.0, 700.0])

    def run(goes_on, step, state):
        return remat_while(goes_on, step, slots)(state)

    found = grad(lambda a: newton(a, run).sum())(a)
    np.testing.assert_array_equal(found, grad(lambda a: newton(a, by_while).sum())(a))
    np.testing.assert_allclose(found, 0.5 / np.sqrt(a))


def test_the_condition_leaves_no_record():
    p = Parameter(np.array([0.5, 0.9]))
    y = remat_while(lambda x: (x * p).sum() < 30.0, lambda x: x * 1.5, 2)(p * 1.0)
    assert [record[0].name for record in y.follower.records] == [
        "multiply",
        "remat_sequence",
        "multiply",
    ]
    y.sum().backward()
    assert len(set(np.round(p.grad, 12))) == 1
