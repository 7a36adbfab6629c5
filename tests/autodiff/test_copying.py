"""Copying and pickling tensors, and transforms in generators that are left open."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import Parameter, grad, jvp
from hpcad.errors import DifferentiationError

X = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_has_the_history_of_its_original_and_not_its_assignments(copied):
    def f(x):
        y = x * 2.0
        before = copied({"y": y, "of": [copied(y)]})
        y[0] = 5.0
        return (y * (before["y"] if copied is copy.deepcopy else before["of"][0])).sum()

    expected = [10.0, 16.0, 24.0]
    np.testing.assert_allclose(grad(f)(X), expected)
    np.testing.assert_allclose(jvp(f, (X,), (np.ones(3),))[1], sum(expected))


def test_a_state_may_be_taken_apart_by_dataclasses():
    @dataclasses.dataclass
    class State:
        place: object
        speed: object

    def f(x):
        return sum((part**2).sum() for part in dataclasses.asdict(State(x, 2.0 * x)).values())

    np.testing.assert_allclose(grad(f)(X), 10 * X)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_backward_of_a_copy_reaches_the_parameters_of_the_original(copied):
    p = Parameter(X)
    h = p * 2.0
    other = copied(h)
    del h
    for _ in range(600):  # records of nobody are dropped
        p + 1.0
    (other * p).sum().backward()
    np.testing.assert_allclose(p.grad, 4 * X)


def test_a_deep_copy_of_a_constant_has_numbers_of_its_own():
    array = X.copy()
    constant = copy.deepcopy(hnp.asarray(array))
    array[0] = 50.0
    np.testing.assert_array_equal(constant, X)


def test_tensors_that_are_differentiated_are_not_pickled():
    constant = pickle.loads(pickle.dumps(hnp.asarray(X)))  # noqa: S301  (our own bytes)
    np.testing.assert_array_equal(constant, X)
    for pickled in (lambda x: pickle.dumps(x), lambda x: pickle.dumps(x * 2.0)):
        with pytest.raises(TypeError, match=r"cannot be pickled.*tensor\.numpy\(\)"):
            grad(lambda x, pickled=pickled: pickled(x))(X)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Parameter(X) * 2.0)


def test_a_tape_in_a_generator_may_end_inside_of_another_transform():
    def steps():
        with hpcad.Tape() as tape:
            a = tape.watch(X)
            y = (a * a).sum()
            yield
        yield tape.gradient(y, a)

    def f(x):
        y = x * x
        np.testing.assert_allclose(next(running), 2 * X)
        inner = grad(lambda u: (u * x).sum() * (u * u).sum())(np.ones(3))
        return (y * inner).sum()

    running = steps()
    expected = grad(lambda x: (x * x * (3 * x + 2 * x.sum())).sum())(X)
    next(running)
    np.testing.assert_allclose(grad(f)(X), expected)
    np.testing.assert_allclose(grad(lambda x: (x * x).sum())(X), 2 * X)


def test_a_tape_that_is_left_in_another_thread_is_an_error():
    def steps():
        with hpcad.Tape() as tape:
            yield tape.watch(X)

    def finish():
        with pytest.raises(DifferentiationError, match="entered in one thread and left in another"):
            next(running)
        finished.append(True)

    def begin():
        next(running)
        other = threading.Thread(target=finish)
        other.start()
        other.join()

    running, finished = steps(), []
    thread = threading.Thread(target=begin)  # of its own, as its traces stay as they are
    thread.start()
    thread.join()
    assert finished
