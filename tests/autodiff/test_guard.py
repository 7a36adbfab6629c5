"""Changing an array behind the tape is an error that says which and when, never a wrong number."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import optim
from hpcad.autodiff import Parameter, grad, unguarded, vjp
from hpcad.autodiff.guard import fingerprint
from hpcad.errors import DifferentiationError
from hpcad.models import MLP, MLPConfig

LAYOUTS = {
    "contiguous": lambda a: a,
    "fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1],
    "transposed": lambda a: a.T,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_constant_changed_before_the_pull_is_an_error(layout):
    w = LAYOUTS[layout](np.arange(12.0).reshape(3, 4))
    _, pullback = vjp(lambda x: hnp.sin(x) * w, np.ones(w.shape))
    pullback(np.ones(w.shape))
    w[0, 0] += 1
    with pytest.raises(DifferentiationError, match=r"multiply at .*test_guard\.py:\d+"):
        pullback(np.ones(w.shape))


def test_a_change_through_an_older_view_is_seen():
    base = np.ones(6)
    window = base[2:5]
    _, pullback = vjp(lambda x: x * window, np.ones(3))
    base[3] = 7.0
    with pytest.raises(DifferentiationError, match="changed in place"):
        pullback(np.ones(3))


def test_a_primal_changed_before_the_pull_is_an_error():
    x = np.ones(3)
    _, pullback = vjp(lambda t: t * t, x)
    x[0] = 5.0
    with pytest.raises(DifferentiationError, match=r"after the transform at .*test_guard"):
        pullback(np.ones(3))


def test_a_primal_changed_inside_the_function_is_an_error():
    x = np.ones(3)

    def f(t):
        y = (t * t).sum()
        x[1] = 4.0
        return y

    with pytest.raises(DifferentiationError, match="changed in place"):
        grad(f)(x)


def test_a_change_between_two_captures_is_an_error():
    w = np.ones(3)

    def f(t):
        y = t * w
        w[0] = 2.0
        return (y * w).sum()

    with pytest.raises(DifferentiationError, match="changed in place"):
        grad(f)(np.ones(3))


def test_an_array_that_no_rule_needs_may_change():
    w = np.ones(3)
    _, pullback = vjp(lambda x: x + w, np.zeros(3))
    w[0] = 9.0
    np.testing.assert_array_equal(pullback(np.ones(3))[0], 1)


def test_an_array_of_another_computation_may_change():
    """Evaluation outside no_grad captures a buffer that is filled again; training goes on."""
    p = Parameter(np.ones(3))
    buffer = np.ones(3)
    evaluated = (p * buffer).sum()
    buffer[:] = 2.0
    (p * np.full(3, 3.0)).sum().backward()
    np.testing.assert_array_equal(p.grad, 3.0)
    with pytest.raises(DifferentiationError, match="changed in place"):
        evaluated.backward()


def test_a_buffer_may_be_filled_again_between_the_steps_of_a_living_tape():
    p, q, batch = Parameter(np.ones(2)), Parameter(np.ones(2)), np.ones(2)
    others = [q * q, (q * batch).sum()]  # keep the tape and a record with the batch alive
    (p * batch).sum().backward()
    batch[0] = 5.0
    p.clear_grad()
    (p * batch).sum().backward()
    np.testing.assert_array_equal(p.grad, [5.0, 1.0])
    with pytest.raises(DifferentiationError, match="changed in place"):
        others[1].backward()


def test_an_inner_tape_keeps_an_outer_tensor_that_is_assigned_to_later():
    def f(x):
        y = x * 1.0
        _, pull = vjp(lambda z: z * y * y, np.ones(2))
        y[0] = 50.0
        return pull(np.ones(2))[0].sum()

    np.testing.assert_array_equal(grad(f)(np.array([3.0, 4.0])), [6.0, 8.0])


def test_guards_can_be_turned_off():
    w = np.ones(3)
    with unguarded():
        _, pullback = vjp(lambda x: x * w, np.ones(3))
    w[0] = 9.0
    assert pullback(np.ones(3))[0][0] == 9.0


def test_guards_do_not_keep_arrays_alive():
    def f(x):
        for k in range(400):
            x = x * np.full(3, 1.0 + k * 1e-6)
        return x

    value, pullback = vjp(f, np.ones(3))
    del value
    pullback(np.ones(3), retain=False)
    gc.collect()
    captured = [guard.array() for (guard,) in pullback.tape._captured.values()]
    assert sum(array is not None for array in captured) == 1  # the primal


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.int8, bool])
def test_fingerprints_depend_on_every_element(layout, dtype):
    a = LAYOUTS[layout](np.arange(12).reshape(3, 4).astype(dtype))
    before = fingerprint(a)
    assert fingerprint(a.copy(order="K")) == before
    for index in np.ndindex(a.shape):
        kept = a[index]
        a[index] = not kept
        assert (fingerprint(a) == before) == (a[index] == kept)
        a[index] = kept
    assert fingerprint(np.ones(())) != fingerprint(np.zeros(()))
    assert fingerprint(np.ones((0, 3))) == fingerprint(np.ones((0, 3)))


# -- parameters carry versions ---------------------------------------------------------------


def test_a_parameter_assigned_before_backward_is_an_error():
    p = Parameter(np.ones(3), "w")
    loss = (p * p).sum()
    p.assign(np.zeros(3))
    with pytest.raises(
        DifferentiationError,
        match=r"'w' of shape \(3,\) was changed by assign\(\) at .*test_guard\.py:\d+ "
        r"\(version 1\) after multiply had used its values of version 0",
    ):
        loss.backward()


def test_an_optimizer_step_before_backward_is_an_error():
    model = MLP(MLPConfig([4]), 3, 2).initialize(seed=0)
    optimizer = optim.SGD(model, learning_rate=0.1)
    x = np.ones((2, 3), np.float32)
    first, second = model(x).sum(), model(x).sum()
    first.backward()
    optimizer.step()
    with pytest.raises(DifferentiationError, match=r"changed by Optimizer\.step\(\)"):
        second.backward()
    model(x).sum().backward()


def test_nobody_writes_into_a_parameter_unseen():
    first = np.ones(3)
    p = Parameter(first)
    model = hpcad.nn.Linear(2, 2).initialize(seed=0)
    hpcad.optim.SGD(model, learning_rate=0.1)
    for array in (p.value, p.numpy(), p.detach().value, model.weight.value, model.bias.value):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 3.0
    loss = (p * p).sum()
    first[0] = 5.0
    loss.backward()
    np.testing.assert_array_equal(p.grad, [2.0, 2.0, 2.0])


def test_a_parameter_is_read_only_after_a_failed_assignment():
    p = Parameter(np.ones(2))
    with pytest.raises(ValueError, match="could not convert"):
        p.assign(np.array(["a", "b"]))
    assert not p.value.flags.writeable
    p.assign(np.zeros(2))
    np.testing.assert_array_equal(p.value, [0.0, 0.0])


def test_a_parameter_whose_values_no_rule_needs_may_change():
    p = Parameter(np.ones(3))
    loss = (p + 1.0).sum()
    p.assign(np.zeros(3))
    loss.backward()
    np.testing.assert_array_equal(p.grad, 1)


def test_old_and_new_values_of_a_parameter_on_one_tape():
    p = Parameter(np.ones(3))
    evaluated = (p * p).sum()  # stays alive
    p.assign(np.full(3, 2.0))
    (p * p).sum().backward()
    np.testing.assert_array_equal(p.grad, 4)
    with pytest.raises(DifferentiationError, match="version 0"):
        evaluated.backward()


def test_backward_can_be_repeated_when_the_records_are_retained():
    p = hpcad.Parameter(np.array([1.0, 2.0]))
    loss = (p * p).sum()
    loss.backward(retain=True)
    loss.backward()
    np.testing.assert_array_equal(p.grad, [4.0, 8.0])
    with pytest.raises(DifferentiationError, match="retain=True"):
        loss.backward()


def test_an_array_that_gets_its_old_values_back_does_not_speak_for_those_in_between():
    def alternating(x):
        sign, total = np.ones(3), 0.0
        for _ in range(4):
            total = total + x * sign
            sign *= -1
        return total.sum()

    with pytest.raises(DifferentiationError, match="changed in place"):
        grad(alternating)(np.ones(3))


def test_a_list_among_the_operands_may_be_changed_afterwards():
    def f(x):
        weights = [1.0, 2.0, 3.0]
        y = hnp.multiply(x, weights) + x * weights
        weights[0] = 100.0
        return y.sum()

    np.testing.assert_array_equal(grad(f)(np.ones(3)), [2, 4, 6])


@pytest.mark.parametrize("primal", [False, True])
def test_a_memory_mapped_array_is_guarded_like_others(tmp_path, primal):
    mapped = np.memmap(tmp_path / "numbers", float, "w+", shape=(3,))
    mapped[:] = [1, 2, 3]

    def f(x):
        y = x * mapped
        mapped[0] = 100
        return y.sum()

    with pytest.raises(DifferentiationError, match="changed in place"):
        grad(f)(mapped if primal else np.ones(3))


def test_a_parameter_changed_before_the_pull_of_a_transform_is_an_error():
    p = Parameter(np.ones(3), "w")
    _, at = vjp(lambda q: (q * q).sum(), p)
    _, around = vjp(lambda x: (x * p).sum(), np.ones(3))
    _, push = hpcad.linearize(lambda x: (x * p).sum(), np.ones(3))
    _, harmless = vjp(lambda x: (x + p).sum(), np.ones(3))
    with hpcad.no_grad():
        _, apart = vjp(lambda x: (x * p).sum(), np.ones(3))
    p.assign([5, 6, 7])
    for pull in at, around, apart:
        with pytest.raises(DifferentiationError, match=r"parameter 'w' .*changed by assign"):
            pull(1.0)
    with pytest.raises(DifferentiationError, match=r"parameter 'w' .*changed by assign"):
        push(np.ones(3))
    np.testing.assert_array_equal(harmless(1.0)[0], np.ones(3))


@pytest.mark.parametrize("make", [np.ma.masked_array, lambda a: a.view(np.matrix)])
def test_masked_arrays_and_matrices_are_refused(make):
    strange = make(np.ones((2, 2)))
    for call in (
        lambda: grad(lambda x: (x * x).sum())(strange),
        lambda: grad(lambda x: (x + strange).sum())(np.ones((2, 2))),
        lambda: grad(lambda x: hnp.matmul(x, strange).sum())(np.ones((2, 2))),
        lambda: hpcad.jvp(lambda x: x * strange, (np.ones((2, 2)),), (np.ones((2, 2)),)),
    ):
        with pytest.raises(DifferentiationError, match=r"cannot take part.*np\.asarray"):
            call()
