"""Polynomials and weighted counts against NumPy, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp

rng = np.random.default_rng(4)


@pytest.mark.parametrize("degree", [0, 1, 4])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0)])
def test_polyval_equals_numpy(degree, shape):
    p, x = rng.standard_normal(degree + 1), rng.standard_normal(shape)
    np.testing.assert_allclose(hnp.polyval(p, x), np.polyval(p, x), rtol=1e-14)
    hpcad.check_grads(hnp.polyval, (p, x))


@pytest.mark.parametrize("columns", [None, 0, 1, 5])
@pytest.mark.parametrize("increasing", [False, True])
def test_vander_equals_numpy(columns, increasing):
    x = rng.standard_normal(4)
    found = hnp.vander(x, columns, increasing)
    np.testing.assert_allclose(found, np.vander(x, columns, increasing), rtol=1e-14)
    if columns != 0:
        hpcad.check_grads(lambda x: hnp.vander(x, columns, increasing), (x,))


def test_numpys_own_names_find_them():
    p, x = rng.standard_normal(3), 0.7
    slope = hpcad.grad(lambda x: np.polyval(p, x))(x)
    np.testing.assert_allclose(slope, np.polyval(np.polyder(p), x), rtol=1e-14)


def test_counts_are_linear_in_their_weights():
    index, weights = np.array([1, 0, 1, 4]), rng.standard_normal(4)
    for least in (0, 7):
        value, pullback = hpcad.vjp(lambda w, n=least: hnp.bincount(index, w, n), weights)
        np.testing.assert_allclose(value, np.bincount(index, weights, least), rtol=1e-14)
        w = rng.standard_normal(value.shape)
        np.testing.assert_array_equal(pullback(w)[0], w[index])
    hpcad.check_grads(lambda w: np.bincount(index, weights=w), (weights,))
