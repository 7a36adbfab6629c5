"""Functions that move, join, repeat and pad: values as NumPy's, derivatives as numerical ones."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import vjp
from hpcad.autodiff.numerical.check import check_grads
from hpcad.autodiff.tensor import Tensor, tensor
from hpcad.errors import ConfigError, ShapeError

rng = np.random.default_rng(11)
X = rng.standard_normal((3, 4, 5))
Z = X + 1j * rng.standard_normal(X.shape)
M = X[0]
SCATTERED = ((1, 2), (0, 7), (9, 4))

# name, arguments behind the array, keywords
CALLS = [
    ("atleast_3d", (), {}),
    ("broadcast_to", ((2, 3, 4, 5),), {}),
    ("delete", (1, 1), {}),
    ("delete", ([0, -1],), {}),
    ("delete", (slice(0, 3, 2), 2), {}),
    ("expand_dims", ((0, -1),), {}),
    ("flip", (), {}),
    ("flip", ((0, 2),), {}),
    ("fliplr", (), {}),
    ("flipud", (), {}),
    ("insert", (1, 7.0), {}),
    ("insert", ([0, 2, 2], X[:, :3], 1), {}),
    ("insert", (-1, M[0], 1), {}),
    ("insert", (slice(None), 7.0, 1), {}),
    ("append", (X[:1], 0), {}),
    ("append", (M,), {}),
    ("moveaxis", ((0, 1), (-1, 0)), {}),
    ("pad", (1,), {}),
    ("pad", (SCATTERED,), {"constant_values": ((1, 2), (3, 4), (5, 6))}),
    ("pad", ((2, 3),), {"constant_values": (1.5, -1)}),
    *[("pad", (SCATTERED, mode), {}) for mode in ("edge", "reflect", "symmetric", "wrap")],
    ("ravel", (), {}),
    ("repeat", (2,), {}),
    ("repeat", ([1, 0, 2, 3], 1), {}),
    ("repeat", (0, 0), {}),
    ("reshape", ((-1, 6),), {}),
    ("roll", (-7,), {}),
    ("roll", ((1, 2), (0, 1)), {}),
    ("roll", (3, (0, 2)), {}),
    ("rollaxis", (2,), {}),
    ("rollaxis", (0, -1), {}),
    *[("rot90", (k, (2, 0)), {}) for k in range(-1, 4)],
    ("squeeze", (), {}),
    ("swapaxes", (0, -1), {}),
    ("tile", (2,), {}),
    ("tile", ((2, 1, 2, 3),), {}),
    ("tile", ((0, 1),), {}),
    ("transpose", ((2, 0, 1),), {}),
]


@pytest.mark.parametrize(("name", "args", "kw"), CALLS)
@pytest.mark.parametrize("x", [X, Z, X[::-1, ::2], X.astype(np.float32)])
def test_values_are_those_of_numpy(name, args, kw, x):
    args = (x[:1], *args[1:]) if name == "append" and len(args) > 1 else args
    if x.shape[1] == 2 and name == "broadcast_to":
        args = ((2, 3, 2, 5),)
    if x.shape[1] == 2 and name in ("repeat", "insert") and args != (2,):
        pytest.skip("these arguments are made for a longer axis")
    expected = getattr(np, name)(x, *args, **kw)
    answer = getattr(hnp, name)(x, *args, **kw)
    np.testing.assert_array_equal(answer, expected, strict=True)
    through = getattr(np, name)(tensor(x), *args, **kw)
    assert isinstance(through, Tensor)
    np.testing.assert_array_equal(through.numpy(), expected, strict=True)


@pytest.mark.parametrize(("name", "args", "kw"), CALLS)
@pytest.mark.parametrize("x", [X, Z])
def test_derivatives_are_those_of_numerical_differentiation(name, args, kw, x):
    check_grads(lambda y: getattr(hnp, name)(y, *args, **kw), [x], order=1)


JOINS = ["concatenate", "stack", "hstack", "vstack", "dstack", "column_stack"]


@pytest.mark.parametrize("name", JOINS)
@pytest.mark.parametrize("x", [M[0], M, X, Z])
def test_joining_gives_what_numpy_gives_and_differentiates_in_every_part(name, x):
    np.testing.assert_array_equal(getattr(hnp, name)([x, 2 * x]), getattr(np, name)([x, 2 * x]))
    if x.ndim > 1 or name != "concatenate":
        np.testing.assert_array_equal(getattr(hnp, name)(x), getattr(np, name)(x))
    check_grads(lambda a, b: getattr(hnp, name)([a, b, a]), [x, 2 * x], order=1)


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_parts_of_several_dtypes_are_promoted_and_their_cotangents_cast_back(axis):
    parts = [M.astype(np.float32), M, M.astype(np.complex64)]
    value, pullback = vjp(lambda *p: hnp.concat(p, axis=axis), *parts)
    assert value.dtype == np.complex128
    assert [g.dtype for g in pullback(value * 0 + 1j)] == [p.dtype for p in parts]


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("split", (2, 1)),
        ("split", ([1, -1, 9], 2)),
        ("array_split", (3, 1)),
        ("array_split", (7, 0)),
        ("hsplit", (2,)),
        ("vsplit", ([2],)),
        ("dsplit", ([1, 1],)),
    ],
)
def test_splitting_gives_what_numpy_gives(name, args):
    parts = getattr(hnp, name)(X, *args)
    for part, expected in zip(parts, getattr(np, name)(X, *args), strict=True):
        np.testing.assert_array_equal(part, expected)
    for i in range(len(parts)):  # the other parts have no cotangent
        check_grads(lambda x, i=i: getattr(hnp, name)(x, *args)[i], [X], order=1)


def test_blocks_are_joined_from_the_inside_outwards():
    a, b, c, d = np.ones((2, 2)), 2 * np.ones((2, 3)), np.ones((1, 2)), 3 * np.ones((1, 3))
    np.testing.assert_array_equal(hnp.block([[a, b], [c, d]]), np.block([[a, b], [c, d]]))
    np.testing.assert_array_equal(hnp.block([1, 2.0]), np.block([1, 2.0]))
    check_grads(lambda a, d: hnp.block([[a, b], [c, d]]), [a, d], order=1)


def test_padding_differentiates_in_the_values_that_are_put_around():
    def padded(x, before, behind):
        return hnp.pad(x, ((1, 2), (0, 1), (2, 2)), constant_values=(before, behind))

    check_grads(padded, [X, np.array(0.3), np.array(-2.0)], order=1)
    count = vjp(padded, X, np.array(0.3), np.array(-2.0))[1](np.ones((6, 5, 9)))
    # Later axes own the corners: 1 x 4 x 5 before axis 0, and 6 x 5 x 2 before axis 2.
    assert [float(c) for c in count[1:]] == [80, 130]


def test_what_was_copied_several_times_gets_the_sum_of_its_cotangents():
    x = np.arange(3.0)
    (g,) = vjp(lambda x: hnp.pad(x, (2, 4), "wrap"), x)[1](np.arange(9.0))
    np.testing.assert_array_equal(g, [2 + 5 + 8, 0 + 3 + 6, 1 + 4 + 7])
    (g,) = vjp(lambda x: hnp.repeat(x, [3, 0, 1]), x)[1](np.arange(4.0))
    np.testing.assert_array_equal(g, [3, 0, 3])


def test_reshape_copies_only_when_asked_to():
    assert np.shares_memory(hnp.reshape(X, (12, 5)), X)
    assert not np.shares_memory(hnp.reshape(X, (12, 5), copy=True), X)
    assert np.shares_memory(hnp.reshape(X, (12, 5), copy=False), X)
    with pytest.raises(ShapeError, match="cannot be viewed"):
        hnp.reshape(X.T, (12, 5), copy=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hnp.squeeze(X, 0), "do not all have length 1"),
        (lambda: hnp.concat([]), "at least one array"),
        (lambda: hnp.stack([X, M]), r"arrays of one shape, but got \(3, 4, 5\) and \(4, 5\)"),
        (lambda: hnp.concat([X, M]), "concatenate"),
        (lambda: hnp.split(X, 2), "array_split"),
        (lambda: hnp.split(X, [2, 1]), "ascending"),
        (lambda: hnp.repeat(X, -1), "negative"),
        (lambda: hnp.roll(X, (1, 2, 3), axis=(0, 1)), "3 shifts for 2 axes"),
        (lambda: hnp.pad(X, -1), "negative"),
        (lambda: hnp.pad(X, 0.5), "integers"),
        (lambda: hnp.moveaxis(X, (0, 1), 0), "places to move"),
        (lambda: hnp.rot90(X, axes=(0, 0)), "two different axes"),
        (lambda: hnp.block([[1, 2], 3]), "nested equally"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


def test_integers_of_numpy_are_integers():
    three, four = np.int64(3), np.array(4)
    assert hnp.reshape(X, np.int64(60)).shape == hnp.reshape(X, (three, -1)).ravel().shape
    assert hnp.expand_dims(M, np.int8(0)).shape == (1, 4, 5)
    assert hnp.broadcast_to(1.0, three).shape == (3,)
    assert hnp.tile(M, np.int64(2)).shape == (4, 10)
    assert len(hnp.split(X, four, 1)) == 4
    np.testing.assert_array_equal(hnp.roll(X, three, np.int64(-1)), np.roll(X, 3, -1))


def test_an_unknown_mode_of_padding_is_refused():
    with pytest.raises(ConfigError, match="'constant', 'edge', 'reflect', 'symmetric', 'wrap'"):
        hnp.pad(X, 1, "linear_ramp")
