"""What users get from a transform or a tensor is theirs: changing it changes no derivative."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.autodiff import Parameter, grad, jacobian, jvp, linearize, no_grad, vjp

X = np.array([1.0, 2.0, 3.0])


def test_the_value_beside_a_pullback_may_be_changed():
    value, pullback = vjp(hnp.exp, X)
    value -= 5.0
    np.testing.assert_allclose(pullback(np.ones(3))[0], np.exp(X))


def test_part_of_the_value_beside_a_pullback_may_be_changed():
    value, pullback = vjp(lambda x: hnp.exp(x)[:2], X)
    value[...] = 0.0
    np.testing.assert_allclose(pullback(np.ones(2))[0], [*np.exp(X[:2]), 0.0])


def test_the_value_of_the_identity_is_not_the_array_that_went_in():
    x = X.copy()
    value, _ = vjp(lambda x: x, x)
    value *= 2.0
    np.testing.assert_array_equal(x, X)


def test_auxiliary_results_beside_a_pullback_may_be_changed():
    def f(x):
        y = hnp.exp(x)
        return (y * y).sum(), {"y": y}

    _, pullback, aux = vjp(f, X, has_aux=True)
    aux["y"][...] = 0.0
    np.testing.assert_allclose(pullback(1.0)[0], 2 * np.exp(2 * X))


def test_the_value_beside_a_pushforward_may_be_changed():
    value, pushforward = linearize(hnp.exp, X)
    value *= 2.0
    np.testing.assert_allclose(pushforward(np.ones(3)), np.exp(X))


@pytest.mark.parametrize("convert", [lambda t: t.numpy(), np.asarray])
def test_the_array_of_a_detached_tensor_cannot_be_written(convert):
    def f(x):
        y = hnp.exp(x)
        with pytest.raises(ValueError, match="read-only"):
            convert(y.detach())[0] = 0.0
        return y.sum()

    np.testing.assert_allclose(grad(f)(X), np.exp(X))


def test_assigning_to_a_detached_tensor_leaves_the_tracked_one():
    def f(x):
        y = hnp.exp(x)
        constant = y.detach()
        constant[0] = 100.0
        return (y * constant).sum()

    np.testing.assert_allclose(grad(f)(X), np.exp(X) * [100.0, *np.exp(X[1:])])


def test_a_detached_tensor_is_exported_as_a_copy():
    p = Parameter(X.copy())
    exported = np.from_dlpack(p.detach())
    if exported.flags.writeable:
        exported[0] = 50.0
    np.testing.assert_array_equal(p.numpy(), X)


def test_an_index_given_as_a_tensor_may_be_changed_afterwards():
    index = np.array([0, 1, 2])

    def f(x):
        y = x[hnp.asarray(index)] * np.array([1.0, 2.0, 3.0])
        index[:] = 0
        return y.sum()

    np.testing.assert_array_equal(grad(f)(X), [1, 2, 3])


@pytest.mark.parametrize("f", [lambda x: x, lambda x: x[::-1], lambda x: hnp.reshape(x, (3, 1))])
def test_pushed_tangents_share_nothing_with_the_direction(f):
    direction = np.ones(3)
    _, pushforward = linearize(f, X)
    for pushed in (
        jvp(f, (X,), (direction,))[1],
        pushforward(direction),
        *pushforward_of_pair(f, direction),
    ):
        pushed[...] = 7.0
    np.testing.assert_array_equal(direction, np.ones(3))
    value, pushed = jvp(f, (X,), (X,))
    assert not np.shares_memory(value, pushed)


def pushforward_of_pair(f, direction):
    """Two results that could be one array."""
    _, pushforward = linearize(lambda x: (f(x), f(x)), X)
    first, second = pushforward(direction)
    assert not np.shares_memory(first, second)
    return first, second


@pytest.mark.parametrize("axis", [0, None])
@pytest.mark.parametrize("convert", [np.asarray, hnp.asarray])
def test_the_indices_of_put_along_axis_may_be_changed_afterwards(axis, convert):
    index = np.array([2, 0])

    def f(x):
        y = hnp.put_along_axis(x * x, convert(index), x[:2], axis=axis)
        index[:] = 1
        return (y * X).sum()

    np.testing.assert_array_equal(grad(f)(X), [3, 8 + 1, 0])


def test_the_places_to_delete_may_come_as_a_tensor():
    np.testing.assert_array_equal(hnp.delete(X, hnp.asarray([1])), [1, 3])
    np.testing.assert_array_equal(
        grad(lambda x: (hnp.delete(x, hnp.asarray([1])) ** 2).sum())(X), [2, 0, 6]
    )


def test_results_are_plain_arrays_also_where_a_parameter_is_used_under_no_grad():
    p = Parameter(X)
    with no_grad():
        value, pullback = vjp(lambda x: x * p, X)
        results = [
            value,
            *pullback(np.ones(3)),
            *jvp(lambda x: x * p, (X,), (np.ones(3),)),
            linearize(lambda x: x * p, X)[1](np.ones(3)),
            grad(lambda x: (x * p).sum())(X),
            jacobian(lambda x: x * p)(X),
        ]
    assert {type(x) for x in results} == {np.ndarray}
    np.testing.assert_array_equal(results[-2], X)
