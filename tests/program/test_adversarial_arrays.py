"""Arrays that change behind the back of a program, and in front of it."""

from __future__ import annotations

import copy

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


# -- arrays of the user that NumPy changes -------------------------------------------------------


def test_an_array_that_the_function_changes_before_it_is_used():
    def world():
        count = np.zeros(6)

        def f(x):
            count[...] += 1.0
            return x * count

        return f, arrays(X), lambda: count

    stays_eager(world, "was changed by NumPy", "x * count")


def test_an_array_that_the_function_changes_after_it_is_used():
    def world():
        count = np.ones(6)

        def f(x):
            y = x * count
            count[...] += 1.0
            return y

        return f, arrays(X), lambda: count

    stays_eager(world, "was changed by NumPy", "")


def test_an_array_that_the_function_changes_and_changes_back():
    def world():
        count = np.ones(6)

        def f(x):
            y = x * count
            count[0] = 5.0
            z = x * count
            count[0] = 1.0
            return y, z

        return f, arrays(X)

    stays_eager(world, "was changed by NumPy", "z = x * count")


@pytest.mark.parametrize(
    "window", [lambda d: d[2], lambda d: d[:, 2][:6], lambda d: d[::2].T[:6, :1].T]
)
def test_a_window_on_an_array_of_the_user_is_looked_through_anew(window):
    def world():
        data = np.ones((8, 6))

        def f(x):
            return x * window(data)

        def arguments(i):
            data[...] = np.arange(48.0).reshape(8, 6) * (i > 1) + i
            return [X]

        return f, arguments

    becomes_a_program(world)


def test_an_array_that_is_made_in_the_call_and_returned_is_a_new_one_each_time():
    def world():
        def f(x):
            return x * 2, np.arange(3.0), hnp.ones(3)

        return f, arrays(X)

    becomes_a_program(world)
    compiled = lives(world)
    compiled(X)[1][...] = 7.0
    np.testing.assert_array_equal(compiled(X)[1], np.arange(3.0))


def test_an_array_of_the_user_that_is_returned_is_that_array():
    mine = np.ones(3)
    compiled = hpcad.compile(lambda x: (x * mine[0], mine), strict=True)
    for _ in range(4):
        assert compiled(X)[1] is mine


def changing(array, after):
    """Arguments that stay the same; before call 3 the array changes."""

    def arguments(i):
        if i == 3:
            array[...] = after
        return [X]

    return arguments


def test_indices_of_the_user_are_read_anew():
    def world():
        a, b, table = np.array([0, 1]), np.array([0, 1]), np.zeros((2, 6), int)
        w = Parameter(W)

        def f(x):
            w.fresh = False
            y = hnp.zeros(6)
            y[np.array([0, 1, 1])] = w[:3, 0] * x[0, :3]
            y[a] = y[2:4] * 2
            loss = (y * x[0]).sum() + hpcad.nn.cross_entropy(x[a], b) + (w[a] * w[b]).sum()
            loss.backward()
            along = hnp.take_along_axis(x, table, axis=0)
            return loss, x[a] + x[b] * 2, hnp.take(x, a, axis=1), along, x[:, b]

        def arguments(i):
            b[...] = [0, 1] if i < 3 else [2, 3]
            table[...] = i % 3
            w.fresh = False
            return [X]

        return f, arguments, lambda: w.grad

    becomes_a_program(world, calls=7)


def test_a_mask_of_the_user_is_read_anew():
    def world(after):
        mask = np.array([True, False, True, False])
        return lambda x: (x[mask], x[np.arange(4) % 2 == 0]), changing(mask, after)

    becomes_a_program(lambda: world([False, True, True, False]))
    reason = "made shape (2, 6) when it was captured, and later (1, 6)"
    stays_eager(lambda: world([False, True, False, False]), reason, "x[mask]")


def compressing(x, mask):
    return hnp.compress(mask, x, axis=0), hnp.where(mask[:, None], x, 0)


def repeating(x, counts):
    return hnp.repeat(x, counts, axis=0)


def deleting(x, places):
    return hnp.delete(x, places, axis=1)


@pytest.mark.parametrize(
    ("f", "before", "after"),
    [
        (compressing, [True, False, True, False], [False, True, True, True]),
        (repeating, [1, 2, 0, 1], [0, 1, 1, 1]),
        (deleting, [1, 2], [2, 3]),
    ],
)
def test_an_array_of_the_user_that_decides_what_is_done_is_looked_at_each_time(f, before, after):
    def world():
        array = np.array(before)
        return lambda x: f(x, array), changing(array, after)

    becomes_a_program(world, calls=7)


# -- arrays that are changed in place ------------------------------------------------------------


def assigning(x):
    x[0] = 0
    return x.sum(axis=0)


def adding(x):
    x += 1
    return x * 2


def sorting(x):
    x.sort(axis=0)
    return x * 1


@pytest.mark.parametrize("f", [assigning, adding, sorting])
def test_an_argument_that_is_changed_in_place_is_changed(f):
    def world():
        given = []

        def arguments(i):
            given[:] = [X[::-1] + i]
            return given

        return f, arguments, lambda: given

    stays_eager(world, "changed in place", "x")


def through_a_row(x):
    y = x * 2
    y[:2][0] = 7
    return y


def through_the_transpose(x):
    y = x * 1
    y.T[0] = 5
    return y


def through_another_name(x):
    y = (x * 1).sum(keepdims=True).reshape(())
    z = y
    z += 1
    return y, z


@pytest.mark.parametrize("f", [through_a_row, through_the_transpose, through_another_name])
def test_an_array_that_is_changed_through_a_view_is_changed(f):
    stays_eager(lambda: (f, arrays(X)), "changed in place", "=")


def test_arrays_that_nobody_else_sees_are_changed_in_programs():
    def f(x):
        y = (x * 2).reshape(24)
        y[0] = 7
        y += 1
        z = y
        z[1:3] = z[3:5] * 2
        rows = list(x * 3)
        return y, z, rows

    becomes_a_program(lambda: (f, arrays(X)))


def test_tensors_are_changed_without_changing_what_was_computed_from_them():
    def world():
        w = Parameter(W)

        def f(x):
            y = hpcad.autodiff.tensor(x) * 2
            detached, other = y.detach(), copy.copy(y)
            loss = (hnp.exp(y * w[:, 0])).sum()
            y += 7
            detached[0] = 1
            other[1] = 2
            window = hnp.zeros((4, 6))
            window[...] = x
            window[0] = y[0]
            loss.backward()
            return loss, y, detached, other, window, w.detach()

        return f, arrays(X / 9), lambda: w.grad

    becomes_a_program(world)


def test_a_place_that_is_assigned_to_may_be_another_one_in_each_call():
    def f(place):
        y = hnp.zeros(6)
        y[place] = 1.0
        return y

    becomes_a_program(lambda: (f, lambda i: [np.array([0 if i < 2 else i])]))


def test_a_tape_sees_that_its_array_was_changed():
    def world():
        w = Parameter(W)

        def f(x):
            y = x * 2
            loss = (y @ w).sum()
            y[0] = 7
            loss.backward()

        return f, arrays(X)

    lives(world)


def test_derivatives_of_constants_at_places_that_are_arguments():
    table = np.arange(12.0).reshape(3, 4)

    def picked(t, rows, columns):
        part = t[::-2, columns]
        return (part * 2).sum() + (t[rows] * t[rows]).sum() + part.sum()

    def f(rows, columns):
        slope = hpcad.grad(picked)(table, rows, columns)
        fixed = hpcad.grad(picked)(table, np.array([0, 0]), np.array([1, 1, 2]))
        return slope, fixed, hpcad.jvp(lambda t: t[rows], (table,), (table,))

    becomes_a_program(lambda: (f, lambda i: [np.array([0, i % 3]), np.array([i % 4, 0, 0])]))
