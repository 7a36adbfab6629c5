"""Differences, slopes, integrals, interpolation and convolution."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import grad
from hpcad.autodiff.numerical.check import check_grads
from hpcad.errors import ConfigError, ShapeError

rng = np.random.default_rng(15)
X = rng.standard_normal((3, 4, 5))
KNOTS = np.cumsum(rng.uniform(0.2, 1, 5))
HEIGHTS = rng.standard_normal(5)
PLACES = rng.uniform(-0.5, 4, (2, 3))


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_differences_are_those_of_numpy_and_differentiate(n, axis):
    ends = {"prepend": 1.0, "append": X} if n else {}
    np.testing.assert_array_equal(hnp.diff(X, n, axis), np.diff(X, n, axis))
    np.testing.assert_array_equal(hnp.diff(X, n, axis, **ends), np.diff(X, n, axis, **ends))
    check_grads(lambda x, y: hnp.diff(x, n, axis, prepend=y), [X, X], order=1)


def test_differences_of_booleans_are_changes():
    x = np.array([True, False, False, True])
    np.testing.assert_array_equal(hnp.diff(x), [True, False, True])
    ends = {"to_end": [7.0, 8.0], "to_begin": -1.0}
    np.testing.assert_array_equal(hnp.ediff1d(X, **ends), np.ediff1d(X, **ends))
    with pytest.raises(ConfigError, match="negative"):
        hnp.diff(X, -1)
    with pytest.raises(ShapeError, match="at least one dimension"):
        hnp.diff(1.0)


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("spacing", [(), (0.3,), (0.3, KNOTS[:4], 2.0)])
def test_slopes_are_those_of_numpy_and_differentiate(spacing, edge_order):
    expected = np.gradient(X, *spacing, edge_order=edge_order)
    answer = hnp.gradient(X, *spacing, edge_order=edge_order)
    for slope, other in zip(answer, expected, strict=True):
        np.testing.assert_allclose(slope, other, rtol=1e-12, atol=1e-12)
    check_grads(lambda x: hnp.gradient(x, *spacing, edge_order=edge_order), [X], order=1)
    with pytest.raises(ShapeError, match=f"at least {edge_order + 1} elements"):
        hnp.gradient(X[:edge_order], axis=0, edge_order=edge_order)


def test_slopes_differentiate_in_the_coordinates():
    check_grads(lambda f, t: hnp.gradient(f, t, axis=1, edge_order=2), [X, KNOTS[:4]], order=1)
    check_grads(lambda f, h: hnp.gradient(f, h, axis=(0, -1)), [X, np.array(0.3)], order=1)
    with pytest.raises(ConfigError, match="2 spacings for 3 axes"):
        hnp.gradient(X, 1, 2)
    with pytest.raises(ShapeError, match="4 coordinates are needed along axis 1"):
        hnp.gradient(X, KNOTS, axis=1)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_integrals_are_those_of_numpy_and_differentiate_in_everything(axis):
    t = np.cumsum(rng.uniform(0.2, 1, X.shape[axis]))
    for x in (None, t, X):
        np.testing.assert_allclose(
            hnp.trapezoid(X, x, 0.3, axis), np.trapezoid(X, x, 0.3, axis), rtol=1e-12
        )
    check_grads(lambda y, x: hnp.trapezoid(y, x, axis=axis), [X, t], order=2)
    check_grads(lambda y, h: hnp.trapezoid(y, dx=h, axis=axis), [X, np.array(0.3)], order=1)


@pytest.mark.parametrize("ends", [{}, {"left": -7.0, "right": 9.0}])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_interpolation_is_that_of_numpy(n, ends):
    x = np.concatenate([PLACES.ravel(), KNOTS, [np.nan, np.inf, -np.inf]])
    np.testing.assert_allclose(
        hnp.interp(x, KNOTS[:n], HEIGHTS[:n], **ends),
        np.interp(x, KNOTS[:n], HEIGHTS[:n], **ends),
        rtol=1e-13,
    )
    assert hnp.interp(0.5, KNOTS, HEIGHTS).shape == ()


def test_interpolation_differentiates_in_places_knots_and_heights():
    check_grads(hnp.interp, [PLACES, KNOTS, HEIGHTS], order=2)
    slopes = np.diff(HEIGHTS) / np.diff(KNOTS)
    along = grad(lambda x: hnp.interp(x, KNOTS, HEIGHTS).sum())
    np.testing.assert_allclose(along(KNOTS), [*slopes, 0])  # to the right; outside it is level
    np.testing.assert_array_equal(along(np.array([-1.0, 9.0])), 0)
    with pytest.raises(ShapeError, match="of one length"):
        hnp.interp(PLACES, KNOTS, HEIGHTS[:3])


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_convolutions_are_those_of_numpy(name, mode):
    for m in range(1, 7):
        for n in range(1, 7):
            x = rng.standard_normal(m) + 1j * rng.standard_normal(m)
            y = rng.standard_normal(n) + 1j * rng.standard_normal(n)
            np.testing.assert_allclose(
                getattr(hnp, name)(x, y, mode),
                getattr(np, name)(x, y, mode),
                rtol=1e-12,
                atol=1e-14,
            )


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_convolutions_differentiate_in_both(name, mode):
    x, y = rng.standard_normal(5), rng.standard_normal(3)
    check_grads(lambda x, y: getattr(hnp, name)(x, y, mode), [x, y + 1j], order=2)


def test_convolutions_say_what_they_take():
    with pytest.raises(ConfigError, match="'full', 'same' or 'valid'"):
        hnp.convolve(KNOTS, KNOTS, "circular")
    with pytest.raises(ShapeError, match="vectors that are not empty"):
        hnp.correlate(KNOTS[:0], KNOTS)
