"""Einsum against NumPy's, its derivatives, and where its floating-point operations are counted."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.autodiff import check_grads
from hpcad.backend import counted_flops
from hpcad.errors import ShapeError
from hpcad.primitives.contraction import tensordot
from hpcad.primitives.einsum import einsum

rng = np.random.default_rng(3)
LENGTHS = dict(zip("abcdefijklm", [3, 3, 2, 4, 3, 2, 3, 3, 4, 2, 3], strict=True))

PATTERNS = [
    "i", "i->", "ij->ji", "ii", "ii->i", "iij->j", "ij->", "ijj->ji",
    "ij,jk", "ij,jk->ki", "i,i", "i,j", "ij,ij->ij", "ij,ij->", "ij,i->j", "ij,kl", "ij,k->j",
    "bij,bjk->bik", "bij,bjk->kib", "ijk,ijk->ki", "ij,ji", "ii,jj->ij", "i,->i", "iij,jk->k",
    "...ij,...jk->...ik", "...i,...i", "i...,i...->...", "i...->...", "...,...->...",
    "ij,jk,kl", "ij,jk,kl,lm->im", "ij,jk,ki", "abc,cd,def,a->bef", "i,i,i->i", "a,b,c->cab",
    "ijj,jk,k->i", "ij,jk,lm->im",
]  # fmt: skip


def operands(pattern, make, squeeze=False):
    """Arrays for a pattern; with ``squeeze`` the later ones have axes of length 1 to broadcast."""
    terms = pattern.split("->")[0].split(",")
    arrays = []
    for n, term in enumerate(terms):
        labels = term.replace("...", "")
        shape = [LENGTHS[label] for label in labels]
        if squeeze and n and labels and labels.count(labels[0]) == 1:
            shape[0] = 1
        if "..." in term:
            place = term.index("...")
            shape[place:place] = [2, 3] if n == 0 else [3]
        arrays.append(make(shape))
    return arrays


def real(shape):
    return rng.standard_normal(shape)


def plane(shape):
    return real(shape) + 1j * real(shape)


def small_integers(shape):
    return rng.integers(-5, 5, shape).astype(np.int8)


def booleans(shape):
    return rng.random(shape) > 0.4


@pytest.mark.parametrize("make", [real, plane, small_integers, booleans])
@pytest.mark.parametrize("squeeze", [False, True], ids=["equal lengths", "lengths of 1"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_einsum_equals_that_of_numpy(pattern, squeeze, make):
    arrays = operands(pattern, make, squeeze)
    expected = np.einsum(pattern, *arrays)
    found = einsum(pattern, *arrays)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimize", [False, True, "optimal", "greedy"])
def test_the_order_of_contractions_does_not_change_the_result(optimize):
    pattern = "abc,cd,def,a->bef"
    arrays = operands(pattern, real)
    found = einsum(pattern, *arrays, optimize=optimize)
    np.testing.assert_allclose(found, np.einsum(pattern, *arrays), rtol=1e-12)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_derivatives_in_both_modes(pattern):
    check_grads(lambda *a: einsum(pattern, *a), operands(pattern, real, squeeze=True), order=1)


@pytest.mark.parametrize("pattern", ["ij,jk->ki", "iij,jk->k", "bij,bjk->bik", "i,i,i->i"])
def test_second_derivatives_of_complex_arguments(pattern):
    check_grads(lambda *a: einsum(pattern, *a), operands(pattern, plane), order=2)


def test_labels_may_be_given_as_integers():
    a, b = real((2, 3)), real((3, 4))
    np.testing.assert_allclose(einsum(a, [0, 1], b, [1, 2], [2, 0]), (a @ b).T)
    np.testing.assert_allclose(einsum(a, [..., 1], b, [1, 2]), a @ b)


def test_empty_sums_are_zero():
    np.testing.assert_array_equal(einsum("ij,jk", real((2, 0)), real((0, 3))), np.zeros((2, 3)))
    found = einsum("ij,jk,kl", real((2, 0)), real((0, 3)), real((3, 4)))
    np.testing.assert_array_equal(found, np.zeros((2, 4)))


def test_negative_strides_and_transposed_operands():
    a, b = real((4, 6))[::-1, ::-2], real((5, 3)).T[::-1]
    np.testing.assert_allclose(einsum("ij,jk->ki", a, b), np.einsum("ij,jk->ki", a, b))


@pytest.mark.parametrize(
    ("pattern", "shapes", "message"),
    [
        ("ij,jk", [(2, 3), (4, 5)], "lengths 3 and 4"),
        ("ijk", [(2, 3)], "do not fit"),
        ("ij", [(2, 3, 4)], "do not fit"),
        ("ij->k", [(2, 3)], "must occur"),
        ("ij->ii", [(2, 3)], "must occur"),
        ("ij,jk", [(2, 3)], "2 terms"),
        ("i1", [(2, 3)], "labels are letters"),
        ("...i->i", [(2, 3)], "ellipsis"),
    ],
)
def test_wrong_subscripts_are_explained(pattern, shapes, message):
    with pytest.raises(ShapeError, match=message):
        einsum(pattern, *map(real, shapes))


@pytest.mark.parametrize(
    ("run", "flops"),
    [
        (lambda: einsum("ij,jk->ik", real((2, 3)), real((3, 4))), 2 * 2 * 3 * 4),
        (lambda: einsum("bij,bjk->bik", real((5, 2, 3)), real((5, 3, 4))), 5 * 2 * 2 * 3 * 4),
        (lambda: einsum("bi,bi->b", real((5, 3)), real((5, 3))), 5 * 2 * 3),
        (lambda: tensordot(real((2, 3, 4)), real((3, 4, 5)), 2), 2 * 2 * 12 * 5),
        # a row first: 2 (30 * 40 + 40 * 50) operations
        (lambda: einsum("ij,jk,kl->il", real((1, 30)), real((30, 40)), real((40, 50))), 6400),
    ],
)
def test_products_are_counted_where_they_are_computed(run, flops):
    with counted_flops() as count:
        run()
    assert count.total == flops


@pytest.mark.parametrize("axes", [0, 1, 2, ((0, 2), (1, 0)), ((-1,), (0,)), ((), ())])
def test_tensordot_equals_that_of_numpy(axes):
    pairs = {0: ((2, 3), (4,)), 1: ((2, 3), (3, 4)), 2: ((2, 3, 4), (3, 4, 5))}
    shapes = pairs.get(axes if isinstance(axes, int) else -1, ((2, 3, 4), (4, 2, 5)))
    a, b = map(plane, shapes)
    np.testing.assert_allclose(tensordot(a, b, axes), np.tensordot(a, b, axes), rtol=1e-12)


def test_tensordot_explains_axes_that_do_not_fit():
    with pytest.raises(ShapeError, match="different lengths"):
        tensordot(real((2, 3)), real((4, 5)), 1)
    with pytest.raises(ShapeError, match="over 3 axes"):
        tensordot(real((2, 3)), real((3, 5)), 3)
    with pytest.raises(ShapeError, match="pairs 1 axes"):
        tensordot(real((2, 3)), real((3, 5)), ((0,), (0, 1)))
