"""What users get from a transform or a tensor is theirs: changing it changes no derivative."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.autodiff import Parameter, grad, linearize, vjp

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
