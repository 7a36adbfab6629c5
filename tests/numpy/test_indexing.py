"""Picking and placing: take, take_along_axis, put_along_axis, choose, select, x.at."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import grad
from hpcad.autodiff import check_grads
from hpcad.backend.numpy_backend import NumpyBackend
from hpcad.errors import OutOfBoundsError, ShapeError

X = np.array([[0.5, 1.5, 2.5], [1.0, 3.0, 2.0]])
ROWS = np.array([[0, 2, 2, 1], [-1, 0, 0, 1]])
MASK = X > 1.2


@pytest.mark.parametrize(
    ("f", "reference"),
    [
        (lambda x: hnp.take(x, [2, 0, 2], axis=1), lambda x: np.take(x, [2, 0, 2], axis=1)),
        (lambda x: hnp.take(x, [[5], [0]]), lambda x: np.take(x, [[5], [0]])),
        (lambda x: hnp.take(x, 1, axis=-1), lambda x: np.take(x, 1, axis=-1)),
        (lambda x: hnp.take_along_axis(x, ROWS), lambda x: np.take_along_axis(x, ROWS, 1)),
        (
            lambda x: hnp.take_along_axis(x, np.array([[1, 0, 1]]), axis=0),
            lambda x: np.take_along_axis(x, np.array([[1, 0, 1]]), axis=0),
        ),
        (
            lambda x: hnp.take_along_axis(x, np.array([5, 5]), axis=None),
            lambda x: np.take_along_axis(x, np.array([5, 5]), axis=None),
        ),
        (lambda x: hnp.compress([True, False, True], x, axis=1), lambda x: x[:, [0, 2]]),
        (lambda x: hnp.extract(MASK, x), lambda x: np.extract(MASK, x)),
        (
            lambda x: hnp.select([MASK, X > 0.7], [x, x * x], -1.0),
            lambda x: np.select([MASK, X > 0.7], [x, x * x], -1.0),
        ),
        (
            lambda x: hnp.choose(np.array([0, 1, 2]), [x, x * x, -x]),
            lambda x: np.choose(np.array([0, 1, 2]), [x, x * x, -x]),
        ),
    ],
)
def test_picking_has_numpys_values_and_differentiates(f, reference):
    np.testing.assert_allclose(f(hnp.asarray(X)), reference(X), rtol=1e-14)
    check_grads(f, (X,), order=2)


@pytest.mark.parametrize(
    ("indices", "values", "axis"),
    [(ROWS[:, :2], np.ones((2, 2)) * 7, 1), (np.array([[1, 0, 1]]), X[:1], 0), ([5, 2], 9.0, None)],
)
def test_put_along_axis_returns_what_numpy_writes(indices, values, axis):
    expected = X.copy()
    np.put_along_axis(expected, np.asarray(indices), values, axis)
    np.testing.assert_array_equal(hnp.put_along_axis(X, indices, values, axis=axis), expected)
    v = np.asarray(values, float)
    check_grads(lambda x, v: hnp.put_along_axis(x, indices, v, axis=axis), (X, v), order=1)


def test_wrong_indices_are_named():
    with pytest.raises(OutOfBoundsError, match=r"float64\[3\]"):
        hnp.take(np.ones(3), 3)
    with pytest.raises(TypeError, match="must be integers"):
        hnp.take(np.ones(3), [0.5])
    with pytest.raises(ShapeError, match="need 2 axes"):
        hnp.take_along_axis(X, np.array([0]))
    with pytest.raises(ShapeError, match="do not fit 2 choices"):
        hnp.choose([2], [X[0], X[1]])
    with pytest.raises(ShapeError, match="1 conditions for 2 choices"):
        hnp.select([MASK], [X, X])


INDICES = [0, (1, 2), (slice(None), 1), MASK, np.array([1, 0, 1, 1]), ([0, 1, 0], [2, 2, 2])]
UFUNCS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "min": np.minimum,
    "max": np.maximum,
}


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("name", UFUNCS)
def test_at_applies_every_value_as_ufunc_at_does(name, index):
    x = X.copy()
    v = np.linspace(1.1, 1.3, X[index].size).reshape(X[index].shape)
    UFUNCS[name].at(x, index, v)
    tensor = hnp.asarray(X)
    np.testing.assert_allclose(getattr(tensor.at[index], name)(v), x, rtol=1e-14)
    np.testing.assert_array_equal(tensor, X)
    check_grads(lambda x, v: getattr(hnp.asarray(x).at[index], name)(v), (X + 0.01, v), order=1)


def test_at_sets_gets_and_applies():
    x = hnp.asarray(X)
    assert x.at[0, 1].set(9.0)[0].tolist() == [0.5, 9.0, 2.5]
    assert x.at[1].get().tolist() == [1.0, 3.0, 2.0]
    assert x.at[0].apply(hnp.square)[0].tolist() == [0.25, 2.25, 6.25]
    assert x.version == 0
    gradient = grad(lambda x: (x.at[0].apply(hnp.square) * 1.0).sum())(X)
    np.testing.assert_array_equal(gradient, [[1.0, 3.0, 5.0], [1.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("index", "plain"),
    [
        (hnp.asarray([1, 0]), [1, 0]),
        (hnp.asarray(1), 1),
        (np.int64(1), 1),
        (hnp.asarray([[True, False, True], [False] * 3]), [[True, False, True], [False] * 3]),
        ((hnp.asarray([0, 1]), slice(hnp.asarray(1), None)), ([0, 1], slice(1, None))),
        ((True, 0), (True, 0)),
        ([], []),
    ],
)
def test_indices_may_be_tensors(index, plain):
    np.testing.assert_array_equal(hnp.asarray(X)[index], X[plain])
    check_grads(lambda x: hnp.asarray(x)[index], (X,), order=1)


@pytest.mark.parametrize("index", [3, slice(1, 4), np.array([0, 0, 5]), (2, None)])
def test_reading_again_and_again_adds_to_one_cotangent(index, monkeypatch):
    """From the third read on, backward writes into the buffer and makes no array of the size."""
    made = []
    real = NumpyBackend.zeros
    monkeypatch.setattr(NumpyBackend, "zeros", lambda *a: made.append(a[1]) or real(*a))
    x = np.arange(1.0, 7.0)

    def f(x):
        total = 0.0
        for k in range(10):
            total = total + (k * x[index] ** 2).sum()
        return total

    found = grad(f)(x)
    assert len([shape for shape in made if shape == x.shape]) == 2
    expected = np.zeros(6)
    np.add.at(expected, index, 90 * x[index])
    np.testing.assert_allclose(found, expected, rtol=1e-14)
