"""Tapes as contexts."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import Parameter
from hpcad.autodiff.state import STATE
from hpcad.errors import DifferentiationError, ShapeError

X = np.array([0.3, -0.8, 1.2])


def test_gradient_with_respect_to_one_array_and_to_a_tree():
    with hpcad.Tape() as tape:
        x = tape.watch(X)
        t = tape.watch({"k": 2.0, "l": [np.ones(3)]})
        y = (hnp.sin(x) * t["k"] * t["l"][0]).sum()
    assert STATE.depth == 0
    np.testing.assert_allclose(tape.gradient(y, x, retain=True), 2 * np.cos(X))
    found = tape.gradient(y, {"x": x, "t": t})
    np.testing.assert_allclose(found["t"]["k"], np.sin(X).sum())
    np.testing.assert_allclose(found["t"]["l"][0], 2 * np.sin(X))


def test_records_are_freed_unless_retained():
    with hpcad.Tape() as tape:
        x = tape.watch(X)
        y, z = (x * x).sum(), (x * 3.0).sum()
    tape.gradient(y, x)
    assert [record[0].name for record in tape.records] == ["multiply", "sum"]
    with pytest.raises(DifferentiationError, match="retain=True"):
        tape.gradient(y, x)
    np.testing.assert_allclose(tape.gradient(z, x, retain=True), np.full(3, 3.0))
    np.testing.assert_allclose(tape.gradient(z, x), np.full(3, 3.0))
    assert tape.records == []


def test_what_the_target_does_not_depend_on_gets_zeros():
    with hpcad.Tape() as tape:
        x, y = tape.watch(X), tape.watch(2.0)
        z = x.sum()
    assert tape.gradient(z, y, retain=True) == 0.0
    np.testing.assert_array_equal(tape.gradient(hpcad.tensor(3.0), x), np.zeros(3))


def test_seeds_and_targets_may_be_trees():
    with hpcad.Tape() as tape:
        x = tape.watch(X)
        y = {"a": x * 2.0, "b": (x * x).sum()}
    with pytest.raises(DifferentiationError, match="scalar target"):
        tape.gradient(y, x)
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        tape.gradient(y["a"], x, np.ones(2))
    found = tape.gradient(y, x, {"b": 1.0, "a": X}, retain=True)
    np.testing.assert_allclose(found, 4 * X)
    blocks = tape.jacobian(y, [x])
    np.testing.assert_allclose(blocks["a"][0], 2 * np.eye(3))
    np.testing.assert_allclose(blocks["b"][0], 2 * X)
    with pytest.raises(DifferentiationError, match="freed the records"):
        tape.jacobian(y, x)


def test_second_derivatives_by_two_tapes():
    with hpcad.Tape() as outer:
        x = outer.watch(X)
        with hpcad.Tape() as inner:
            z = inner.watch(x)
            y = (hnp.sin(z) * x).sum()
        slope = inner.gradient(y, z)  # cos(x) x
    np.testing.assert_allclose(
        outer.jacobian(slope, x), np.diag(np.cos(X) - X * np.sin(X)), atol=1e-15
    )


def test_tapes_nest_with_transforms_both_ways():
    def slope(x):
        with hpcad.Tape() as tape:
            z = tape.watch(x)
            y = z**3 * x
        return tape.gradient(y, z)  # 3 x^3

    assert hpcad.grad(slope)(2.0) == 36.0
    assert hpcad.jvp(slope, (2.0,), (1.0,))[1] == 36.0
    with hpcad.Tape() as tape:
        x = tape.watch(2.0)
        y = hpcad.grad(lambda z: z**3 * x)(x)
    assert tape.gradient(y, x) == 36.0


def test_gradient_may_be_asked_for_inside_the_block():
    with hpcad.Tape() as tape:
        x = tape.watch(3.0)
        y = x * x
        first = tape.gradient(y, x, retain=True)
        z = y * x
        second = tape.gradient(z, x)
    assert (first, second) == (6.0, 27.0)


def test_parameters_keep_their_ambient_tape():
    p = Parameter(np.array(2.0))
    with hpcad.Tape() as tape:
        x = tape.watch(3.0)
        y = x * x * p
    slope = tape.gradient(y, x)
    slope.backward()  # d/dp 2 x p
    assert p.grad == 6.0


def test_what_was_not_watched_is_refused():
    with hpcad.Tape() as tape:
        x = tape.watch(X)
        y = x * 2.0
        z = y.sum()
    for source in (X, y, hpcad.tensor(X)):
        with pytest.raises(DifferentiationError, match="told to watch"):
            tape.gradient(z, source, retain=True)
    with pytest.raises(DifferentiationError, match="inside of the tape's with block"):
        tape.watch(X)
    with hpcad.Tape() as other, pytest.raises(DifferentiationError, match=r"watched\[0\], whose"):
        other.watch([np.arange(3)])
    with hpcad.Tape() as other, pytest.raises(DifferentiationError, match="another tape"):
        other.gradient(z, x)


def test_a_changed_source_is_noticed():
    x0 = np.ones(3)
    with hpcad.Tape() as tape:
        x = tape.watch(x0)
        y = (x * x).sum()
    x0[0] = 5.0
    with pytest.raises(DifferentiationError, match="changed in place"):
        tape.gradient(y, x)
