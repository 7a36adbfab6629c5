"""Programs are not fooled: what they cannot see stays eager, and what they see they do right."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

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


# -- containers and objects among the arguments --------------------------------------------------


def test_a_list_that_grows_and_a_dict_that_is_set():
    def world():
        kept, table = [], {}

        def f(kept, table, x):
            kept.append(x * 2)
            table["n"] = len(kept)
            table["x"] = (x, x * 3)
            return x

        return f, lambda i: [kept, table, X + i], lambda: (list(kept), dict(table))

    stays_eager(world, "an argument was changed, a list", "def f")


@dataclass
class State:
    x: Any
    count: int = 0

    def advance(self, step):
        self.count += 1
        self.x = self.x + step
        return self.x * 2


def test_a_dataclass_that_counts():
    def world():
        state = State(X)
        return State.advance, lambda i: [state, X + i], lambda: (state.x, state.count)

    stays_eager(world, "an argument was changed, a State", "def advance")


def test_the_same_array_twice_is_the_same_array():
    def f(a, b):
        return a * 2 if a is b else a * 3

    def arguments(i):
        x = X + i
        return [x, x if i < 4 else x.copy()]

    becomes_a_program(lambda: (f, arguments), calls=7)


def test_parameters_may_be_arguments():
    def world():
        w, frozen = Parameter(W), Parameter(W)
        frozen.freeze()

        def f(w, frozen, x):
            loss = hnp.tanh(x @ w).sum() + (x @ frozen).sum()
            loss.backward()
            return loss

        return f, lambda i: [w, frozen, X + i], lambda: w.grad

    becomes_a_program(world, calls=7)


def test_a_tensor_that_is_differentiated_is_no_constant():
    w = Parameter(W)
    f = hpcad.compile(lambda a: (a * 2).sum())
    for _ in range(4):
        f(hpcad.autodiff.tensor(W))
    f(w * 3).backward()
    np.testing.assert_array_equal(w.grad, np.full(W.shape, 6.0))


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


# -- names, attributes and elements that change --------------------------------------------------

SCALE = 2.0
TABLE = {"scale": 2.0}
WEIGHT = Parameter(W)
CONSTANT = hnp.ones(6)


class Settings:
    scale = 3.0

    def __init__(self):
        self.shift = 1.0
        self.model = Parameter(W)

    def apply(self, x):
        return self.scaled(x) + self.shift

    def scaled(self, x):
        return x * self.scale


def helper(x):
    return x * SCALE * TABLE["scale"]


def set_global(name, value):
    def change(_):
        globals()[name] = value

    return change


def set_attribute(name, value):
    return lambda settings: setattr(settings, name, value)


@pytest.mark.parametrize(
    "change",
    [
        set_global("SCALE", 5.0),
        lambda _: TABLE.__setitem__("scale", 7.0),
        set_global("WEIGHT", Parameter(W + 1)),
        lambda _: CONSTANT.__setitem__(0, 9.0),
        set_attribute("scale", 4.0),
        set_attribute("shift", -1.0),
        set_attribute("model", Parameter(2 * W)),
        lambda settings: settings.sizes.append(1),
    ],
)
def test_what_names_refer_to_is_looked_at_each_time(change, monkeypatch):
    for name, value in (("SCALE", SCALE), ("WEIGHT", WEIGHT), ("TABLE", {"scale": 2.0})):
        monkeypatch.setitem(globals(), name, value)
    monkeypatch.setitem(globals(), "CONSTANT", hnp.ones(6))
    settings, sizes = Settings(), [2.0, 3.0]
    settings.sizes = sizes

    def f(x):
        product = (x @ WEIGHT + x @ settings.model).detach()
        return helper(x) * CONSTANT + settings.apply(x), product, x * len(settings.sizes), sizes[0]

    compiled = hpcad.compile(f, strict=True, native=False)
    for i in range(7):
        if i == 3:
            change(settings)
            assert compiled.program is not None
        np.testing.assert_allclose(compiled(X + i)[0], f(X + i)[0], rtol=1e-12)
        np.testing.assert_allclose(compiled(X + i)[1].numpy(), f(X + i)[1].numpy(), rtol=1e-12)
        np.testing.assert_array_equal(compiled(X + i)[2], f(X + i)[2])


def test_a_function_that_counts_stays_eager():
    def world():
        settings, log, total = Settings(), [], 0

        def f(x):
            nonlocal total
            total += 1
            settings.shift += 1
            log.append("called")
            return settings.apply(x)

        return f, arrays(X), lambda: (settings.shift, list(log), total)

    stays_eager(world, "which a program would not do; pass it as an argument", "def f(x)")


def test_a_name_that_refers_to_another_thing_in_each_call_is_no_program():
    settings = Settings()
    compiled = hpcad.compile(lambda x: settings.apply(x))
    for i in range(20):
        settings.shift = float(i)
        np.testing.assert_array_equal(compiled(X), 3 * X + i)
    assert "'shift' refers to something else in call after call" in compiled.obstacles[0]
