"""Programs are not fooled: what they cannot see stays eager, and what they see they do right.

Here: names in the source, kinds of arrays, values that decide; beside it: arrays, objects, steps.
"""

from __future__ import annotations

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


# -- names in the generated source ---------------------------------------------------------------

NAMES = ["w", "", "np", "lambda", "0.weight", "matmul", "step", "input_0", "a b", "None", "grad_w"]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_may_have_any_names_also_the_same(name):
    def world():
        a, b = Parameter(W, name), Parameter(2 * W, name)

        def step(x):
            loss = hnp.tanh(x @ a).sum() + hnp.sort(a, axis=0)[0].sum()
            loss = loss + hnp.tanh(x @ b).sum() + hnp.cos(b).sum()
            loss.backward()
            return loss

        return step, arrays(X), lambda: [a.grad, b.grad]

    becomes_a_program(world)


def test_numbers_without_end_are_arguments_of_operations():
    def f(x, z):
        return np.maximum(x, -np.inf), x * np.nan, hnp.where(x > 0, x, np.inf), z * complex("inf")

    becomes_a_program(lambda: (f, arrays(X, X + 1j * X)))


# -- kinds of arrays -----------------------------------------------------------------------------


def test_layouts_and_kinds_of_numbers():
    def f(a, b, c, d, s, z):
        y = (b.T @ c).ravel() + s
        return a + b, c * d, a.reshape(-1), y, d[::-1], s * 2, z + 1, z.sum(), a[0, 0], s, z

    def arguments(i):
        x = X + i
        fixed = x.copy()
        fixed.flags.writeable = False
        wide = np.zeros((8, 12))
        wide[::2, ::2] = x
        swapped = x.astype(x.dtype.newbyteorder())
        return [np.asfortranarray(x), swapped[::-1], fixed, wide[::2, ::2], np.float32(i),
                np.array(i)]  # fmt: skip

    becomes_a_program(lambda: (f, arguments))


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "complex64", "int8", "uint16", "bool"])
def test_dtypes_that_kernels_do_not_know(dtype):
    def f(x):
        return x * x + x, hnp.where(x != 0, x, x + x), x.sum(), x[0]

    becomes_a_program(lambda: (f, lambda i: [(np.arange(12) + i).astype(dtype).reshape(4, 3)]))


def masked():
    return np.ma.array(X, mask=X > 1)


def matrix():
    return np.asarray(X[:, :4]).view(np.matrix)


def objects():
    return np.array([1, "a"], object)


@pytest.mark.parametrize("make", [masked, matrix, objects])
def test_arrays_with_operations_of_their_own(make):
    array = make()
    compiled = hpcad.compile(lambda x: x * 2)
    for _ in range(3):
        found = compiled(array)
        assert type(found) is type(array)
        np.testing.assert_array_equal(found, array * 2)
    assert "an argument is a" in compiled.obstacles[0]


def test_a_matrix_that_is_no_argument_multiplies_as_it_does():
    other = matrix()
    stays_eager(lambda: (lambda x: x[:, :4] * other, arrays(X)), "matrix", "x[:, :4] * other")


def test_what_asks_for_the_type_of_an_array():
    def f(x, s, t):
        kinds = [isinstance(v, np.ndarray) for v in (x, s, t, x * 2, x.sum(), x[0])]
        return x * sum(2**i for i, yes in enumerate(kinds) if yes), isinstance(s, float)

    def arguments(i):
        return [X + i, np.float64(i), hpcad.autodiff.tensor(X)]

    becomes_a_program(lambda: (f, arguments))


@pytest.mark.parametrize(("first", "then"), [(0.0, -0.0), (-0.0, 0.0), (1, True), (1.0, 1)])
def test_numbers_that_are_equal_and_not_the_same(first, then):
    def f(x, s):
        return np.copysign(x, s), x * s, x.astype(np.int32) * s

    becomes_a_program(lambda: (f, lambda i: [X, first if i < 3 else then]), calls=7)


def test_nan_is_one_signature():
    compiled = hpcad.compile(lambda x, s: x * s, strict=True)
    for _ in range(4):
        compiled(X, float("nan"))
    assert compiled.program is not None
    assert len(compiled._entries) == 1


# -- values that decide --------------------------------------------------------------------------


def selected(x):
    return x[x > 0]


@pytest.mark.parametrize("f", [selected, np.unique, hnp.nonzero])
def test_shapes_that_depend_on_values(f):
    def arguments(i):
        return [np.array([1.0, -1.0, 2.0, -3.0]) if i < 3 else np.array([1.0, 1.0, 2.0, -3.0 + i])]

    stays_eager(lambda: (f, arguments), "depends on values", "")


@hpcad.primitive(constant=True)
def positive_ones(x):
    return x[x > 0]


@pytest.mark.parametrize("last", [[1.0, 3.0, 2.0], [-1.0, -3.0, 2.0]])
def test_shapes_that_an_operation_of_the_users_turns_out_to_make(last):
    def f(x):
        return positive_ones(x) * 2, np.bincount(np.abs(x).astype(int))

    def world():
        return f, lambda i: [np.array([1.0, 4.0, -2.0] if i < 4 else last)]

    stays_eager(world, "when it was captured, and later", "positive_ones(x)", calls=7)


@pytest.mark.parametrize("singular", [0, 1, 3])
def test_an_error_that_the_function_catches(singular):
    def f(x):
        try:
            return hnp.linalg.inv(x) * 2
        except np.linalg.LinAlgError:
            return x * 5

    lives(lambda: (f, lambda i: [np.eye(3) * (i != singular) * (i + 1)]))


def test_an_error_that_the_function_does_not_catch_names_the_line():
    def f(x, labels):
        return hpcad.nn.cross_entropy(x, labels)

    compiled = hpcad.compile(f, strict=True)
    for _ in range(3):
        compiled(X, np.arange(4))
    with pytest.raises(hpcad.errors.ShapeError, match=r"test_adversarial.py"):
        compiled(X, np.arange(4) + 9)
    compiled(X, np.arange(4))


def test_floating_point_errors_that_the_function_asks_for():
    def f(x):
        with np.errstate(all="raise"):
            try:
                return 1 / x
            except FloatingPointError:
                return x * 5

    stays_eager(
        lambda: (f, lambda i: [np.array([1.0, 2.0, float(i != 3)])]), "np.errstate", "1 / x"
    )


def formatted(x):
    return f"{x}"


def formatted_number(x):
    return f"{x.sum():.3f}"


@pytest.mark.parametrize("show", [str, repr, formatted, formatted_number])
def test_what_shows_values_reads_them(show):
    def f(x):
        show(x)
        return x

    stays_eager(lambda: (f, arrays(X)), "were read", "")


def test_what_is_kept_names_the_line_that_made_it():
    def world():
        kept = []

        def f(x):
            kept.append(x * 3)
            return x

        return f, arrays(X), lambda: [np.asarray(k) for k in kept]

    stays_eager(world, "is kept", "kept.append(x * 3)")


def test_generators_are_left_alone():
    def f(x):
        for i in range(3):
            yield x * i

    def all_of(x):
        return list(f(x))

    becomes_a_program(lambda: (all_of, arrays(X)))
    compiled = hpcad.compile(f)
    for i in range(4):
        np.testing.assert_array_equal(list(compiled(X + i))[2], 2 * (X + i))


@pytest.mark.parametrize("rows", [1, 3])
def test_products_that_sum_nothing_are_zero(rows):
    w = Parameter(np.ones((rows, 2)))

    def f(a, b, x):
        y = hnp.exp(x) @ hnp.ones((rows, 3))  # leaves numbers where the zeros will be
        loss = ((a @ b + w) * 2).sum() + y.sum()
        loss.backward()
        return a @ b, loss, y, b.T @ a.T + hnp.ones((2, rows)) @ hnp.ones((rows, rows))

    def arguments(_):
        w.fresh = False
        return [np.ones((rows, 0)), np.ones((0, 2)), X[:, :rows]]

    becomes_a_program(lambda: (f, arguments, lambda: w.grad))


# -- NumPy's functions ---------------------------------------------------------------------------


def numpys(x, k):
    """Of which those of hpcad.numpy return other kinds of things."""
    return (
        np.split(x, 2), np.std(x), x.var(axis=0), x.flatten(), x[0] @ x[0], np.vdot(x, x),
        np.zeros_like(x), np.full_like(x, 2), np.copy(x), np.median(x), np.square(x > 0),
        np.add.reduce(x), np.broadcast_arrays(x, x[0]), np.unstack(x), np.flip(k), k.conj(),
    )  # fmt: skip


def numbers_without_axes(x, k):
    return (
        np.flip(k), np.sum(k, axis=-1, keepdims=True), np.nanstd(k, axis=0), hnp.flip(k),
        k.reshape(()), k.T, np.exp(k), k.max(), abs(k), k[()], k[None], k[..., None],
    )  # fmt: skip


@pytest.mark.parametrize("f", [numpys, numbers_without_axes])
def test_functions_of_numpy_return_what_numpy_returns(f):
    becomes_a_program(lambda: (f, lambda i: [X + i, np.float64(i + 0.5)]))
    if f is numbers_without_axes:
        becomes_a_program(lambda: (f, lambda i: [X + i, np.array(i + 0.5)]))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.polyval(x[0] > 0, x > 0),
        lambda x: np.deg2rad(x > 0),
        lambda x: np.cov(x.astype(np.float32)),
    ],
)
def test_functions_of_numpy_that_hpcad_does_otherwise_stay_eager(f):
    compiled = lives(lambda: (f, arrays(X)))
    assert "has another result here than that of hpcad.numpy" in compiled.obstacles[0]
