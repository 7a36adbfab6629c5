"""Recomputation gives the same derivatives of every order, and runs as often as it should."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import nn
from hpcad.autodiff import (
    Parameter,
    grad,
    jvp,
    linearize,
    no_grad,
    remat,
    remat_sequence,
    remat_while,
    unguarded,
    vjp,
)
from hpcad.autodiff.recomputation.revolve import runs
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import CONSTANT
from hpcad.errors import DifferentiationError

X = np.linspace(-1.0, 1.2, 5)
V = np.array([1.0, -2.0, 0.5, 3.0, 1.0])


def body(x):
    return hnp.sin(x) * hnp.exp(0.3 * x)


class Counted:
    """The body, counting its runs."""

    runs = 0

    def __call__(self, x):
        self.runs += 1
        return body(x)


def plain(x):
    for _ in range(4):
        x = body(x)
    return x


def loop(x):
    return remat_while(lambda s: s[1] < 4, lambda s: (body(s[0]), s[1] + 1), 2)((x, 0))[0]


def nested(x):
    return remat(lambda x: remat(body)(remat(body)(x)))(remat(lambda x: body(body(x)))(x))


VARIANTS = {
    "remat": lambda x: remat(body)(remat(body)(remat(body)(remat(body)(x)))),
    "whole": remat(plain),
    "nested": nested,
    "sequence": remat_sequence((body, 4), 2),
    "list": remat_sequence([body] * 4, 1),
    "of remat": remat_sequence((remat(body), 4), 2),
    "in remat": remat(remat_sequence((body, 4), 2)),
    "disk": remat_sequence((body, 4), 1, disk_slots=2),
    "while": loop,
}

DERIVATIVES = {
    "grad": lambda f: grad(lambda x: f(x).sum())(X),
    "jvp": lambda f: jvp(f, (X,), (V,))[1],
    "vjp": lambda f: vjp(f, X)[1](V)[0],
    "linearize": lambda f: linearize(f, X)[1](V),
    "grad of grad": lambda f: grad(lambda x: (grad(lambda y: f(y).sum())(x) * V).sum())(X),
    "jvp of grad": lambda f: jvp(grad(lambda x: f(x).sum()), (X,), (V,))[1],
    "grad of jvp": lambda f: grad(lambda x: jvp(f, (x,), (V,))[1].sum())(X),
    "jvp of jvp": lambda f: jvp(lambda x: jvp(f, (x,), (V,))[1], (X,), (V,))[1],
    "third": lambda f: grad(
        lambda x: (grad(lambda y: (grad(lambda z: f(z).sum())(y) * V).sum())(x) * V).sum()
    )(X),
    "grad of jvp of grad": lambda f: grad(
        lambda x: (jvp(grad(lambda y: f(y).sum()), (x,), (V,))[1] * V).sum()
    )(X),
}


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_derivatives_of_all_kinds_are_those_without_recomputation(variant, derivative):
    take = DERIVATIVES[derivative]
    np.testing.assert_allclose(take(VARIANTS[variant]), take(plain), rtol=1e-12, atol=1e-14)
    assert STATE.depth == 0
    assert STATE.traces == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_values_are_those_without_recomputation(variant):
    np.testing.assert_array_equal(VARIANTS[variant](X), plain(X))
    assert isinstance(VARIANTS[variant](X), np.ndarray)


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_get_their_gradients(variant):
    gradients = []
    for f in (plain, VARIANTS[variant]):
        p = Parameter(X.copy())
        (f(p * 2.0) * p).sum().backward()
        gradients.append(p.grad)
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-13)


# -- remat ----------------------------------------------------------------------------------


def test_the_function_runs_once_more_and_only_for_the_backward_pass():
    f = Counted()
    _, pullback = vjp(remat(f), X)
    assert f.runs == 1
    pullback(V)
    assert f.runs == 2
    again = pullback(V)[0]
    assert f.runs == 3
    np.testing.assert_array_equal(again, vjp(body, X)[1](V)[0])
    jvp(remat(f), (X,), (V,))
    assert f.runs == 4


def test_one_record_stands_for_the_function():
    p = Parameter(X.copy())
    y = remat(plain)(p)
    assert [record[0].name for record in y.follower.records] == ["remat"]
    (y * y).sum().backward()


def test_what_the_function_takes_from_outside_is_differentiated():
    w = Parameter(np.array(0.7))

    def value(x, wrap):
        outer = hnp.exp(x)
        return (wrap(lambda y: hnp.sin(y * w) * outer)(x * 2.0)).sum()

    expected = grad(lambda x: value(x, lambda f: f))(X)
    found = grad(lambda x: value(x, remat))(X)
    np.testing.assert_allclose(found.numpy(), expected.numpy())
    for wrap in (lambda f: f, remat):
        w.clear_grad()
        value(w, wrap).backward()
        np.testing.assert_allclose(w.grad, grad(lambda v: hnp.sin(2 * v * v) * hnp.exp(v))(0.7))


def test_trees_go_in_and_out_and_what_is_unused_costs_nothing():
    @remat
    def f(tree, *, scale):
        a, b = tree["a"], tree["b"]
        return {"sum": a + b, "scaled": (scale * a * a, None), "count": 3, "same": b}

    def value(tree):
        out = f(tree, scale=2.0)
        assert out["count"] == 3
        return (out["scaled"][0] * out["same"]).sum()

    found = grad(value)({"a": X, "b": V})
    np.testing.assert_allclose(found["a"], 4 * X * V)
    np.testing.assert_allclose(found["b"], 2 * X * X)


def test_methods_can_be_decorated():
    class Block(nn.Module):
        def __init__(self):
            self.first, self.second = nn.Linear(5, 7), nn.Linear(7, 5)

        @remat
        def forward(self, x):
            """Documented."""
            return self.second(nn.gelu(self.first(x)))

    assert Block.forward.__doc__ == "Documented."
    model = Block()
    model.initialize(seed=1)
    x = np.stack([X, V])
    (model(x) ** 2).sum().backward()
    found = {name: p.grad.copy() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.clear_grad()
    (Block.forward.__wrapped__(model, x) ** 2).sum().backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(found[name], p.grad, rtol=1e-12)


@pytest.mark.parametrize(
    "wrap", [remat, lambda f: remat_sequence((f, 3), 1)], ids=["remat", "sequence"]
)
def test_dropout_drops_the_same_elements_again(wrap):
    layer = nn.Dropout(0.5)
    x = np.random.default_rng(0).normal(size=(8, 20))

    def gradient(wrap):
        with nn.training_step(seed=3, step=5):
            _, pullback = vjp(lambda x: wrap(lambda y: layer(hnp.sin(y)))(x), x)
        return pullback(np.ones_like(x))[0]  # outside of the step

    three = (lambda f: lambda x: f(f(f(x)))) if wrap is not remat else (lambda f: f)
    np.testing.assert_array_equal(gradient(wrap), gradient(three))


def test_a_gradient_is_announced_once_and_after_the_second_run():
    events = []

    class Sink:
        def seed_scale(self):
            return 1.0

        def look(self):
            pass

        def ready(self, parameter):
            events.append(parameter.name)

        def finish(self):
            events.append("finish")

    w, b = Parameter(X.copy(), "w"), Parameter(V.copy(), "b")
    w.sink = b.sink = Sink()

    def f(x):
        events.append("run")
        return hnp.sin(x * w) + w * b

    y = remat_sequence((f, 3), 1)(remat(f)(b))
    (y * b).sum().backward()
    assert events.count("w") == events.count("b") == 1
    assert events[-1] == "finish"
    assert events.index("w") > len(events) - 1 - events[::-1].index("run")
    assert events.count("run") == runs(3, 1) + 2


def test_two_losses_on_one_tape():
    p = Parameter(X.copy())
    shared = remat(body)(p)
    one, two = remat(body)(shared).sum(), (shared * V).sum()
    (one + two).backward()
    expected = grad(lambda x: body(body(x)).sum() + (body(x) * V).sum())(X)
    np.testing.assert_allclose(p.grad, expected)
    a, b = remat(body)(p).sum(), remat(plain)(p).sum()
    p.clear_grad()
    b.backward()
    np.testing.assert_allclose(p.grad, DERIVATIVES["grad"](plain))
    p.clear_grad()
    a.backward()
    np.testing.assert_allclose(p.grad, DERIVATIVES["grad"](body))


@pytest.mark.parametrize("variant", ["remat", "sequence", "while", "disk"])
def test_retained_records_can_be_pulled_again(variant):
    p = Parameter(X.copy())
    loss = VARIANTS[variant](p).sum()
    gradients = []
    for retain in (True, True, False):
        p.clear_grad()
        loss.backward(retain=retain)
        gradients.append(p.grad.copy())
    for found in gradients:
        np.testing.assert_allclose(found, DERIVATIVES["grad"](plain))


def test_without_recording_the_function_just_runs():
    p = Parameter(X.copy())
    f = Counted()
    with no_grad():
        y = remat(f)(p)
        z = remat_sequence((f, 5), 2)(p)
    assert f.runs == 6
    assert y.level == z.level == CONSTANT


def test_assignment_to_an_argument_inside_is_seen_outside_and_run_from_the_old_value():
    def f(x):
        x[1:3] = hnp.sin(x[2:4])
        return x * x

    def value(x, wrap):
        y = x * 1.0
        z = wrap(f)(y)
        return (z * y).sum()

    expected = grad(lambda x: value(x, lambda f: f))(X)
    np.testing.assert_allclose(grad(lambda x: value(x, remat))(X), expected)


def test_steps_may_assign_to_their_state():
    def step(x):
        x[1:4] = hnp.sin(x[2:5]) * x[0]
        return x * 1.01

    def value(x, run):
        return (run(x * 1.0) * V).sum()

    def three(x):
        return step(step(step(x)))

    expected = grad(lambda x: value(x, three))(X)
    found = grad(lambda x: value(x, remat_sequence((step, 3), 2)))(X)
    np.testing.assert_allclose(found, expected)


def test_transforms_inside_a_recomputed_function():
    def f(x):
        return x * grad(lambda y: (hnp.sin(y) * x).sum())(x * x)

    def value(x, f):
        return f(x * 1.0).sum()

    def second(f):
        return grad(lambda x: (grad(lambda y: value(y, f))(x) * V).sum())(X)

    for derivative in (lambda f: grad(lambda x: value(x, f))(X), second):
        np.testing.assert_allclose(derivative(remat(f)), derivative(f), rtol=1e-12)


def test_threads_do_not_meet():
    found = {}

    def work(number):
        x = X + 0.01 * number
        found[number] = grad(lambda y: remat_sequence((remat(body), 20), 3)(y).sum())(x)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        once = grad(lambda y: remat_sequence((body, 20), 3)(y).sum())(X + 0.01 * number)
        np.testing.assert_array_equal(found[number], once)


# -- what cannot be done says so ----------------------------------------------------------------


def test_a_tensor_that_left_otherwise_than_by_return_cannot_be_used():
    stored = []

    @remat
    def f(x):
        stored.append(hnp.exp(x))
        return hnp.sin(stored[-1])

    def used(x):
        return (f(x) * stored[-1]).sum()

    def returned(x):
        f(x)
        return stored[-1].sum()

    def as_is(x):
        f(x)
        return stored[-1]

    for bad in (used, returned):
        with pytest.raises(DifferentiationError, match="left a function under remat"):
            grad(bad)(X)
    with pytest.raises(DifferentiationError, match="left a function under remat"):
        vjp(as_is, X)
    with pytest.raises(DifferentiationError, match="left a function under remat"):
        used(Parameter(X.copy()))


CHANGES = {
    "other operations": (lambda x, n: hnp.sin(x) if n else hnp.sin(hnp.exp(x)), "operations"),
    "another shape": (lambda x, n: hnp.sin(x)[: 5 - n], r"float64\[4\] instead of float64\[5\]"),
    "other values": (lambda x, n: hnp.sin(x) * (1.0 + n), "other values"),
    "fewer results": (lambda x, n: (hnp.sin(x), 1.0 if n else hnp.cos(x)), "1 differentiable"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("wrap", [remat, lambda f: remat_sequence((f, 2), 1)])
def test_a_function_that_does_something_else_when_run_again_is_refused(wrap, change):
    function, message = CHANGES[change]
    count = []

    def f(x):
        x = x[0] if isinstance(x, tuple) else x
        count.append(1)
        return function(x, int(len(count) > 2))

    def value(x):
        y = wrap(f)(x * 1.0)
        return (y[0] if isinstance(y, tuple) else y).sum()

    count.append(1) if wrap is remat else None
    with pytest.raises(DifferentiationError, match=f"did not do the same.*{message}"):
        grad(value)(X)


def test_an_array_that_is_overwritten_before_the_second_run_is_noticed():
    for data in (X.copy(), np.asfortranarray(np.stack([X, V])).T[:, 0]):
        _, pullback = vjp(lambda x: remat(lambda x, d: hnp.sin(x + d))(x, data), X)  # noqa: B023
        data += 1.0
        with pytest.raises(DifferentiationError, match="changed in place"):
            pullback(V)
    data = X.copy()
    _, pullback = vjp(lambda x: remat(lambda x: hnp.sin(x + data))(x), X)
    data += 1.0
    with pytest.raises(DifferentiationError, match="other values"):
        pullback(V)
    with unguarded():
        _, pullback = vjp(lambda x: remat(lambda x: hnp.sin(x + data))(x), X)
        data += 1.0
        pullback(V)


def test_a_parameter_that_changed_is_noticed():
    p = Parameter(X.copy(), "p")
    loss = remat(lambda x: x + p)(p * 2.0).sum()
    p.assign(V)
    with pytest.raises(DifferentiationError, match="after remat had used its values"):
        loss.backward()


def test_backward_inside_is_refused():
    p = Parameter(X.copy())

    def f(x):
        (p * V).sum().backward()
        return x * p

    y = p * 2.0
    with pytest.raises(DifferentiationError, match="backward\\(\\) was called inside"):
        remat(f)(y)


def test_an_error_in_the_second_run_leaves_no_state_behind():
    p = Parameter(X.copy())
    for wrap in (remat, lambda f: remat_sequence((f, 3), 1)):
        count = []

        def f(x, count=count):
            count.append(1)
            if len(count) == 4:
                raise RuntimeError("once")
            return hnp.sin(x)

        loss = wrap(f)(wrap(f)(p) if wrap is remat else p).sum()
        with pytest.raises(RuntimeError, match="once"):
            loss.backward()
        assert STATE.depth == 0
        assert STATE.traces == []
        assert STATE.recording
        assert STATE.guarding
        p.clear_grad()
        (p * V).sum().backward()
        np.testing.assert_array_equal(p.grad, V)


# -- nothing is left behind ----------------------------------------------------------------------


def test_an_abandoned_forward_pass_is_freed_at_once():
    gc.disable()
    try:
        p = Parameter(np.ones(100))
        for run in (remat(plain), remat_sequence((body, 9), 3)):
            y = run(p * 2.0)
            value, tape = weakref.ref(y.value), weakref.ref(y.follower)
            del y
            assert value() is None
            assert tape() is None
    finally:
        gc.enable()


def test_numbers_that_changed_places_before_the_second_run_are_seen():
    weights = np.array([1.0, 3.0, 5.0])
    _, pullback = vjp(remat(lambda x: x * weights[:2]), np.ones(2))
    weights[:2] = [3.0, 1.0]
    with pytest.raises(DifferentiationError, match="other values"):
        pullback(np.ones(2))


@pytest.mark.parametrize("recomputed", [remat, lambda f: remat_sequence([f, hnp.sin], 1)])
def test_a_number_that_comes_out_otherwise_in_the_second_run_is_seen(recomputed):
    shift = np.ones(2)
    _, pullback = vjp(recomputed(lambda x: ((x + shift) ** 2).sum()), np.ones(2))
    shift[:] = 5.0
    with pytest.raises(DifferentiationError, match="other values"):
        pullback(1.0)
