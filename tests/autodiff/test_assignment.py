"""Item assignment: values as in NumPy, derivatives as in a program without assignments."""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import Parameter, grad, jvp, linearize, no_grad, vjp
from hpcad.autodiff import check_grads
from hpcad.autodiff.tensor import CONSTANT, twin, value_of
from hpcad.errors import DifferentiationError, OutOfBoundsError, ShapeError
from hpcad.primitives import ownership

MASK = np.array([[True, False, True], [False, False, True]])
INDICES = [
    0,
    (1, 2),
    slice(None, None, -1),
    (slice(None), 1),
    (..., None, 0),
    np.array([1, 0, 1]),
    ([0, 1, 0], [2, 2, 2]),
    MASK,
    (slice(0, 0),),
]


@pytest.fixture
def data():
    return np.random.default_rng(5)


# -- derivatives --------------------------------------------------------------------------


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("form", ["full", "scalar"])
def test_derivatives_in_both_arguments_to_second_order(index, form, data):
    x = data.standard_normal((2, 3))
    v = data.standard_normal(x[index].shape if form == "full" else ())

    def f(x, v):
        y = x * 1.0
        y[index] = v * v
        return hnp.sin(y * x)

    check_grads(f, (x, v), order=2)


@pytest.mark.parametrize("index", INDICES)
def test_augmented_assignment_by_index(index, data):
    x, v = data.standard_normal((2, 3)), data.standard_normal()

    def f(x, v):
        y = hnp.exp(x)
        y[index] += v
        y[index] *= y[index]
        return y * y

    plain = np.exp(x)
    plain[index] += v
    plain[index] *= plain[index]
    np.testing.assert_allclose(jvp(f, (x, v), (x, v))[0], plain * plain, rtol=1e-15)
    check_grads(f, (x, v), order=2)


def test_only_the_last_of_repeated_indices_gets_the_cotangent():
    def f(v):
        x = hnp.zeros(3)
        x[np.array([0, 2, 0])] = v
        return x.sum()

    np.testing.assert_array_equal(grad(f)(np.array([1.0, 2.0, 3.0])), [0, 1, 1])
    assert jvp(f, (np.ones(3),), (np.array([5.0, 1.0, 7.0]),))[1] == 8.0


def test_a_loop_that_fills_an_array():
    def f(x):
        out = hnp.zeros(5)
        for i in range(5):
            out[i] = x ** (i + 1)
        return out

    check_grads(f, (np.array(1.3),), order=2)
    np.testing.assert_allclose(hnp.sum(f(1.0)).item(), 5.0)


def test_a_recurrence_in_place():
    """Fibonacci-like: every element is computed from earlier elements of the same tensor."""

    def f(x):
        y = hnp.zeros(8)
        y[0] = x
        y[1] = x * x
        for i in range(2, 8):
            y[i] = y[i - 1] * x + y[i - 2]
        return y

    check_grads(f, (np.array(0.7),), order=2)


def test_complex_assignment(data):
    x = data.standard_normal((2, 3)) + 1j * data.standard_normal((2, 3))
    v = data.standard_normal(3) + 1j * data.standard_normal(3)

    def f(x, v):
        y = x * x
        y[1] = v * 2j
        return y * y

    check_grads(f, (x, v), order=2)


def test_a_real_value_in_a_complex_tensor_has_a_real_gradient():
    def f(v):
        x = hnp.ones(2, dtype=complex) * 1j
        x[0] = v
        return hnp.real(x[0] * x[1] * 1j)

    gradient = grad(f)(2.0)
    assert gradient.dtype == float
    assert gradient == -1.0


def test_leading_axes_of_length_one_are_dropped_as_in_numpy():
    def f(v):
        x = hnp.zeros((2, 3))
        x[0] = v
        return (x * np.arange(6.0).reshape(2, 3)).sum()

    np.testing.assert_array_equal(grad(f)(np.ones((1, 1, 3))), [[[0, 1, 2]]])


@pytest.mark.parametrize(
    "nest",
    [
        lambda f: grad(grad(f)),
        lambda f: lambda x: jvp(grad(f), (x,), (1.0,))[1],
        lambda f: grad(lambda x: jvp(f, (x,), (1.0,))[1]),
        lambda f: lambda x: jvp(lambda y: jvp(f, (y,), (1.0,))[1], (x,), (1.0,))[1],
        lambda f: lambda x: linearize(grad(f), x)[1](1.0),
    ],
)
def test_every_nesting_of_modes(nest):
    def f(x):
        y = hnp.zeros(3)
        y[0] = x
        y[1:] = y[0] * x
        y[1] += y[0]
        y *= y
        return y.sum()

    # x^2 + (x^2 + x)^2 + x^4
    x = 0.8
    expected = 2 + 12 * x**2 + (12 * x**2 + 12 * x + 2)
    np.testing.assert_allclose(nest(f)(x), expected, rtol=1e-12)


def test_an_inner_variable_in_an_outer_tensor():
    """d/dx of d/dy (x y^2 + x^2) at y = x, both written into one tensor."""

    def outer(x):
        def inner(y):
            z = hnp.zeros(2) * x
            z[0] = x * y * y
            z[1] = x * x
            return z.sum()

        return grad(inner)(x)

    np.testing.assert_allclose(grad(outer)(3.0), 4 * 3.0, rtol=1e-12)


def test_parameters_get_gradients_through_assignments():
    p = Parameter(np.array([1.0, 2.0, 3.0]))
    x = p * 2.0
    x[1] = 0.0
    x[0] += p[2]
    (x * x).sum().backward()
    # (2 p0 + p2)^2 + (2 p2)^2
    np.testing.assert_allclose(p.grad, [20.0, 0.0, 10.0 + 24.0])


def test_a_tensor_assigned_to_outlives_the_pruning_of_the_tape():
    p = Parameter(np.ones(2))
    x = p * 3.0
    x[0] = 5.0
    for _ in range(600):  # enough to prune the ambient tape
        p * 1.0
    x.sum().backward()
    np.testing.assert_array_equal(p.grad, [0.0, 3.0])


# -- who sees an assignment ---------------------------------------------------------------


def test_what_was_computed_before_keeps_the_old_value():
    def f(x):
        y = x * 2.0
        product = y * y  # needs y for its derivative
        y[0] = 100.0
        return product.sum() + y[0]

    np.testing.assert_array_equal(grad(f)(np.array([1.0, 2.0])), [8.0, 16.0])


def test_constants_captured_by_a_record_keep_the_old_value():
    def f(x):
        scale = hnp.ones(2)
        y = x * scale
        scale[0] = 100.0
        return y.sum()

    np.testing.assert_array_equal(grad(f)(np.ones(2)), [1.0, 1.0])


def test_indices_captured_by_a_record_keep_the_old_value():
    index = np.array([0, 1])

    def f(x):
        y = x[index].sum()
        x[index] = 0.0
        index[:] = 2
        return y + x.sum()

    np.testing.assert_array_equal(grad(f)(np.ones(3)), [1.0, 1.0, 1.0])


def test_the_argument_of_a_transform_may_be_assigned_to():
    def f(x):
        x[0] = x[1] * 3.0
        x *= 2.0
        return x.sum()

    given = np.ones(3)
    np.testing.assert_array_equal(grad(f)(given), [0.0, 8.0, 2.0])
    np.testing.assert_array_equal(given, 1.0)
    value, pull = vjp(f, given)
    assert value == 10.0
    np.testing.assert_array_equal(pull(1.0)[0], [0.0, 8.0, 2.0])
    assert jvp(f, (given,), (np.array([1.0, 2.0, 4.0]),))[1] == 24.0


def test_a_pullback_keeps_its_point_when_the_primal_is_assigned_to():
    def f(x):
        y = x * 1.0
        value, pull = vjp(lambda z: hnp.exp(z) * z, y)
        y[0] = 50.0
        value[1] = 70.0
        return pull(np.ones(2))[0].sum()

    x = np.array([0.3, 0.4])
    np.testing.assert_allclose(grad(f)(x), np.exp(x) * (x + 2), rtol=1e-12)


def test_aliases_see_it_and_values_taken_before_do_not():
    x = hnp.zeros(3)
    alias, row, copied = x, x[:2], hnp.copy(x)
    x[0] = 1.0
    row[1] = 7.0
    assert alias.tolist() == [1.0, 0.0, 0.0]
    assert row.tolist() == [0.0, 7.0]
    assert copied.tolist() == [0.0, 0.0, 0.0]
    assert twin(x).tolist() == x.tolist()


def test_an_array_that_the_user_holds_is_not_written():
    array = np.zeros(3)
    x = hnp.asarray(array)
    x[0] = 1.0
    assert array.tolist() == [0.0, 0.0, 0.0]
    seen = x.numpy()
    x[1] = 1.0
    assert seen.tolist() == [1.0, 0.0, 0.0]
    view = np.from_dlpack(x)
    x[2] = 1.0
    assert view.tolist() == [1.0, 1.0, 0.0]


def test_overlapping_assignment_takes_the_old_values():
    x = hnp.arange(5.0)
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3]
    x[::-1] = x
    assert x.tolist() == [3, 2, 1, 0, 0]


def test_numbers_are_not_changed_by_augmented_assignment():
    """A program on Python floats and the same on tensors without axes agree."""

    def f(x):
        y = x
        for _ in range(3):
            y *= x
        return y

    assert f(2.0) == 16.0
    assert grad(f)(2.0) == 32.0
    s = hnp.asarray(1.0)
    t = s
    t += 1.0
    assert (s.item(), t.item()) == (1.0, 2.0)


def test_versions_count_assignments():
    x = hnp.zeros(3)
    assert x.version == 0
    x[0] = 1.0
    x += 1.0
    assert x.version == 2
    assert (x * 1.0).version == 0


def test_under_no_grad_an_assignment_makes_a_constant():
    p = Parameter(np.ones(2))
    x = p * 1.0
    with no_grad():
        x[0] = 3.0
    assert x.level == CONSTANT


# -- in place where nobody looks ----------------------------------------------------------


def _moves(make, n=50):
    """How many assignments in a loop moved the values to another place in memory."""
    x, moved = make(n), 0
    for i in range(n):
        before = id(value_of(x))
        x[i] = 1.0
        moved += id(value_of(x)) != before
    return moved


def test_a_loop_of_assignments_writes_in_place():
    assert _moves(hnp.zeros) == 0
    moved = []
    grad(lambda s: [moved.append(_moves(lambda n: hnp.zeros(n) + s)), s][1])(1.0)
    jvp(lambda s: moved.append(_moves(lambda n: hnp.zeros(n) + s)), (1.0,), (1.0,))
    grad(grad(lambda s: [moved.append(_moves(lambda n: hnp.zeros(n) + s)), s * s][1]))(1.0)
    assert moved == [0, 0, 0]


def test_the_calibration_tells_a_shared_cotangent_from_one_of_its_own():
    counts = ownership.FRESH.count
    assert ownership.FRESH.callers[1].co_name == "_walk"
    assert counts > sys.getrefcount(object())


def test_a_cotangent_that_others_hold_is_not_overwritten():
    def f(x):
        y = x * 1.0
        z = y + 0.0  # hands the same cotangent to y and to nothing else
        w = z * 1.0
        w[0] = 5.0
        return w + z

    w = np.array([1.0, 2.0])
    _, pull = vjp(f, np.ones(2))
    for _ in range(2):
        np.testing.assert_array_equal(pull(w)[0], [1.0, 4.0])
        np.testing.assert_array_equal(w, [1.0, 2.0])

    def g(x):
        y = x * 1.0
        y[0] = 5.0
        return y

    _, pull = vjp(g, np.ones(2))
    np.testing.assert_array_equal(pull(w)[0], [0.0, 2.0])
    np.testing.assert_array_equal(w, [1.0, 2.0])


def test_two_tensors_share_a_cotangent():
    """The sum hands one cotangent to both; one of them was assigned to."""

    def f(x):
        a, b = x * 2.0, x * 3.0
        a[0] = 0.0
        b[1] = 0.0
        return ((a + b) * 1.0).sum()

    np.testing.assert_array_equal(grad(f)(np.ones(2)), [3.0, 2.0])


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_the_cost_of_an_assignment_does_not_grow_with_the_array(mode):
    def f(x, n):
        out = hnp.zeros(n)
        for i in range(500):
            out[i] = x
        return out[:500].sum()

    def seconds(n):
        best = np.inf
        for _ in range(3):
            started = time.perf_counter()
            if mode == "reverse":
                grad(f)(1.0, n)
            else:
                jvp(lambda x: f(x, n), (1.0,), (1.0,))
            best = min(best, time.perf_counter() - started)
        return best

    # A copy of 32 MB for each of the 500 assignments would take seconds.
    assert seconds(4_000_000) < 10 * seconds(1000) + 0.5


# -- what is refused ----------------------------------------------------------------------


def test_a_parameter_is_not_assigned_to():
    p = Parameter(np.ones(2), name="fc.weight")
    with pytest.raises(TypeError, match=r"'fc\.weight'.*parameter\.assign"):
        p[0] = 1.0
    for statement in ("p += 1", "p //= 2", "p %= 2"):
        with pytest.raises(TypeError, match=r"'fc\.weight'"):
            exec(statement, {"p": p})  # noqa: S102


def test_what_a_dtype_cannot_hold_is_refused():
    x = hnp.zeros(2)
    with pytest.raises(TypeError, match="cannot hold complex"):
        x[0] = 1j
    with pytest.raises(TypeError, match="cannot hold complex"):
        x[:] = np.ones(2, complex)
    with pytest.raises(TypeError, match=r"int64 cannot hold a value that is differentiated"):
        grad(lambda v: [hnp.zeros(2, dtype=int).__setitem__(0, v), v][1])(1.0)
    x[0] = True
    x[1] = 3
    assert x.dtype == float


def test_errors_name_the_shapes():
    x = hnp.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"index_set\(float64\[2, 3\], float64\[4\]"):
        x[0] = np.ones(4)
    with pytest.raises(OutOfBoundsError, match=r"float64\[2, 3\]"):
        x[5] = 1.0
    with pytest.raises(IndexError):
        x[0, 0, 0] = 1.0
    assert x.version == 0
    np.testing.assert_array_equal(x, 0.0)


def test_in_place_operators_keep_shape_and_dtype():
    x = hnp.ones(2, dtype=np.float32)
    x += np.ones(2)
    assert x.dtype == np.float32
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3, 2\)"):
        x += np.ones((3, 2), np.float32)
    with pytest.raises(TypeError, match="complex128"):
        x *= np.ones(2, complex)
    n = hnp.ones(2, dtype=int)
    with pytest.raises(TypeError, match="float64"):
        n *= 1.5
    n <<= 2
    assert n.tolist() == [4, 4]


def test_a_tensor_that_left_its_transform_is_refused():
    kept = hnp.zeros(2)
    grad(lambda x: [kept.__setitem__(0, x), x][1])(1.0)
    with pytest.raises(DifferentiationError, match=r"left the transform|used again"):
        grad(lambda x: (kept * x).sum())(1.0)


def test_a_failed_assignment_leaves_the_tensor_as_it_was():
    def f(x):
        y = x * 2.0
        with pytest.raises(ShapeError):
            y[0] = np.ones(3)
        return y.sum()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(grad(f)(np.ones(2)), [2.0, 2.0])
